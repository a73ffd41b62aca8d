//! Keys of `[[user_pool.client]]` about the sign-in of users through the client.

use super::address::safe_url;
use super::attributes::STANDARD_ATTRIBUTES;
use super::callback_url::callback_url;
use super::item::Item;
use super::key::{Declared, Key, Shape, Type};
use super::pool_attribute::PoolAttribute;
use super::provider::{LOCAL_PROVIDER, provider_name};
use super::reader::{Invalid, Table};
use super::types::{FLAG, TEXTS};
use crate::base::Duration;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use url::Url;

/// The flows of `InitiateAuth` that a client can allow, with their names in `ExplicitAuthFlows`.
pub const AUTH_FLOWS: [&str; 9] = [
    "ALLOW_ADMIN_USER_PASSWORD_AUTH",
    "ALLOW_CLIENT_TOKEN_AUTH",
    "ALLOW_CUSTOM_AUTH",
    "ALLOW_REFRESH_TOKEN_AUTH",
    "ALLOW_TOKEN_EXCHANGE_DELEGATION",
    "ALLOW_TOKEN_EXCHANGE_IMPERSONATION",
    "ALLOW_USER_AUTH",
    "ALLOW_USER_PASSWORD_AUTH",
    "ALLOW_USER_SRP_AUTH",
];
/// Maximum number of URLs in a list.
const MAX_URLS: usize = 100;
/// Maximum validity of the earlier refresh token after a rotation, in seconds.
const MAX_GRACE: u32 = 60;
const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

/// The keys, for the section of app clients.
pub(super) const KEYS: [&dyn Declared; 16] = [
    &FLOWS,
    &ID_TOKEN_VALIDITY,
    &REFRESH_TOKEN_VALIDITY,
    &REFRESH_ROTATION_GRACE,
    &SESSION_VALIDITY,
    &HIDE_UNKNOWN_USERS,
    &READ_ATTRIBUTES,
    &WRITE_ATTRIBUTES,
    &CALLBACK_URLS,
    &LOGOUT_URLS,
    &IDENTITY_PROVIDERS,
    &REQUIRE_PUSHED_REQUESTS,
    &REQUIRE_CONSENT,
    &DEVICE_AUTHORIZATION,
    &BACKCHANNEL_LOGOUT_URI,
    &FRONTCHANNEL_LOGOUT_URI,
];
const FLOWS: Key<Vec<String>> = Key::new(
    "auth_flows",
    Type::Read(Shape::OneOrMore(&Shape::Words(&AUTH_FLOWS)), |item| Some(distinct(item, auth_flow))),
    "Flows with which users sign in (Cognito's `ExplicitAuthFlows`). Without any, no user signs in through the client.",
)
.example("[\"ALLOW_USER_SRP_AUTH\", \"ALLOW_REFRESH_TOKEN_AUTH\"]");
const ID_TOKEN_VALIDITY: Key<Duration> = Key::new(
    "id_token_validity",
    Type::Read(Shape::Duration, |item| validity(item, 5 * MINUTE..=DAY)),
    "Lifetime of ID tokens, from `\"5m\"` to `\"1d\"`.",
)
.default("\"1h\"");
const REFRESH_TOKEN_VALIDITY: Key<Duration> = Key::new(
    "refresh_token_validity",
    Type::Read(Shape::Duration, |item| validity(item, HOUR..=3650 * DAY)),
    "Lifetime of refresh tokens, from `\"1h\"` to `\"3650d\"`.",
)
.default("\"30d\"");
const REFRESH_ROTATION_GRACE: Key<u32> = Key::new(
    "refresh_rotation_grace",
    Type::Read(Shape::Integer(0), grace),
    "Each use of a refresh token gives a new one; the earlier one stays valid for so many seconds, 0 to 60.",
)
.computed("refresh tokens stay")
.example("10");
const SESSION_VALIDITY: Key<Duration> = Key::new(
    "session_validity",
    Type::Read(Shape::Duration, |item| validity(item, 3 * MINUTE..=15 * MINUTE)),
    "Lifetime of a challenge during a sign-in, from `\"3m\"` to `\"15m\"`.",
)
.default("\"3m\"");
const HIDE_UNKNOWN_USERS: Key<bool> = Key::new(
    "hide_unknown_users",
    FLAG,
    "Whether an unknown user gets the response to a wrong password (Cognito's `PreventUserExistenceErrors`).",
)
.default("true");
const READ_ATTRIBUTES: Key<Vec<String>> =
    Key::new("read_attributes", TEXTS, "Attributes that a user can read through the client.")
        .computed("all")
        .example("[\"email\", \"name\"]");
const WRITE_ATTRIBUTES: Key<Vec<String>> =
    Key::new("write_attributes", TEXTS, "Attributes that a user can write through the client.")
        .computed("all that are mutable")
        .example("[\"name\"]");
const CALLBACK_URLS: Key<Vec<String>> =
    Key::new("callback_urls", URLS, "URLs to which a sign-in can lead, compared exactly.")
        .example("[\"https://app.example.com/callback\"]");
const LOGOUT_URLS: Key<Vec<String>> =
    Key::new("logout_urls", URLS, "URLs to which a sign-out can lead, compared exactly.")
        .example("[\"https://app.example.com/\"]");
const IDENTITY_PROVIDERS: Key<Vec<String>> = Key::new(
    "identity_providers",
    Type::Read(Shape::OneOrMore(&Shape::Text), |item| Some(distinct(item, |item| item.parse(provider_choice)))),
    "Names of the `[[provider]]` that users of the client can choose on the sign-in page; `\"COGNITO\"` for a password of \
     the pool.",
)
.default("[\"COGNITO\"]");
const REQUIRE_PUSHED_REQUESTS: Key<bool> = Key::new(
    "require_pushed_requests",
    FLAG,
    "Whether the client must send its authorization requests to `/oauth2/par` first (RFC 9126).",
)
.default("false");
const REQUIRE_CONSENT: Key<bool> = Key::new(
    "require_consent",
    FLAG,
    "Whether a page asks users whether the client may have its scopes. For apps of others; the user can withdraw the \
     consent at `/sessions`.",
)
.default("false");
const DEVICE_AUTHORIZATION: Key<bool> = Key::new(
    "device_authorization",
    FLAG,
    "Whether devices without a browser can sign users in through the client, with a code that the user enters at \
     `/device` (RFC 8628).",
)
.default("false");
const BACKCHANNEL_LOGOUT_URI: Key<Url> = Key::new(
    "backchannel_logout_uri",
    Type::Read(Shape::Text, logout_uri),
    "Address of the app that gets a logout token when a session ends in which the client got tokens (OpenID Connect \
     Back-Channel Logout).",
)
.example("\"https://app.example.com/backchannel-logout\"");
const FRONTCHANNEL_LOGOUT_URI: Key<Url> = Key::new(
    "frontchannel_logout_uri",
    Type::Read(Shape::Text, logout_uri),
    "Address of the app that the browser opens in a frame when its user signs out (OpenID Connect Front-Channel Logout). \
     Most browsers keep the app's cookies from a frame: prefer `backchannel_logout_uri`.",
)
.example("\"https://app.example.com/frontchannel-logout\"");
const URLS: Type<Vec<String>> = Type::Read(Shape::OneOrMore(&Shape::Text), |item| Some(urls(item)));

/// The settings of an app client that only the configuration file has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientExtensions {
    /// Whether the client must push its authorization requests (RFC 9126, section 6).
    pub require_pushed_requests: bool,
    /// Whether users are asked whether the client may have its scopes.
    pub require_consent: bool,
    /// Whether devices without a browser may use the client (RFC 8628).
    pub device_authorization: bool,
    /// Whether the client has registered itself (RFC 7591).
    pub is_registered: bool,
    /// Whether the client authenticates with a key at the OAuth endpoints.
    pub authenticates_by_key: bool,
    /// Whether access tokens are issued only with the proof of a key (RFC 9449, section 5.2).
    pub dpop_bound_access_tokens: bool,
    /// The address that is notified of the end of a session (OpenID Connect Back-Channel Logout
    /// 1.0).
    pub backchannel_logout_uri: Option<Url>,
    /// The address that the browser opens when its user signs out (OpenID Connect Front-Channel
    /// Logout 1.0).
    pub frontchannel_logout_uri: Option<Url>,
}

impl ClientExtensions {
    /// Returns whether the client wants to know when a session ends.
    pub fn has_logout_uri(&self) -> bool {
        self.backchannel_logout_uri.is_some() || self.frontchannel_logout_uri.is_some()
    }
}

/// The settings of an app client for the sign-in of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSignIn {
    /// The flows with which users sign in.
    pub auth_flows: Vec<String>,
    /// The lifetime of ID tokens.
    pub id_token_validity: Duration,
    /// The lifetime of refresh tokens.
    pub refresh_token_validity: Duration,
    /// The validity of the earlier refresh token after a rotation, in seconds; `None` disables
    /// rotation.
    pub refresh_rotation_grace: Option<u32>,
    /// The lifetime of a challenge.
    pub session_validity: Duration,
    /// Whether an unknown user gets the response to a wrong password.
    pub hide_unknown_users: bool,
    /// The attributes that a user can read; `None` for all.
    pub read_attributes: Option<Vec<String>>,
    /// The attributes that a user can write; `None` for all mutable ones.
    pub write_attributes: Option<Vec<String>>,
    /// The URLs to which a browser may be redirected after a sign-in.
    pub callback_urls: Vec<String>,
    /// The URLs to which a browser may be redirected after a sign-out.
    pub logout_urls: Vec<String>,
    /// The providers that users can choose; [`LOCAL_PROVIDER`] for a password of the pool.
    pub identity_providers: Vec<String>,
    /// Settings that Cognito's API does not have.
    pub extensions: ClientExtensions,
}

impl ClientSignIn {
    pub(super) fn read(table: &Table<'_>, declared: &[PoolAttribute]) -> Option<Self> {
        let auth_flows = table.read(&FLOWS).unwrap_or_default();
        let id_token_validity = table.read(&ID_TOKEN_VALIDITY);
        let refresh_token_validity = table.read(&REFRESH_TOKEN_VALIDITY);
        let refresh_rotation_grace = table.read(&REFRESH_ROTATION_GRACE);
        let session_validity = table.read(&SESSION_VALIDITY);
        let hide_unknown_users = table.read(&HIDE_UNKNOWN_USERS);
        let own = ["sub", "email_verified", "phone_number_verified"];
        let read_attributes = table.get(&READ_ATTRIBUTES).map(|item| attributes(&item, declared, &own));
        let write_attributes = table.get(&WRITE_ATTRIBUTES).map(|item| attributes(&item, declared, &[]));
        let callback_urls = table.read(&CALLBACK_URLS).unwrap_or_default();
        let logout_urls = table.read(&LOGOUT_URLS).unwrap_or_default();
        let identity_providers = table.read(&IDENTITY_PROVIDERS);
        let require_pushed_requests = table.read(&REQUIRE_PUSHED_REQUESTS);
        let require_consent = table.read(&REQUIRE_CONSENT);
        let device_authorization = table.read(&DEVICE_AUTHORIZATION);
        let backchannel_logout_uri = table.read(&BACKCHANNEL_LOGOUT_URI);
        let frontchannel_logout_uri = table.read(&FRONTCHANNEL_LOGOUT_URI);
        if auth_flows.len() > 1 && auth_flows.iter().any(|flow| flow == "ALLOW_CLIENT_TOKEN_AUTH") {
            table.report(
                "ALLOW_CLIENT_TOKEN_AUTH excludes every other flow",
                "give the other flows to another client",
            );
        }
        Some(Self {
            auth_flows,
            id_token_validity: id_token_validity?,
            refresh_token_validity: refresh_token_validity?,
            refresh_rotation_grace,
            session_validity: session_validity?,
            hide_unknown_users: hide_unknown_users?,
            read_attributes,
            write_attributes,
            callback_urls,
            logout_urls,
            identity_providers: identity_providers?,
            extensions: ClientExtensions {
                require_pushed_requests: require_pushed_requests?,
                require_consent: require_consent?,
                device_authorization: device_authorization?,
                backchannel_logout_uri,
                frontchannel_logout_uri,
                // Read with the client's secrets.
                ..ClientExtensions::default()
            },
        })
    }
}

/// Reads the address of an app that is called when a session ends. OpenID Connect Back-Channel
/// Logout 1.0, section 2.2: it "MUST NOT include a fragment component".
fn logout_uri(item: &Item<'_>) -> Option<Url> {
    const HELP: &str = "write it as in \"https://app.example.com/logout\"";
    item.parse(|text| match safe_url(text, HELP)? {
        url if url.fragment().is_some() => Err((format!("\"{text}\" has a fragment"), HELP.to_owned())),
        // The host becomes a part of a page's policy.
        url if !has_plain_host(&url) => Err((format!("\"{text}\" has an unusual host"), HELP.to_owned())),
        url => Ok(url),
    })
}

fn has_plain_host(url: &Url) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '[' | ']');
    url.host_str().is_some_and(|host| host.chars().all(plain))
}

/// Reads distinct values. Reports duplicates.
pub(super) fn distinct<T: PartialEq>(item: &Item<'_>, read: impl Fn(&Item<'_>) -> Option<T>) -> Vec<T> {
    let mut values = Vec::new();
    for item in item.one_or_more() {
        match read(&item) {
            Some(value) if values.contains(&value) => {
                item.report(format!("`{}` has a value twice", item.key), "remove one of them");
            }
            value => values.extend(value),
        }
    }
    values
}

fn provider_choice(text: &str) -> Result<String, Invalid> {
    if text == LOCAL_PROVIDER { Ok(text.to_owned()) } else { provider_name(text) }
}

fn auth_flow(item: &Item<'_>) -> Option<String> {
    let choices = AUTH_FLOWS.map(|flow| (flow, flow));
    item.choice(&choices).map(str::to_owned)
}

/// Reads a duration within `bounds`, which are in seconds.
fn validity(item: &Item<'_>, bounds: RangeInclusive<u64>) -> Option<Duration> {
    let duration = item.duration()?;
    if !bounds.contains(&duration.as_secs()) {
        let shown = |seconds: u64| match seconds {
            seconds if seconds % DAY == 0 => format!("{}d", seconds / DAY),
            seconds if seconds % HOUR == 0 => format!("{}h", seconds / HOUR),
            seconds => format!("{}m", seconds / MINUTE),
        };
        let (least, most) = (shown(*bounds.start()), shown(*bounds.end()));
        item.report(
            format!("`{}` is out of bounds", item.key),
            format!("choose between \"{least}\" and \"{most}\""),
        );
        return None;
    }
    Some(duration)
}

fn grace(item: &Item<'_>) -> Option<u32> {
    let grace = item.integer()?;
    if grace > MAX_GRACE {
        item.report(
            "`refresh_rotation_grace` is out of bounds",
            format!("choose a number of seconds from 0 to {MAX_GRACE}"),
        );
        return None;
    }
    Some(grace)
}

/// Reads names of attributes: standard ones, declared ones, and `own`.
fn attributes(item: &Item<'_>, declared: &[PoolAttribute], own: &[&str]) -> Vec<String> {
    let is_known = |name: &str| {
        STANDARD_ATTRIBUTES.contains(&name)
            || ["address", "updated_at"].contains(&name)
            || own.contains(&name)
            || declared.iter().any(|attribute| attribute.name == name)
    };
    let name = |text: &str| match is_known(text) {
        true => Ok(text.to_owned()),
        false => Err((
            format!("\"{text}\" is not an attribute that a user can have here"),
            "use a standard one (email, name, …), or declare it as a [[user_pool.attribute]]".to_owned(),
        )),
    };
    distinct(item, |item| item.parse(name))
}

fn urls(item: &Item<'_>) -> Vec<String> {
    let urls = distinct(item, |item| item.parse(callback_url));
    if urls.len() > MAX_URLS {
        item.report(format!("`{}` has {} URLs", item.key, urls.len()), format!("keep {MAX_URLS}"));
    }
    urls
}
