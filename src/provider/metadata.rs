//! A provider's discovery document and keys, kept and renewed.

use super::kept::{Kept, MIN_INTERVAL};
use super::{Outbound, ProviderError};
use crate::base::{Clock, Duration};
use crate::config::{Issuer, Tenants, is_safe};
use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreResponseMode, CoreResponseType,
    CoreSubjectIdentifierType,
};
use openidconnect::{
    AdditionalProviderMetadata, IssuerUrl, JsonWebKey as _, JsonWebKeySet, ProviderMetadata,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
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

/// What a provider publishes: its discovery document with its key set.
pub struct Published {
    /// The document; where each tenant has an issuer of its own, the issuer is a template.
    pub document: Document,
    /// Which keys sign for which issuers only, by the key's id; the issuer may be a template.
    key_issuers: HashMap<String, String>,
}

impl Published {
    /// The document as it counts for one tenant, whose issuer is `issuer`.
    ///
    /// Microsoft's key set says of each key whose tokens it signs: one of a single tenant must not sign for
    /// all of them.
    pub fn of_tenant(&self, tenant: &str, issuer: &str) -> Result<Document, ProviderError> {
        let url =
            IssuerUrl::new(issuer.to_owned()).map_err(|error| ProviderError::invalid("issuer", error))?;
        let of_it = |key: &&CoreJsonWebKey| {
            let named = key.key_id().and_then(|id| self.key_issuers.get(id.as_str()));
            named.is_none_or(|named| Tenants::filled(named, tenant) == issuer)
        };
        let keys = self.document.jwks().keys().iter().filter(of_it).cloned().collect();
        Ok(self.document.clone().set_issuer(url).set_jwks(JsonWebKeySet::new(keys)))
    }
}

/// A provider's metadata, kept and renewed.
pub struct Metadata {
    issuer: Issuer,
    outbound: Outbound,
    kept: Kept<Published>,
}

impl Metadata {
    pub fn new(issuer: Issuer, outbound: Outbound, clock: Arc<dyn Clock>) -> Self {
        Self { kept: Kept::new(issuer.location(), None, clock), issuer, outbound }
    }

    /// The metadata, fetched if it is not known or old.
    pub async fn get(&self) -> Result<Arc<Published>, ProviderError> {
        self.kept.newer_than(MAX_AGE, self.fetch()).await
    }

    /// The metadata after a token came whose key is not in it: the provider may have changed keys.
    pub async fn after_unknown_key(&self) -> Result<Arc<Published>, ProviderError> {
        self.kept.newer_than(MIN_INTERVAL, self.fetch()).await
    }

    /// Has the metadata fetched again, whatever its age.
    pub fn expire(&self) {
        self.kept.expire();
    }

    async fn fetch(&self) -> Result<Published, ProviderError> {
        let unavailable = |why: String| ProviderError::Unavailable(why);
        // OpenID Connect Discovery 1.0, section 4: "any terminating / MUST be removed before appending".
        let location = self.issuer.location();
        let location = format!("{}/.well-known/openid-configuration", location.trim_end_matches('/'));
        let location = Url::parse(&location).map_err(|error| unavailable(error.to_string()))?;
        let text = self.outbound.get(&location).await.map_err(|error| unavailable(error.to_string()))?;
        let document: Document = serde_json::from_slice(&text)
            .map_err(|error| unavailable(format!("its discovery document cannot be read: {error}")))?;
        let expected = match &self.issuer {
            Issuer::One(issuer) => issuer.clone(),
            Issuer::PerTenant(tenants) => tenants.template(),
        };
        // Section 4.3: the issuer "MUST be identical to the Issuer URL that was used as the prefix".
        if document.issuer().as_str() != expected {
            let told = document.issuer().as_str();
            return Err(unavailable(format!(
                "its discovery document says the issuer is `{told}`, not `{expected}`"
            )));
        }
        if let Some((name, url)) = unsafe_endpoint(&document) {
            return Err(unavailable(format!(
                "its discovery document has `{name}` = `{url}`, which is not an https address; help: have the provider \
                 publish https addresses"
            )));
        }
        let text = self.outbound.get(document.jwks_uri().url()).await;
        let text = text.map_err(|error| unavailable(format!("its key set: {error}")))?;
        let unreadable = |error| unavailable(format!("its key set cannot be read: {error}"));
        let keys: JsonWebKeySet<CoreJsonWebKey> = serde_json::from_slice(&text).map_err(unreadable)?;
        let issuers: KeyIssuers = serde_json::from_slice(&text).map_err(unreadable)?;
        let key_issuers = issuers.keys.into_iter().filter_map(|key| Some((key.kid?, key.issuer?))).collect();
        Ok(Published { document: document.set_jwks(keys), key_issuers })
    }
}

/// The first address of a discovery document that is neither https nor on this machine.
///
/// OpenID Connect Discovery 1.0, section 3: each of them is a "URL using the https scheme"; plain http would expose codes,
/// tokens, our secret or the keys on the network.
fn unsafe_endpoint(document: &Document) -> Option<(&'static str, &Url)> {
    [
        ("authorization_endpoint", Some(document.authorization_endpoint().url())),
        ("token_endpoint", document.token_endpoint().map(|endpoint| endpoint.url())),
        ("userinfo_endpoint", document.userinfo_endpoint().map(|endpoint| endpoint.url())),
        ("jwks_uri", Some(document.jwks_uri().url())),
        ("end_session_endpoint", document.additional_metadata().end_session_endpoint.as_ref()),
    ]
    .into_iter()
    .filter_map(|(name, url)| Some((name, url?)))
    .find(|(_, url)| !is_safe(url))
}

/// What Microsoft's key sets carry beyond RFC 7517.
#[derive(Deserialize)]
struct KeyIssuers {
    keys: Vec<KeyIssuer>,
}

#[derive(Deserialize)]
struct KeyIssuer {
    kid: Option<String>,
    issuer: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn every_address_of_a_discovery_document_is_https_or_of_this_machine() {
        let names = [
            "authorization_endpoint",
            "token_endpoint",
            "userinfo_endpoint",
            "jwks_uri",
            "end_session_endpoint",
        ];
        let with = |name: &str, url: &str| {
            let mut document = json!({
                "issuer": "https://idp.example", "response_types_supported": ["code"],
                "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
            });
            for known in names {
                document[known] = format!("https://idp.example/{known}").into();
            }
            document[name] = Value::from(url);
            serde_json::from_value::<Document>(document).unwrap()
        };
        for name in names {
            for good in [
                "https://elsewhere.example/x",
                "http://127.0.0.1:8080/x",
                "http://[::1]/x",
                "http://localhost/x",
            ] {
                assert_eq!(unsafe_endpoint(&with(name, good)), None, "{good}");
            }
            for bad in [
                "http://idp.example/x",
                "http://127.0.0.1.evil.example/x",
                "http://localhost.evil.example/x",
                "javascript:alert(1)",
                "ftp://idp.example/x",
                "file:///etc/passwd",
            ] {
                let document = with(name, bad);
                assert_eq!(unsafe_endpoint(&document).map(|(name, _)| name), Some(name), "{bad}");
            }
        }
    }
}
