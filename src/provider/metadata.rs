//! A provider's discovery document and keys, kept and renewed.

use super::{Outbound, ProviderError};
use crate::base::{Clock, Duration, Timestamp};
use arc_swap::ArcSwap;
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType,
};
use openidconnect::{AdditionalProviderMetadata, DiscoveryError, IssuerUrl, ProviderMetadata};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::Mutex;
use url::Url;

/// When to fetch the metadata again, however good it looks.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// How long metadata counts that cannot be fetched again.
const MAX_STALE: Duration = Duration::from_secs(24 * 3600);
/// How often an unknown key, or a provider that is down, may make us fetch.
const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// What discovery documents carry beyond OpenID Connect Discovery.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Extensions {
    /// RFC 9207, section 3: whether authorization responses carry `iss`.
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
    /// OpenID Connect RP-Initiated Logout 1.0, section 2.1: where browsers go to end their session there.
    #[serde(default)]
    pub end_session_endpoint: Option<Url>,
}

impl AdditionalProviderMetadata for Extensions {}

/// A discovery document with its key set.
pub type Document = ProviderMetadata<
    Extensions,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// A provider's metadata, kept and renewed.
pub struct Metadata {
    issuer: String,
    outbound: Outbound,
    clock: Arc<dyn Clock>,
    kept: ArcSwap<Kept>,
    /// Held during a fetch, so that many who wait for it cause one. Whoever is content with what is there
    /// does not wait.
    fetching: Mutex<()>,
}

#[derive(Clone, Default)]
struct Kept {
    document: Option<(Arc<Document>, Timestamp)>,
    failed: Option<(ProviderError, Timestamp)>,
}

impl Kept {
    fn document_within(&self, age: Duration, now: Timestamp) -> Option<Arc<Document>> {
        let (document, fetched) = self.document.as_ref()?;
        (now.since(*fetched) < age).then(|| document.clone())
    }
}

impl Metadata {
    pub fn new(issuer: String, outbound: Outbound, clock: Arc<dyn Clock>) -> Self {
        Self { issuer, outbound, clock, kept: ArcSwap::default(), fetching: Mutex::default() }
    }

    /// The metadata, fetched if it is not known or old.
    pub async fn get(&self) -> Result<Arc<Document>, ProviderError> {
        self.newer_than(MAX_AGE).await
    }

    /// The metadata after a token came whose key is not in it: the provider may have changed keys.
    pub async fn after_unknown_key(&self) -> Result<Arc<Document>, ProviderError> {
        self.newer_than(MIN_INTERVAL).await
    }

    async fn newer_than(&self, age: Duration) -> Result<Arc<Document>, ProviderError> {
        if let Some(document) = self.kept.load().document_within(age, self.clock.now()) {
            return Ok(document);
        }
        let _fetching = self.fetching.lock().await;
        let (kept, now) = (self.kept.load_full(), self.clock.now());
        if let Some(document) = kept.document_within(age, now) {
            return Ok(document);
        }
        let stale = kept.document_within(MAX_STALE, now);
        if let Some((error, at)) = &kept.failed
            && now.since(*at) < MIN_INTERVAL
        {
            return stale.ok_or_else(|| error.clone());
        }
        match self.fetch().await {
            Ok(document) => {
                let document = Arc::new(document);
                self.kept.store(Arc::new(Kept { document: Some((document.clone(), now)), failed: None }));
                Ok(document)
            }
            Err(error) => {
                tracing::warn!(issuer = self.issuer, %error, "the provider's metadata could not be fetched");
                let failed = Some((error.clone(), now));
                self.kept.store(Arc::new(Kept { failed, ..Kept::clone(&kept) }));
                stale.ok_or(error)
            }
        }
    }

    async fn fetch(&self) -> Result<Document, ProviderError> {
        let unavailable = |why: String| ProviderError::Unavailable(why);
        let issuer = IssuerUrl::new(self.issuer.clone()).map_err(|e| unavailable(e.to_string()))?;
        Document::discover_async(issuer, &self.outbound).await.map_err(|error| {
            unavailable(match error {
                DiscoveryError::Request(error) => error.to_string(),
                // OpenID Connect Discovery 1.0, section 4.3: the issuer "MUST be identical".
                DiscoveryError::Validation(why) => why,
                DiscoveryError::Parse(error) => format!("its discovery document cannot be read: {error}"),
                DiscoveryError::Response(status, _, why) => format!("it answered {status}: {why}"),
                other => other.to_string(),
            })
        })
    }
}
