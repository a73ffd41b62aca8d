//! Keys that sign, and what they sign: compact JWS (RFC 7515) of JWT claims (RFC 7519), and the
//! public halves as a key set (RFC 7517) and as PEM.

mod algorithm;
mod jwk_set;
mod jws;
mod keys;

pub use algorithm::{Algorithm, Family};
pub use jwk_set::JwkSet;
pub use jws::{Jws, LONGEST, Malformed, Unverified};
pub use keys::{KeyError, SigningKey};

use crate::base::b64;
use serde::Serialize;
use serde_json::Value;

/// Signs `claims` under `key` as a compact JWS whose header carries `extra` besides `alg`, `kid` and
/// `typ`, which is `JWT` unless `extra` says otherwise.
///
/// # Errors
/// [`KeyError`] where the key does not sign; it is never answered with an empty text.
pub fn sign(key: &SigningKey, extra: &[(&str, Value)], claims: &impl Serialize) -> Result<String, KeyError> {
    let mut header = jsonwebtoken::Header::new(key.jose_algorithm());
    header.kid = Some(key.kid().to_owned());
    for (name, value) in extra {
        match (*name, value.as_str()) {
            ("typ", Some(typ)) => header.typ = Some(typ.to_owned()),
            _ => header.extras.insert(*name, value),
        }
    }
    // RFC 7515, section 7.1. The library that writes the header reads the key anew for each signature.
    let json = |error: serde_json::Error| KeyError::new(error.to_string());
    let mut token = b64(serde_json::to_vec(&header).map_err(json)?);
    token.push('.');
    token.push_str(&b64(serde_json::to_vec(claims).map_err(json)?));
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    token.push_str(&b64(signature));
    Ok(token)
}
