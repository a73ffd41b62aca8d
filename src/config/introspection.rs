//! Where opaque tokens are asked about (RFC 7662).

use super::address::safe_url;
use super::preset::ClientAuth;
use super::reader::Table;
use crate::base::{Duration, Secret};
use url::Url;

/// How long an answer is used unless the file says otherwise: as long as a revoked token is accepted at most.
const CACHE: Duration = Duration::from_secs(60);
const MAX_CACHE: Duration = Duration::from_secs(3600);

/// An introspection endpoint, and how we authenticate there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    /// The endpoint.
    pub endpoint: Url,
    /// Our client id there.
    pub client_id: Option<String>,
    /// Our client secret there.
    pub client_secret: Option<Secret>,
    /// How both are sent: `Basic` or `Post`.
    pub auth: ClientAuth,
    /// How long an answer is used.
    pub cache: Duration,
}

impl Introspection {
    /// Reads the keys of an issuer that is asked about its tokens; nothing where it is not.
    pub(super) fn read(table: &Table<'_>) -> Option<Option<Self>> {
        const METHODS: [(&str, ClientAuth); 2] =
            [("client_secret_basic", ClientAuth::Basic), ("client_secret_post", ClientAuth::Post)];
        let endpoint = table.get("introspection");
        let (id, secret) = (table.get("client_id"), table.get("client_secret"));
        let (auth, cache) = (table.get("token_endpoint_auth_method"), table.get("introspection_cache"));
        let Some(endpoint) = endpoint else {
            for item in [&id, &secret, &auth, &cache].into_iter().flatten() {
                item.wrong(
                    format!("`{}` is not used without `introspection`", item.key),
                    "remove it, or name the endpoint: introspection = \"https://idp.example.com/introspect\"",
                );
            }
            return Some(None);
        };
        if let (Some(secret), None) = (&secret, &id) {
            secret
                .wrong("`client_secret` is not used without `client_id`", "add the client id, or remove it");
        }
        let endpoint = endpoint.parse(|text| safe_url(text, "write an https address"));
        let cache = match cache {
            None => Some(CACHE),
            Some(item) => item.duration().filter(|cache| {
                if *cache > MAX_CACHE {
                    item.wrong(
                        "`introspection_cache` is longer than an hour",
                        "write at most \"1h\": a revoked token is accepted for so long",
                    );
                }
                *cache <= MAX_CACHE
            }),
        };
        let id = id.map(|item| item.string().map(str::to_owned));
        let secret = secret.map(|item| item.secret());
        let auth = auth.map_or(Some(ClientAuth::Basic), |item| item.choice(&METHODS));
        Some(Some(Self {
            endpoint: endpoint?,
            client_id: id.map_or(Some(None), |id| id.map(Some))?,
            client_secret: secret.map_or(Some(None), |secret| secret.map(Some))?,
            auth: auth?,
            cache: cache?,
        }))
    }
}
