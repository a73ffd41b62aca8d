//! `[[user_pool.client]]`: apps that sign users in, and programs that get access tokens of the user
//! pool.

use super::branding::{self, Branding};
use super::client_sign_in::{ClientSignIn, KEYS};
use super::issuer::{KeySource, key_source};
use super::item::Item;
use super::key::{Key, Nested, Section, Shape, Type};
use super::pool_attribute::PoolAttribute;
use super::reader::{Invalid, Table};
use super::resource_server::ResourceServer;
use super::role::plain_name;
use super::types::{FLAG, TEXTS};
use crate::base::{Duration, Secret};

/// The minimum length of a secret, in bytes: 128 bits in base64.
const MIN_SECRET_BYTES: usize = 22;
/// The maximum number of secrets of a client: the current one and its successor.
const MAX_SECRETS: usize = 2;
/// The bounds of Cognito's `AccessTokenValidity`.
const MIN_VALIDITY: Duration = Duration::from_secs(300);
const MAX_VALIDITY: Duration = Duration::from_secs(86400);

/// The scopes of users' tokens, which need no resource server.
pub const USER_SCOPES: [&str; 5] = ["openid", "email", "phone", "profile", "aws.cognito.signin.user.admin"];

pub(super) const SECTION: Section = Section {
    header: "[[user_pool.client]]",
    about: "Apps that sign users in with `auth_flows`, and programs that get access tokens of the user pool with the client \
            credentials grant.",
    keys: &[
        &NAME,
        &ID,
        &SECRETS,
        &ALLOWED_OAUTH_FLOWS,
        &ALLOWED_OAUTH_SCOPES,
        &ACCESS_TOKEN_VALIDITY,
        &JWKS,
        &DPOP_BOUND_ACCESS_TOKENS,
        KEYS[0],
        KEYS[1],
        KEYS[2],
        KEYS[3],
        KEYS[4],
        KEYS[5],
        KEYS[6],
        KEYS[7],
        KEYS[8],
        KEYS[9],
        KEYS[10],
        KEYS[11],
        KEYS[12],
        KEYS[13],
        KEYS[14],
        KEYS[15],
        &BRANDING,
    ],
};
const BRANDING: Key<Nested> = Key::table("branding", &branding::OF_CLIENT);
const NAME: Key<String> = Key::new(
    "name",
    Type::Read(Shape::Text, |item| item.parse(|text| plain_name(text, "an app client"))),
    "Unique name in the pool.",
)
.required("")
.example("\"reporter\"");
const ID: Key<String> =
    Key::new("id", Type::Read(Shape::Text, |item| item.parse(client_id)), "Client id, unique in the pool.")
        .computed("an id that is generated at the first start; `narthex check` prints it")
        .example("\"reporter\"");
const SECRETS: Key<Vec<Secret>> = Key::new(
    "secret",
    Type::Read(Shape::OneOrMore(&Shape::Secret), |item| Some(secrets(item))),
    "Client secret of at least 22 characters, or two of them during a rotation.",
)
.required_if(
    "`jwks` is not set, and `allowed_oauth_flows` has \"client_credentials\", or neither it nor `auth_flows` is set",
)
.example("{ env = \"REPORTER_SECRET\" }");
const ALLOWED_OAUTH_FLOWS: Key<Vec<OAuthFlow>> = Key::new(
    "allowed_oauth_flows",
    Type::Read(Shape::OneOrMore(&Shape::Words(&["code", "implicit", "client_credentials"])), |item| {
        Some(item.list(|item| {
            item.choice(&[
                ("code", OAuthFlow::AuthorizationCode),
                ("implicit", OAuthFlow::Implicit),
                ("client_credentials", OAuthFlow::ClientCredentials),
            ])
        }))
    }),
    "Grants with which the client may get tokens. Without any, it may only introspect and revoke tokens. \"code\" signs \
     users in on the pages, and needs `callback_urls`; so does \"implicit\", for old apps that cannot redeem a code: it \
     puts tokens into addresses.",
)
.example("[\"code\"]");
const ALLOWED_OAUTH_SCOPES: Key<Vec<String>> = Key::new(
    "allowed_oauth_scopes",
    TEXTS,
    "Full names of the scopes that the client may request: of resource servers, and with \
        the grants \"code\" and \"implicit\" `openid`, `email`, `phone`, `profile` and `aws.cognito.signin.user.admin`.",
)
.required_if("`allowed_oauth_flows` is set")
.example("[\"photos/read\"]");
const ACCESS_TOKEN_VALIDITY: Key<Duration> = Key::new(
    "access_token_validity",
    Type::Read(Shape::Duration, validity),
    "Lifetime of access tokens, from `\"5m\"` to `\"1d\"`.",
)
.default("\"1h\"");
const JWKS: Key<KeySource> = Key::new(
    "jwks",
    Type::Read(Shape::Text, key_source),
    "Address or file of the client's public keys, a JWK Set. The client authenticates with `private_key_jwt`; with a secret \
     only if `secret` is set, too.",
)
.example("\"https://reporter.example.com/jwks.json\"");
const DPOP_BOUND_ACCESS_TOKENS: Key<bool> = Key::new(
    "dpop_bound_access_tokens",
    FLAG,
    "Whether the client gets only access tokens that are bound to a key by a DPoP proof (RFC 9449).",
)
.default("false");

/// An app client of the user pool (RFC 6749, section 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppClient {
    /// The name, unique in the pool.
    pub name: String,
    /// The client id, if the file has one.
    pub id: Option<String>,
    /// The secrets; each of them authenticates the client.
    pub secrets: Vec<Secret>,
    /// The grants with which the client may get tokens.
    pub allowed_oauth_flows: Vec<OAuthFlow>,
    /// The scopes that the client may request.
    pub allowed_oauth_scopes: Vec<String>,
    /// The lifetime of the client's access tokens.
    pub access_token_validity: Duration,
    /// The source of the client's public keys (RFC 7523), if it has any.
    pub keys: Option<KeySource>,
    /// Whether its access tokens must be bound to a key (RFC 9449, section 5.2).
    pub dpop_bound_access_tokens: bool,
    /// The settings for the sign-in of users.
    pub sign_in: ClientSignIn,
    /// The look of the sign-in pages, with what the pool has.
    pub branding: Branding,
}

/// A grant (Cognito's `AllowedOAuthFlows`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OAuthFlow {
    /// The authorization code grant (RFC 6749, section 4.1).
    AuthorizationCode,
    /// The implicit grant (RFC 6749, section 4.2).
    Implicit,
    /// The client credentials grant (RFC 6749, section 4.4).
    ClientCredentials,
}

impl AppClient {
    pub(super) fn read(
        table: &Table<'_>,
        known: &[ResourceServer],
        attributes: &[PoolAttribute],
        of_pool: &Branding,
    ) -> Option<Self> {
        let name = table.read(&NAME);
        let id = table.read(&ID);
        let flows = table.read(&ALLOWED_OAUTH_FLOWS).unwrap_or_default();
        let mut sign_in = ClientSignIn::read(table, attributes);
        // A public client has no secret: the users of an app can read any secret in it.
        let signs_in = |of: &ClientSignIn| !of.auth_flows.is_empty();
        let is_device = sign_in.as_ref().is_some_and(|of| of.extensions.device_authorization);
        let is_public = !flows.contains(&OAuthFlow::ClientCredentials)
            && (!flows.is_empty() || is_device || sign_in.as_ref().is_none_or(signs_in));
        let keys = table.get(&JWKS).map(|item| JWKS.value(&item));
        let dpop_bound_access_tokens = table.read(&DPOP_BOUND_ACCESS_TOKENS);
        if let Some(sign_in) = &mut sign_in {
            sign_in.extensions.authenticates_by_key = keys.is_some();
            sign_in.extensions.dpop_bound_access_tokens = dpop_bound_access_tokens == Some(true);
        }
        let branding = Branding::of_table(table, &BRANDING, of_pool);
        let secrets = match is_public || keys.is_some() {
            true => Some(table.get(&SECRETS).map(|item| secrets(&item)).unwrap_or_default()),
            false => table.required(&SECRETS).map(|item| secrets(&item)),
        };
        let scopes = table.get(&ALLOWED_OAUTH_SCOPES);
        let validity = table.read(&ACCESS_TOKEN_VALIDITY);
        match (&scopes, flows.is_empty() && !is_device) {
            (None, false) => table.report(
                "an app client that may get tokens needs `allowed_oauth_scopes`",
                "name the scopes: allowed_oauth_scopes = [\"photos/read\"]",
            ),
            (Some(item), true) => item.report(
                "`allowed_oauth_scopes` has no effect without `allowed_oauth_flows` or `device_authorization`",
                "add allowed_oauth_flows = [\"client_credentials\"], or remove it",
            ),
            _ => {}
        }
        let has_pages =
            [OAuthFlow::AuthorizationCode, OAuthFlow::Implicit].iter().any(|of| flows.contains(of));
        if has_pages && sign_in.as_ref().is_some_and(|of| of.callback_urls.is_empty()) {
            table.report(
                "an app client with the grant \"code\" or \"implicit\" needs `callback_urls`",
                "name the address to which the sign-in leads: callback_urls = [\"https://app.example.com/callback\"]",
            );
        }
        let scopes =
            scopes.map(|item| allowed_scopes(&item, known, has_pages || is_device)).unwrap_or_default();
        table.finish();
        Some(Self {
            name: name?,
            id,
            secrets: secrets?,
            allowed_oauth_flows: flows,
            allowed_oauth_scopes: scopes,
            access_token_validity: validity?,
            keys: keys.map_or(Some(None), |keys| keys.map(Some))?,
            dpop_bound_access_tokens: dpop_bound_access_tokens?,
            sign_in: sign_in?,
            branding,
        })
    }
}

/// Reads one secret, or two during a rotation.
pub(super) fn secrets(item: &Item<'_>) -> Vec<Secret> {
    let items = item.one_or_more();
    if items.len() > MAX_SECRETS {
        item.report(
            format!("`{}` has {} secrets", item.key, items.len()),
            "keep two: the current one and its successor",
        );
    }
    let long = |item: &Item<'_>| {
        let secret = item.secret()?;
        if secret.expose().len() < MIN_SECRET_BYTES {
            item.report(
                format!("the secret is shorter than {MIN_SECRET_BYTES} characters"),
                "generate it: `openssl rand -base64 32`",
            );
            return None;
        }
        Some(secret)
    };
    items.iter().filter_map(long).collect()
}

fn allowed_scopes(item: &Item<'_>, known: &[ResourceServer], has_users: bool) -> Vec<String> {
    let is_known = |text: &str| {
        (has_users && USER_SCOPES.contains(&text))
            || known.iter().any(|server| server.scopes.iter().any(|scope| scope == text))
    };
    let scope = |text: &str| match is_known(text) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("no resource server has the scope \"{text}\""),
            "add it to a [[user_pool.resource_server]]: its identifier, a slash, the scope".to_owned(),
        )),
    };
    item.list(|item| item.parse(scope))
}

fn validity(item: &Item<'_>) -> Option<Duration> {
    let duration = item.duration()?;
    if !(MIN_VALIDITY..=MAX_VALIDITY).contains(&duration) {
        item.report("`access_token_validity` is out of bounds", "choose between \"5m\" and \"1d\"");
        return None;
    }
    Some(duration)
}

/// Reads a client id in Cognito's form (word characters and `+`), or with the hyphens of a UUID.
fn client_id(text: &str) -> Result<String, Invalid> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-');
    match (1..=128).contains(&text.len()) && text.bytes().all(good) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" is not a client id"),
            "use letters, digits, `_`, `+` and `-`, 128 at most".to_owned(),
        )),
    }
}
