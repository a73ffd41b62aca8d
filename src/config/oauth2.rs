//! A provider that speaks OAuth 2.0 (RFC 6749) and has an API that tells who a token speaks for.

use super::address::safe_url;
use super::client::{self, Client};
use super::preset::{Preset, Quirks, STANDARD};
use super::reader::{Table, Wrong};
use url::Url;

/// A provider that speaks OAuth 2.0, as this client is registered there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2 {
    /// Who its accounts are told apart by.
    pub issuer: String,
    /// Where browsers are sent.
    pub authorization_endpoint: Url,
    /// Where codes are redeemed.
    pub token_endpoint: Url,
    /// Where the person's profile is: a JSON object.
    pub userinfo_endpoint: Url,
    /// Where the person's e-mail addresses are listed.
    pub emails_endpoint: Option<Url>,
    /// Whether the address on the profile counts for nothing.
    pub emails_listed: bool,
    /// Where the person's groups are listed, and what of each entry makes the name.
    pub group_lists: Vec<(Url, &'static [&'static str])>,
    /// The claim that names the account: a name, or a JSON Pointer (RFC 6901).
    pub subject: String,
    /// Our registration there.
    pub client: Client,
    /// Where it departs from the standards.
    pub quirks: Quirks,
}

/// The addresses of a preset.
pub(super) struct Endpoints {
    pub issuer: String,
    pub authorization: String,
    pub token: String,
    pub userinfo: String,
    pub subject: &'static str,
}

impl OAuth2 {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let at = |key, mend: &str| table.must(key, mend).and_then(|item| item.parse(endpoint));
        let authorization_endpoint = at("authorization_endpoint", "say where browsers are sent to sign in");
        let token_endpoint = at("token_endpoint", "say where codes are redeemed for tokens");
        let userinfo_endpoint = at("userinfo_endpoint", "say where the person's profile is, as JSON");
        let subject = table
            .must(
                "subject",
                "say what of the profile names the account for ever: subject = \"id\", or \"/data/id\"",
            )
            .and_then(|item| item.string().map(str::to_owned));
        let pkce = table.get("pkce").and_then(|item| item.boolean()).unwrap_or(true);
        let client = Client::read(table, &[], client::optional);
        let userinfo_endpoint = userinfo_endpoint?;
        Some(Self {
            // What vouches for the person is this very document.
            issuer: userinfo_endpoint.to_string(),
            authorization_endpoint: authorization_endpoint?,
            token_endpoint: token_endpoint?,
            userinfo_endpoint,
            emails_endpoint: None,
            emails_listed: false,
            group_lists: Vec::new(),
            subject: subject?,
            client: client?.without_demands(table),
            quirks: Quirks { pkce, ..STANDARD },
        })
    }

    /// A preset's settings; `at` tells where an address of its stands.
    pub(super) fn preset(
        table: &Table<'_>,
        preset: &Preset,
        endpoints: Endpoints,
        at: impl Fn(&str) -> String,
        wants_groups: bool,
    ) -> Option<Self> {
        let url = |text: &str| Url::parse(text).ok();
        let quirks = preset.quirks;
        let mut client = Client::read(table, preset.scopes, client::needed)?.without_demands(table);
        if wants_groups {
            client = client.with_scope(quirks.groups_scope);
        }
        let has = |scope: &str| client.scopes.iter().any(|known| known == scope);
        let lists = quirks.groups.iter().filter(|_| has(quirks.groups_scope));
        let emails = quirks.emails.filter(|(scope, _)| has(scope) || has("user"));
        Some(Self {
            issuer: endpoints.issuer,
            authorization_endpoint: url(&endpoints.authorization)?,
            token_endpoint: url(&endpoints.token)?,
            userinfo_endpoint: url(&endpoints.userinfo)?,
            emails_endpoint: emails.and_then(|(_, address)| url(&at(address))),
            emails_listed: quirks.emails.is_some(),
            group_lists: lists.filter_map(|list| Some((url(&at(list.address))?, list.name))).collect(),
            subject: endpoints.subject.to_owned(),
            client,
            quirks,
        })
    }
}

/// RFC 6749, sections 3.1 and 3.2: an endpoint "MUST NOT include a fragment component", and needs TLS.
fn endpoint(text: &str) -> Result<Url, Wrong> {
    const MEND: &str = "write an https address";
    let url = safe_url(text, MEND)?;
    match url.fragment() {
        None => Ok(url),
        Some(_) => Err((format!("\"{text}\" has a fragment"), MEND.to_owned())),
    }
}
