//! A provider's discovery document and keys, kept and renewed.

use super::cached_document::{CachedDocument, MIN_INTERVAL};
use super::http_client::may_lead_to;
use super::{ProviderError, ProviderHttpClient};
use crate::base::{Clock, Duration};
use crate::config::{Issuer, Oidc, Tenants};
use crate::jose::JwkSet;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use url::Url;

/// When to fetch the metadata again, however good it looks.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// The members of a discovery document that are used (OpenID Connect Discovery 1.0, section 3),
/// with the provider's keys. Whatever else the document lacks or misspells does no harm.
#[derive(Clone)]
pub struct ProviderMetadata {
    /// The issuer; where each tenant has an issuer of its own, a template.
    pub issuer: String,
    pub authorization_endpoint: Url,
    pub token_endpoint: Url,
    pub userinfo_endpoint: Option<Url>,
    /// OpenID Connect RP-Initiated Logout 1.0, section 2.1: where browsers go to end their session
    /// there.
    pub end_session_endpoint: Option<Url>,
    pub jwks_uri: Url,
    /// The ways in which a client may authenticate at the token endpoint, where the document lists
    /// them.
    pub token_endpoint_auth_methods: Option<Vec<String>>,
    /// RFC 9207, section 3: whether authorization responses carry `iss`.
    pub sends_issuer: bool,
    /// The keys at `jwks_uri`; none until they are fetched.
    pub keys: Arc<JwkSet>,
}

impl ProviderMetadata {
    /// Reads a discovery document, without the keys.
    ///
    /// # Errors
    /// Which member is missing or cannot be read.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let members: Map<String, Value> =
            serde_json::from_slice(text).map_err(|error| format!("it is not a JSON object: {error}"))?;
        let text = |name: &str| members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        // An optional address that is empty or none is as good as absent.
        let optional = |name: &str| text(name).and_then(|text| Url::parse(text).ok());
        let required =
            |name: &str| optional(name).ok_or_else(|| format!("`{name}` is missing or not an address"));
        let list = |name: &str| match members.get(name)? {
            Value::String(one) => Some(vec![one.clone()]),
            Value::Array(all) => Some(all.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
            _ => None,
        };
        let sends_issuer = match members.get("authorization_response_iss_parameter_supported") {
            Some(Value::Bool(sends)) => *sends,
            Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
            _ => false,
        };
        Ok(Self {
            issuer: text("issuer").ok_or("`issuer` is missing")?.to_owned(),
            authorization_endpoint: required("authorization_endpoint")?,
            token_endpoint: required("token_endpoint")?,
            userinfo_endpoint: optional("userinfo_endpoint"),
            end_session_endpoint: optional("end_session_endpoint"),
            jwks_uri: required("jwks_uri")?,
            token_endpoint_auth_methods: list("token_endpoint_auth_methods_supported"),
            sends_issuer,
            keys: Arc::new(JwkSet::default()),
        })
    }

    /// The first address that is not https, for a document from `address`. A document of this
    /// machine may name others of this machine.
    ///
    /// OpenID Connect Discovery 1.0, section 3: each of them is a "URL using the https scheme";
    /// plain http would expose codes, tokens, our secret or the keys on the network.
    fn unsafe_endpoint(&self, address: &Url) -> Option<(&'static str, &Url)> {
        [
            ("authorization_endpoint", Some(&self.authorization_endpoint)),
            ("token_endpoint", Some(&self.token_endpoint)),
            ("userinfo_endpoint", self.userinfo_endpoint.as_ref()),
            ("jwks_uri", Some(&self.jwks_uri)),
            ("end_session_endpoint", self.end_session_endpoint.as_ref()),
        ]
        .into_iter()
        .filter_map(|(name, url)| Some((name, url?)))
        .find(|(_, url)| !may_lead_to(address, url))
    }
}

/// What a provider publishes: its discovery document with its key set.
pub struct PublishedMetadata {
    /// The document; where each tenant has an issuer of its own, the issuer is a template.
    pub document: ProviderMetadata,
    /// The members of the key set as they came. Microsoft's say of each key for which issuers it
    /// signs.
    keys: Vec<Value>,
}

impl PublishedMetadata {
    /// The document as it applies to one tenant, whose issuer is `issuer`.
    ///
    /// Microsoft's key set says of each key whose tokens it signs: one of a single tenant must not
    /// sign for all of them.
    pub fn for_tenant(&self, tenant: &str, issuer: &str) -> Result<ProviderMetadata, ProviderError> {
        let of_it = |key: &&Value| {
            let named = key.get("issuer").and_then(Value::as_str);
            named.is_none_or(|named| Tenants::filled(named, tenant) == issuer)
        };
        let keys: Vec<&Value> = self.keys.iter().filter(of_it).collect();
        let keys = JwkSet::read(json!({ "keys": keys }).to_string().as_bytes())
            .map_err(ProviderError::Unreadable)?;
        Ok(ProviderMetadata { issuer: issuer.to_owned(), keys: Arc::new(keys), ..self.document.clone() })
    }
}

/// A provider's metadata, kept and renewed.
pub struct MetadataCache {
    issuer: Issuer,
    aliases: &'static [&'static str],
    location: Option<Url>,
    outbound: ProviderHttpClient,
    cached: CachedDocument<PublishedMetadata>,
}

impl MetadataCache {
    pub fn new(settings: &Oidc, outbound: ProviderHttpClient, clock: Arc<dyn Clock>) -> Self {
        let issuer = settings.issuer.clone();
        Self {
            cached: CachedDocument::new(issuer.location(), None, clock),
            issuer,
            aliases: settings.quirks.issuer_aliases,
            location: settings.discovery_url.clone(),
            outbound,
        }
    }

    /// The metadata, fetched if it is not known or old.
    pub async fn get(&self) -> Result<Arc<PublishedMetadata>, ProviderError> {
        self.cached.get_or_fetch(MAX_AGE, self.fetch()).await
    }

    /// The metadata after a token came whose key is not in it: the provider may have changed keys.
    pub async fn after_unknown_key(&self) -> Result<Arc<PublishedMetadata>, ProviderError> {
        self.cached.get_or_fetch(MIN_INTERVAL, self.fetch()).await
    }

    /// Has the metadata fetched again, whatever its age.
    pub fn expire(&self) {
        self.cached.expire();
    }

    /// The address of the discovery document. OpenID Connect Discovery 1.0, section 4: "any
    /// terminating / MUST be removed before appending".
    fn address(&self) -> Result<Url, ProviderError> {
        let well_known = || {
            let issuer = self.issuer.location();
            Url::parse(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))
        };
        let address = self.location.clone().map_or_else(well_known, Ok);
        address.map_err(|error| ProviderError::Unavailable(error.to_string()))
    }

    async fn fetch(&self) -> Result<PublishedMetadata, ProviderError> {
        let unreadable = |why: String| ProviderError::Unreadable(why);
        let address = self.address()?;
        let text = self.outbound.get(&address).await;
        let text = text.map_err(|error| error.of("its discovery document"))?;
        let mut document = ProviderMetadata::read(&text)
            .map_err(|why| unreadable(format!("its discovery document cannot be read: {why}")))?;
        let expected = match &self.issuer {
            Issuer::One(issuer) => issuer.clone(),
            Issuer::PerTenant(tenants) => tenants.template(),
        };
        // Section 4.3: the issuer "MUST be identical to the Issuer URL that was used as the
        // prefix".
        if document.issuer != expected && !self.aliases.contains(&document.issuer.as_str()) {
            let actual = &document.issuer;
            return Err(unreadable(format!(
                "its discovery document says the issuer is `{actual}`, not `{expected}`; help: if that is this provider, \
                 write issuer = \"{actual}\", and the document's address as discovery_url"
            )));
        }
        document.issuer = expected;
        if let Some((name, url)) = document.unsafe_endpoint(&address) {
            return Err(unreadable(format!(
                "its discovery document has `{name}` = `{url}`, which is not an https address; help: have the provider \
                 publish https addresses"
            )));
        }
        let text = self.outbound.get(&document.jwks_uri).await.map_err(|error| error.of("its key set"))?;
        let why = |why: String| unreadable(format!("its key set cannot be read: {why}"));
        document.keys = Arc::new(JwkSet::read(&text).map_err(why)?);
        let mut set: Map<String, Value> =
            serde_json::from_slice(&text).map_err(|error| why(error.to_string()))?;
        let keys = match set.remove("keys") {
            Some(Value::Array(keys)) => keys,
            _ => Vec::new(),
        };
        Ok(PublishedMetadata { document, keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] =
        ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "end_session_endpoint"];

    fn with(name: &str, value: Value) -> Result<ProviderMetadata, String> {
        let mut document = json!({ "issuer": "https://idp.example" });
        for known in NAMES {
            document[known] = format!("https://idp.example/{known}").into();
        }
        document[name] = value;
        ProviderMetadata::read(document.to_string().as_bytes())
    }

    #[test]
    fn every_address_of_a_discovery_document_is_https_or_of_this_machine() {
        let (remote, local): (Url, Url) =
            ("https://idp.example/".parse().unwrap(), "http://127.0.0.1:8080/".parse().unwrap());
        for name in NAMES {
            for good in [
                "https://elsewhere.example/x",
                "http://127.0.0.1:8080/x",
                "http://[::1]/x",
                "http://localhost/x",
            ] {
                let document = with(name, good.into()).unwrap();
                assert_eq!(document.unsafe_endpoint(&local), None, "{good}");
                let is_https = good.starts_with("https:");
                assert_eq!(document.unsafe_endpoint(&remote).is_none(), is_https, "{good}");
            }
            for bad in [
                "http://idp.example/x",
                "http://127.0.0.1.evil.example/x",
                "http://localhost.evil.example/x",
                "javascript:alert(1)",
                "ftp://idp.example/x",
                "file:///etc/passwd",
            ] {
                let document = with(name, bad.into()).unwrap();
                assert_eq!(document.unsafe_endpoint(&local).map(|(name, _)| name), Some(name), "{bad}");
            }
        }
    }

    #[test]
    fn a_document_may_lack_what_is_not_used_and_nothing_else() {
        for name in ["userinfo_endpoint", "end_session_endpoint"] {
            for absent in [Value::Null, "".into(), 7.into()] {
                let document = with(name, absent).unwrap();
                assert!(document.userinfo_endpoint.is_none() || document.end_session_endpoint.is_none());
            }
        }
        for name in ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"] {
            for absent in [Value::Null, "".into(), json!([])] {
                let why = with(name, absent).err().unwrap();
                assert!(why.contains(&format!("`{name}` is missing")), "{why}");
            }
        }
        let methods =
            |value| with("token_endpoint_auth_methods_supported", value).unwrap().token_endpoint_auth_methods;
        assert_eq!(methods("client_secret_post".into()), Some(vec!["client_secret_post".to_owned()]));
        assert_eq!(methods(Value::Null), None);
        assert!(ProviderMetadata::read(b"<html>").is_err());
    }
}
