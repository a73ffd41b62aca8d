//! Signing keys, compact JWS (RFC 7515) with JWT claims (RFC 7519), public keys as JWK Sets (RFC
//! 7517) and PEM.

mod algorithm;
mod json;
mod jwk_set;
mod jws;
mod keys;
mod numeric_date;

pub use algorithm::{Algorithm, Family};
pub use json::{UniqueKeysObject, UniqueKeysValue, unique_keys_object};
pub use jwk_set::{ClaimedKey, JwkSet};
pub use jws::{Jws, MAX_BODY_TOKEN_LENGTH, MAX_TOKEN_LENGTH, Malformed, Unverified};
pub use keys::{KeyError, SigningKey};
pub use numeric_date::{NumericDate, authenticated_at};

use crate::base::base64url_encode_into;
use serde::{Serialize, Serializer};

/// Initial capacity for a token, in bytes. Most tokens are shorter.
const INITIAL_CAPACITY: usize = 2048;

/// A header value.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum HeaderParameter<'a> {
    /// A string.
    Text(&'a str),
    /// A number.
    Number(i64),
}

/// A JOSE header (RFC 7515, section 4).
struct Header<'a> {
    key: &'a SigningKey,
    extra: &'a [(&'a str, HeaderParameter<'a>)],
}

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let typ = self
            .extra
            .iter()
            .find(|(name, _)| *name == "typ")
            .map_or(HeaderParameter::Text("JWT"), |(_, typ)| *typ);
        let standard = [
            ("typ", typ),
            ("alg", HeaderParameter::Text(self.key.algorithm().name())),
            ("kid", HeaderParameter::Text(self.key.kid())),
        ];
        // Recipients that find the key by its certificate need no key id.
        let standard = standard.into_iter().filter(|(name, _)| *name != "kid" || !self.key.kid().is_empty());
        let extra = self.extra.iter().copied().filter(|(name, _)| *name != "typ");
        serializer.collect_map(standard.chain(extra))
    }
}

/// Signs `claims` with `key` as a compact JWS. `extra` adds to the header fields `alg`, `kid` and
/// `typ`, and may replace `typ`, which defaults to `JWT`.
///
/// # Errors
/// Returns [`KeyError`] if signing fails.
pub fn sign(
    key: &SigningKey,
    extra: &[(&str, HeaderParameter<'_>)],
    claims: &impl Serialize,
) -> Result<String, KeyError> {
    // RFC 7515, section 7.1. The JOSE library is not used, because it would parse the key for each
    // signature.
    let unwritten = |error: serde_json::Error| KeyError::new(error.to_string());
    let (mut token, mut json) =
        (String::with_capacity(INITIAL_CAPACITY), Vec::with_capacity(INITIAL_CAPACITY / 2));
    serde_json::to_writer(&mut json, &Header { key, extra }).map_err(unwritten)?;
    base64url_encode_into(&mut token, &json);
    token.push('.');
    json.clear();
    serde_json::to_writer(&mut json, claims).map_err(unwritten)?;
    base64url_encode_into(&mut token, &json);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    base64url_encode_into(&mut token, signature);
    Ok(token)
}
