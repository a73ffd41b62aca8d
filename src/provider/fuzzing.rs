//! Fuzz targets for what providers send by themselves; see the module `fuzzing` of the crate.

use super::backchannel::verify_logout_token;
use super::metadata::ProviderMetadata;
use crate::base::Timestamp;
use crate::jose::JwkSet;
use serde_json::{Value, json};
use std::sync::Arc;

/// The logout tokens of a provider.
pub struct LogoutTokens {
    document: ProviderMetadata,
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
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/keys"),
        });
        let mut document =
            ProviderMetadata::read(document.to_string().as_bytes()).expect("it is a discovery document");
        document.keys = Arc::new(JwkSet::read(keys.to_string().as_bytes()).expect("it is a key set"));
        Self { document, audience: audience.to_owned() }
    }

    /// Subject and sessions that `token` logs out, if it is accepted.
    pub fn judge(&self, token: &str, now: Timestamp) -> Option<(Option<String>, Vec<String>)> {
        let token = verify_logout_token(token, &self.document, &self.audience, now).ok()?;
        Some((token.subject, token.sids))
    }
}
