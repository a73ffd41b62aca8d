//! Keys that sign, and what they sign: compact JWS (RFC 7515) of JWT claims (RFC 7519), and the
//! public halves as a key set (RFC 7517) and as PEM.

mod keys;

pub use keys::{Algorithm, KeyError, SigningKey};

use serde::Serialize;

/// The header of an assertion, which carries more than JOSE's own members, as an Application Load
/// Balancer's does.
#[derive(Serialize)]
pub struct AssertionHeader<'a> {
    /// Who issued it: the deployment's public address.
    pub iss: &'a str,
    /// Which route of which deployment signed it, as an ARN.
    pub signer: &'a str,
    /// The gateway's app client at the user pool.
    pub client: &'a str,
    /// When it ends, in seconds since the epoch: load balancers repeat it here.
    pub exp: i64,
}

/// Signs `claims` under `key` as a compact JWS whose header carries `extra` besides `alg`, `kid`
/// and `typ`.
///
/// # Errors
/// [`KeyError`] where the key does not sign; it is never answered with an empty text.
pub fn sign(key: &SigningKey, extra: &AssertionHeader<'_>, claims: &impl Serialize) -> Result<String, KeyError> {
    let mut header = jsonwebtoken::Header::new(key.algorithm().into());
    header.kid = Some(key.kid().to_owned());
    for (name, value) in [("iss", extra.iss), ("signer", extra.signer), ("client", extra.client)] {
        header.extras.insert(name, value);
    }
    header.extras.insert("exp", extra.exp);
    jsonwebtoken::encode(&header, claims, key.private()).map_err(KeyError::signing)
}
