//! Fuzz targets for what providers send by themselves; see the module `fuzzing` of the crate.

use super::backchannel::judge;
use super::metadata::Document;
use crate::base::Timestamp;
use openidconnect::JsonWebKeySet;
use openidconnect::core::CoreJsonWebKey;
use serde_json::{Value, json};

/// The logout tokens of a provider.
pub struct LogoutTokens {
    document: Document,
    audience: String,
}

impl LogoutTokens {
    /// Those that a provider with these keys sends to `audience`.
    ///
    /// # Panics
    /// Where `keys` is no key set.
    pub fn new(issuer: &str, audience: &str, keys: Value) -> Self {
        let document = json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "jwks_uri": format!("{issuer}/keys"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["EdDSA"],
        });
        let document: Document = serde_json::from_value(document).expect("it is a discovery document");
        let keys: JsonWebKeySet<CoreJsonWebKey> = serde_json::from_value(keys).expect("it is a key set");
        Self { document: document.set_jwks(keys), audience: audience.to_owned() }
    }

    /// Subject and sessions that `token` logs out, if it is accepted.
    pub fn judge(&self, token: &str, now: Timestamp) -> Option<(Option<String>, Vec<String>)> {
        let token = judge(token, &self.document, &self.audience, now).ok()?;
        Some((token.subject, token.sids))
    }
}
