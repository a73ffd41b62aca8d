//! `[[provider]]` with OAuth 2.0 (RFC 6749) and a profile endpoint.

use super::address::safe_url;
use super::client::{self, Client};
use super::key::{Key, Shape, Type};
use super::preset::{Preset, Quirks, STANDARD};
use super::reader::{Invalid, Table};
use super::types::{FLAG, TEXT};
use url::Url;

const ENDPOINT: Type<Url> = Type::Read(Shape::Text, |item| item.parse(endpoint));

pub(super) const AUTHORIZATION_ENDPOINT: Key<Url> =
    Key::new("authorization_endpoint", ENDPOINT, "Address to which browsers are redirected to sign in.")
        .required("")
        .example("\"https://forge.example.com/login\"")
        .only(&["oauth2"]);
pub(super) const TOKEN_ENDPOINT: Key<Url> =
    Key::new("token_endpoint", ENDPOINT, "Address at which codes are exchanged for tokens.")
        .required("")
        .example("\"https://forge.example.com/token\"")
        .only(&["oauth2"]);
pub(super) const USERINFO_ENDPOINT: Key<Url> = Key::new(
    "userinfo_endpoint",
    ENDPOINT,
    "Address of the user's profile, a JSON object. Accounts of providers with the same address are the same.",
)
.required("")
.example("\"https://forge.example.com/api/me\"")
.only(&["oauth2"]);
pub(super) const SUBJECT: Key<String> = Key::new(
    "subject",
    TEXT,
    "The profile's member that identifies the account permanently: its name, or a JSON Pointer to it.",
)
.required("or \"id\"")
.example("\"/data/id\"")
.only(&["oauth2"]);
pub(super) const PKCE: Key<bool> =
    Key::new("pkce", FLAG, "Whether authorization requests use PKCE (RFC 7636).")
        .default("true")
        .only(&["oauth2"]);

/// The settings of an OAuth 2.0 provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth2 {
    /// The issuer, which distinguishes the provider's accounts from those of others.
    pub issuer: String,
    /// The authorization endpoint.
    pub authorization_endpoint: Url,
    /// The token endpoint.
    pub token_endpoint: Url,
    /// The address of the user's profile, a JSON object.
    pub userinfo_endpoint: Url,
    /// The URL of the list of the user's e-mail addresses.
    pub emails_endpoint: Option<Url>,
    /// Whether e-mail addresses are read from the list only, and the address in the profile is
    /// ignored.
    pub emails_listed: bool,
    /// The URLs of lists of the user's groups, each with JSON Pointers to the parts of a group's
    /// name.
    pub group_lists: Vec<(Url, &'static [&'static str])>,
    /// The member of the profile that identifies the account: a name, or a JSON Pointer (RFC 6901).
    pub subject: String,
    /// The client registration.
    pub client: Client,
    /// Deviations from the standards.
    pub quirks: Quirks,
}

/// The URLs of a preset.
pub(super) struct Endpoints {
    pub issuer: String,
    pub authorization: String,
    pub token: String,
    pub userinfo: String,
    pub subject: &'static str,
}

impl OAuth2 {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let authorization_endpoint = table.read(&AUTHORIZATION_ENDPOINT);
        let token_endpoint = table.read(&TOKEN_ENDPOINT);
        let userinfo_endpoint = table.read(&USERINFO_ENDPOINT);
        let subject = table.read(&SUBJECT);
        let pkce = table.read(&PKCE);
        let client = Client::read(table, &[], client::optional_secret);
        let userinfo_endpoint = userinfo_endpoint?;
        Some(Self {
            // Accounts are identified by the profile's URL.
            issuer: userinfo_endpoint.to_string(),
            authorization_endpoint: authorization_endpoint?,
            token_endpoint: token_endpoint?,
            userinfo_endpoint,
            emails_endpoint: None,
            emails_listed: false,
            group_lists: Vec::new(),
            subject: subject?,
            client: client?.without_demands(table),
            quirks: Quirks { pkce: pkce?, ..STANDARD },
        })
    }

    /// Reads the keys of a preset. `at` applies `base_url` to a URL.
    pub(super) fn preset(
        table: &Table<'_>,
        preset: &Preset,
        endpoints: Endpoints,
        at: impl Fn(&str) -> String,
        wants_groups: bool,
    ) -> Option<Self> {
        let url = |text: &str| Url::parse(text).ok();
        let quirks = preset.quirks;
        let mut client = Client::read(table, preset.scopes, client::required_secret)?.without_demands(table);
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

/// Reads an endpoint, which "MUST NOT include a fragment component" and needs TLS (RFC 6749,
/// sections 3.1 and 3.2).
fn endpoint(text: &str) -> Result<Url, Invalid> {
    const HELP: &str = "write an https address";
    let url = safe_url(text, HELP)?;
    match url.fragment() {
        None => Ok(url),
        Some(_) => Err((format!("\"{text}\" has a fragment"), HELP.to_owned())),
    }
}
