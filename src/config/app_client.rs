//! `[[user_pool.client]]` and `[[user_pool.resource_server]]`: which programs get access tokens of the user pool, and
//! what those are good for.

use super::issuer::is_scope;
use super::reader::{Item, Table, Wrong};
use super::role::plain_name;
use crate::base::{Duration, Secret};

/// How long an access token counts, unless the file says otherwise; and the bounds of what it may say (those of
/// Cognito's `AccessTokenValidity`).
const VALIDITY: (Duration, Duration, Duration) =
    (Duration::from_secs(3600), Duration::from_secs(300), Duration::from_secs(86400));
/// The shortest secret that is taken: 128 bits in base64.
const SHORTEST_SECRET: usize = 22;
/// How many secrets a client may have: the one that counts, and the one that follows it.
const MOST_SECRETS: usize = 2;

/// An app client of the user pool (RFC 6749, section 2): a program that is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppClient {
    /// Unique in its pool.
    pub name: String,
    /// Its client id, where the file says which.
    pub id: Option<String>,
    /// How it proves who it is: by any of these.
    pub secrets: Vec<Secret>,
    /// By which grants it may get tokens.
    pub allowed_oauth_flows: Vec<OAuthFlow>,
    /// What it may get tokens for.
    pub allowed_oauth_scopes: Vec<String>,
    /// How long its access tokens count.
    pub access_token_validity: Duration,
}

/// A grant (Cognito's `AllowedOAuthFlows`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OAuthFlow {
    /// By the client's own credentials (RFC 6749, section 4.4).
    ClientCredentials,
}

/// An API with its scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceServer {
    /// What its scopes begin with.
    pub identifier: String,
    /// Its scopes, in whole: `identifier/name`.
    pub scopes: Vec<String>,
}

impl ResourceServer {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let identifier = table
            .must("identifier", "say what its scopes begin with: identifier = \"photos\"")
            .and_then(|item| item.parse(identifier));
        let names = table.must("scopes", "name what there is to ask for: scopes = [\"read\", \"write\"]");
        table.finish();
        let (identifier, names) = (identifier?, names?);
        let scope =
            |item: Item<'_>| item.parse(|text| scope_name(text).map(|()| format!("{identifier}/{text}")));
        let scopes = names.one_or_more().into_iter().filter_map(scope).collect();
        Some(Self { identifier, scopes })
    }
}

impl AppClient {
    pub(super) fn read(table: &Table<'_>, known: &[ResourceServer]) -> Option<Self> {
        let name = table
            .must("name", "give it a name: name = \"reporter\"")
            .and_then(|item| item.parse(|text| plain_name(text, "an app client")));
        let id = table.get("id").map(|item| item.parse(client_id));
        let secrets = table
            .must(
                "secret",
                "a program proves by it who it is: secret = { env = \"REPORTER_SECRET\" }; `openssl rand -base64 32` \
                 makes one",
            )
            .map(|item| secrets(&item));
        let flows = table.get("allowed_oauth_flows").map(|item| {
            let choices = [("client_credentials", OAuthFlow::ClientCredentials)];
            item.one_or_more().iter().filter_map(|item| item.choice(&choices)).collect::<Vec<_>>()
        });
        let scopes = table.get("allowed_oauth_scopes");
        let validity = table.get("access_token_validity").and_then(|item| validity(&item));
        let flows = flows.unwrap_or_default();
        match (&scopes, flows.is_empty()) {
            (None, false) => table.wrong(
                "an app client that may get tokens needs `allowed_oauth_scopes`",
                "name what for: allowed_oauth_scopes = [\"photos/read\"]",
            ),
            (Some(item), true) => item.wrong(
                "`allowed_oauth_scopes` are of no use to a client that may get no token",
                "say allowed_oauth_flows = [\"client_credentials\"], or remove it",
            ),
            _ => {}
        }
        let scopes = scopes.map(|item| allowed_scopes(&item, known)).unwrap_or_default();
        table.finish();
        Some(Self {
            name: name?,
            id: id.map_or(Some(None), |id| id.map(Some))?,
            secrets: secrets?,
            allowed_oauth_flows: flows,
            allowed_oauth_scopes: scopes,
            access_token_validity: validity.unwrap_or(VALIDITY.0),
        })
    }
}

fn secrets(item: &Item<'_>) -> Vec<Secret> {
    let items = item.one_or_more();
    if items.len() > MOST_SECRETS {
        item.wrong(
            format!("`secret` has {} secrets", items.len()),
            "leave two: the one that is in use, and the one that follows it",
        );
    }
    let long = |item: &Item<'_>| {
        let secret = item.secret()?;
        if secret.expose().len() < SHORTEST_SECRET {
            item.wrong(
                format!("the secret is shorter than {SHORTEST_SECRET} characters"),
                "let chance make it: `openssl rand -base64 32`",
            );
            return None;
        }
        Some(secret)
    };
    items.iter().filter_map(long).collect()
}

fn allowed_scopes(item: &Item<'_>, known: &[ResourceServer]) -> Vec<String> {
    let scope = |text: &str| match known.iter().any(|server| server.scopes.iter().any(|scope| scope == text))
    {
        true => Ok(text.to_owned()),
        false => Err((
            format!("no resource server has the scope \"{text}\""),
            "add it to a [[user_pool.resource_server]]: its identifier, a slash, the scope".to_owned(),
        )),
    };
    item.one_or_more().iter().filter_map(|item| item.parse(scope)).collect()
}

fn validity(item: &Item<'_>) -> Option<Duration> {
    let (_, least, most) = VALIDITY;
    let duration = item.duration()?;
    if !(least..=most).contains(&duration) {
        item.wrong("`access_token_validity` is out of bounds", "choose between \"5m\" and \"1d\"");
        return None;
    }
    Some(duration)
}

/// Cognito's form: word characters and `+`; a UUID's hyphens beside.
fn client_id(text: &str) -> Result<String, Wrong> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-');
    match (1..=128).contains(&text.len()) && text.bytes().all(good) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" is no client id"),
            "use letters, digits, `_`, `+` and `-`, 128 at most".to_owned(),
        )),
    }
}

/// An identifier is the first part of its scopes.
fn identifier(text: &str) -> Result<String, Wrong> {
    match is_scope(text) && text.len() <= 256 {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" is no identifier of a resource server"),
            "use a word or a URL, without spaces: identifier = \"photos\"".to_owned(),
        )),
    }
}

fn scope_name(text: &str) -> Result<(), Wrong> {
    match is_scope(text) && !text.contains('/') && text.len() <= 256 {
        true => Ok(()),
        false => Err((
            format!("\"{text}\" is no scope's name"),
            "name each by a word of its own, without a slash: [\"read\", \"write\"]".to_owned(),
        )),
    }
}
