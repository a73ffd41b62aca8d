//! The keys of an issuer whose access tokens the file trusts: fetched beside the requests, and
//! kept.

use super::cached_document::{CachedDocument, MAX_STALE, MIN_INTERVAL};
use super::http_client::may_lead_to;
use super::introspection::Introspector;
use super::{ProviderError, ProviderHttpClient};
use crate::base::{Clock, Duration, MonotonicTime};
use crate::config::{Config, KeySource, TrustedIssuer};
use crate::jose::JwkSet;
use serde::Deserialize;
use std::sync::Arc;
use url::Url;

/// When to fetch the keys again, however good they look.
const MAX_AGE: Duration = Duration::from_secs(600);
/// Total timeout for one key fetch, shorter than callers' timeout.
const FETCH_TIMEOUT: Duration = Duration::from_secs(8);

/// An issuer's keys.
pub struct IssuerKeys {
    issuer: TrustedIssuer,
    outbound: ProviderHttpClient,
    cached: Arc<CachedDocument<JwkSet>>,
    introspector: Option<Arc<Introspector>>,
}

/// What is read of an issuer's metadata.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: Url,
}

/// The key files of `config` that hold no keys, a line each.
pub fn unusable_key_files(config: &Config) -> Vec<String> {
    let read = |keys: &KeySource| match keys {
        KeySource::File(file) => {
            let why = JwkSet::read(file.text.as_bytes()).err()?;
            Some(format!("{}: {why}", file.path.display()))
        }
        KeySource::Metadata | KeySource::Url(_) | KeySource::Own(_) | KeySource::None => None,
    };
    let clients =
        config.user_pools().flat_map(|pool| &pool.clients).filter_map(|client| client.keys.as_ref());
    config.issuers.iter().map(|issuer| &issuer.keys).chain(clients).filter_map(read).collect()
}

impl IssuerKeys {
    /// Nothing is known yet of the keys of `issuer`, unless they are at hand.
    pub fn new(issuer: TrustedIssuer, outbound: ProviderHttpClient, clock: Arc<dyn Clock>) -> Self {
        let at_hand = match &issuer.keys {
            KeySource::File(file) => JwkSet::read(file.text.as_bytes()).ok(),
            KeySource::Own(text) => JwkSet::read(text.as_bytes()).ok(),
            KeySource::None => Some(JwkSet::default()),
            KeySource::Url(_) | KeySource::Metadata => None,
        };
        let outbound = outbound.trusting(issuer.ca.as_ref().map(|ca| ca.text.as_str()));
        let introspector = Introspector::new(&issuer, outbound.clone(), clock.clone()).map(Arc::new);
        let cached = Arc::new(CachedDocument::new(issuer.name.clone(), at_hand, clock));
        Self { cached, issuer, outbound, introspector }
    }

    /// The same keys, where `issuer` says the same of where they are.
    pub fn of(&self, issuer: &TrustedIssuer) -> Option<Self> {
        let source = |issuer: &TrustedIssuer| {
            (issuer.url.clone(), issuer.keys.clone(), issuer.introspection.clone(), issuer.ca.clone())
        };
        let (outbound, kept) = (self.outbound.clone(), self.cached.clone());
        let introspector = self.introspector.clone();
        (source(&self.issuer) == source(issuer)).then(|| Self {
            issuer: issuer.clone(),
            outbound,
            cached: kept,
            introspector,
        })
    }

    /// The keys that are known now, without waiting for any.
    pub fn cached_keys(&self) -> Option<Arc<JwkSet>> {
        self.cached.current()
    }

    /// The endpoint that is asked about opaque tokens, if there is one.
    pub fn introspector(&self) -> Option<&Introspector> {
        self.introspector.as_deref()
    }

    /// Whose they are.
    pub fn issuer(&self) -> &TrustedIssuer {
        &self.issuer
    }

    /// Returns whether the keys that are valid `now` have this digest.
    pub fn match_digest(&self, digest: &[u8; 32], now: MonotonicTime) -> bool {
        self.cached.current_is(now, |keys| keys.digest == *digest)
    }

    /// Returns the cached keys of any valid age; fetched only where there are
    /// none.
    ///
    /// # Errors
    /// Where they are not to be had.
    pub async fn get_or_fetch(&self) -> Result<Arc<JwkSet>, ProviderError> {
        self.cached.get_or_fetch(MAX_STALE, self.fetch()).await
    }

    /// The keys after a token came whose key is not among them: the issuer may have changed keys.
    /// An attacker who makes tokens up can have them fetched so often, and no more.
    ///
    /// # Errors
    /// Where they are not to be had.
    pub async fn after_unknown_key(&self) -> Result<Arc<JwkSet>, ProviderError> {
        self.cached.get_or_fetch(MIN_INTERVAL, self.fetch()).await
    }

    /// Has them fetched again at the next refresh, whatever their age.
    pub fn expire(&self) {
        self.cached.expire();
    }

    /// Fetches them again where they are old.
    ///
    /// # Errors
    /// Where they are not to be had.
    pub async fn refresh(&self) -> Result<(), ProviderError> {
        self.cached.get_or_fetch(MAX_AGE, self.fetch()).await.map(drop)
    }

    async fn fetch(&self) -> Result<JwkSet, ProviderError> {
        let late = |_| {
            ProviderError::Unavailable(format!("its keys did not come within {} s", FETCH_TIMEOUT.as_secs()))
        };
        tokio::time::timeout(FETCH_TIMEOUT, self.fetch_all()).await.map_err(late)?
    }

    async fn fetch_all(&self) -> Result<JwkSet, ProviderError> {
        let json = match &self.issuer.keys {
            KeySource::None => return Ok(JwkSet::default()),
            KeySource::File(file) => file.text.clone().into_bytes(),
            KeySource::Own(text) => text.clone().into_bytes(),
            KeySource::Url(url) => self.get(url).await?,
            KeySource::Metadata => self.get(&self.metadata().await?.jwks_uri).await?,
        };
        JwkSet::read(&json).map_err(|why| ProviderError::Unavailable(format!("its key set: {why}")))
    }

    /// OpenID Connect Discovery 1.0, section 4, or RFC 8414, section 3, where there is no such
    /// document.
    async fn metadata(&self) -> Result<Metadata, ProviderError> {
        let unavailable = |why: String| ProviderError::Unavailable(why);
        let issuer = self.issuer.url.trim_end_matches('/');
        let origin = issuer.match_indices('/').nth(2).map_or(issuer.len(), |(at, _)| at);
        let (origin, path) = issuer.split_at(origin);
        let mut failed = None;
        for address in [
            format!("{issuer}/.well-known/openid-configuration"),
            format!("{origin}/.well-known/oauth-authorization-server{path}"),
        ] {
            let address = Url::parse(&address).map_err(|error| unavailable(error.to_string()))?;
            let read = |json: Vec<u8>| {
                serde_json::from_slice(&json)
                    .map_err(|error| unavailable(format!("its metadata cannot be read: {error}")))
            };
            let metadata: Metadata = match self.get(&address).await.and_then(read) {
                Ok(metadata) => metadata,
                Err(error) => {
                    failed.get_or_insert(error);
                    continue;
                }
            };
            // RFC 8414, section 3.3: it "MUST be identical to the authorization server's issuer
            // identifier value".
            if metadata.issuer != self.issuer.url {
                let (named, expected) = (metadata.issuer, &self.issuer.url);
                return Err(unavailable(format!(
                    "its metadata says the issuer is `{named}`, not `{expected}`"
                )));
            }
            if !may_lead_to(&address, &metadata.jwks_uri) {
                return Err(unavailable(format!(
                    "its key set is not at an https address: {}",
                    metadata.jwks_uri
                )));
            }
            return Ok(metadata);
        }
        Err(failed.unwrap_or_else(|| unavailable("it has no metadata".to_owned())))
    }

    async fn get(&self, url: &Url) -> Result<Vec<u8>, ProviderError> {
        self.outbound.get(url).await.map_err(|error| error.of(url.path()))
    }
}
