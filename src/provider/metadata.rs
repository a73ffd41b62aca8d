//! A provider's discovery document and keys, kept and renewed.

use super::kept::{Kept, MIN_INTERVAL};
use super::{Outbound, ProviderError};
use crate::base::{Clock, Duration};
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType,
};
use openidconnect::{AdditionalProviderMetadata, DiscoveryError, IssuerUrl, ProviderMetadata};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use url::Url;

/// When to fetch the metadata again, however good it looks.
const MAX_AGE: Duration = Duration::from_secs(3600);
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
    kept: Kept<Document>,
}

impl Metadata {
    pub fn new(issuer: String, outbound: Outbound, clock: Arc<dyn Clock>) -> Self {
        Self { kept: Kept::new(issuer.clone(), clock), issuer, outbound }
    }

    /// The metadata, fetched if it is not known or old.
    pub async fn get(&self) -> Result<Arc<Document>, ProviderError> {
        self.kept.newer_than(MAX_AGE, self.fetch()).await
    }

    /// The metadata after a token came whose key is not in it: the provider may have changed keys.
    pub async fn after_unknown_key(&self) -> Result<Arc<Document>, ProviderError> {
        self.kept.newer_than(MIN_INTERVAL, self.fetch()).await
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
