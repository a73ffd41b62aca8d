//! Introspection of opaque tokens (RFC 7662): keys of `[[issuer]]`.

use super::address::safe_url;
use super::item::Item;
use super::key::{Key, Shape, Type};
use super::preset::ClientAuth;
use super::reader::Table;
use super::types::{SECRET, TEXT};
use crate::base::{Duration, Secret};
use url::Url;

/// The maximum of `introspection_cache`: a revoked token may be accepted for this long.
const MAX_CACHE: Duration = Duration::from_secs(3600);

pub(super) const ENDPOINT: Key<Url> = Key::new(
    "introspection",
    Type::Read(Shape::Text, |item| item.parse(|text| safe_url(text, "write an https address"))),
    "Introspection endpoint for opaque tokens; without `jwks`, for the issuer's JWTs too. One issuer can have it.",
)
.example("\"https://login.example.com/introspect\"");
pub(super) const CLIENT_ID: Key<String> =
    Key::new("client_id", TEXT, "Client id at the introspection endpoint.").example("\"gateway\"");
pub(super) const CLIENT_SECRET: Key<Secret> =
    Key::new("client_secret", SECRET, "Client secret at the introspection endpoint.")
        .example("{ env = \"INTROSPECTION_SECRET\" }");
pub(super) const AUTH_METHOD: Key<ClientAuth> = Key::new(
    "token_endpoint_auth_method",
    Type::ProviderChoice(&[
        ("client_secret_basic", ClientAuth::Basic),
        ("client_secret_post", ClientAuth::Post),
    ]),
    "How the client id and secret are sent to the introspection endpoint.",
)
.default("\"client_secret_basic\"");
pub(super) const CACHE: Key<Duration> = Key::new(
    "introspection_cache",
    Type::Read(Shape::Duration, cache),
    "Time for which an introspection response is used, at most `\"1h\"`. A revoked token is accepted for as long.",
)
.default("\"60s\"");

/// An introspection endpoint, and the client credentials for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    /// The endpoint.
    pub endpoint: Url,
    /// The client id.
    pub client_id: Option<String>,
    /// The client secret.
    pub client_secret: Option<Secret>,
    /// The authentication method: `Basic` or `Post`.
    pub auth: ClientAuth,
    /// The time for which a response is used.
    pub cache: Duration,
}

impl Introspection {
    /// Reads the keys for introspection. Returns `None` if the issuer has no endpoint.
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let (id, secret) = (table.get(&CLIENT_ID), table.get(&CLIENT_SECRET));
        let (auth, cache) = (table.get(&AUTH_METHOD), table.get(&CACHE));
        let Some(endpoint) = table.get(&ENDPOINT) else {
            for item in [&id, &secret, &auth, &cache].into_iter().flatten() {
                item.report(
                    format!("`{}` is not used without `introspection`", item.key),
                    "remove it, or name the endpoint: introspection = \"https://idp.example.com/introspect\"",
                );
            }
            return None;
        };
        if let (Some(secret), None) = (&secret, &id) {
            secret
                .report("`client_secret` is not used without `client_id`", "add the client id, or remove it");
        }
        Some(Self {
            endpoint: ENDPOINT.value(&endpoint)?,
            client_id: table.read(&CLIENT_ID),
            client_secret: table.read(&CLIENT_SECRET),
            auth: table.read(&AUTH_METHOD)?,
            cache: table.read(&CACHE)?,
        })
    }
}

fn cache(item: &Item<'_>) -> Option<Duration> {
    let cache = item.duration()?;
    if cache > MAX_CACHE {
        item.report(
            "`introspection_cache` is longer than an hour",
            "write at most \"1h\": a revoked token is accepted for as long",
        );
        return None;
    }
    Some(cache)
}
