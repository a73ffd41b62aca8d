//! Verification of the access tokens of users.

use super::dpop::bound_key;
use super::keys::KeySet;
use super::pool_keys::TokenUse;
use crate::base::Timestamp;
use crate::jose::{NumericDate, Unverified};
use serde_json::Value;

/// The claims of a user's access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    /// The user's `sub`.
    pub subject: String,
    /// The app client's id.
    pub client_id: String,
    /// The id of the refresh token family with which the token was issued.
    pub origin_jti: String,
    /// The granted scopes, separated by spaces.
    pub scope: String,
    /// The key of the remembered device; may be empty.
    pub device_key: String,
    /// The authentication methods (RFC 8176).
    pub amr: Vec<String>,
    /// When the user was authenticated.
    pub auth_time: Timestamp,
    /// The thumbprint of the key to which the token is bound; `None` for a bearer token.
    pub key: Option<String>,
}

/// The reason why an access token is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessTokenError {
    /// The token is not an access token of a user of this pool.
    Invalid,
    /// The token has expired.
    Expired,
}

/// Verifies an access token of a pool. The caller must check whether its family has ended, and the
/// proof of its key.
///
/// # Errors
/// Returns the reason why the token is rejected.
pub fn verify_access_token(
    keys: &KeySet,
    issuer: &str,
    token: &str,
    now: Timestamp,
) -> Result<AccessClaims, AccessTokenError> {
    let Unverified { jws, claims } = Unverified::read(token).map_err(|_| AccessTokenError::Invalid)?;
    let is_ours = keys.verifying.verify(jws.kid.as_deref(), jws.algorithm, jws.message, &jws.signature);
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if !is_ours || text("iss") != Some(issuer) || text("token_use") != Some(TokenUse::Access.name()) {
        return Err(AccessTokenError::Invalid);
    }
    let time = |name: &str| NumericDate::of(&claims, name).ok_or(AccessTokenError::Invalid);
    if time("exp")? <= now {
        return Err(AccessTokenError::Expired);
    }
    let required = |name: &str| text(name).map(str::to_owned).ok_or(AccessTokenError::Invalid);
    // A token that was issued to a program itself has no family and no user.
    required("username")?;
    Ok(AccessClaims {
        subject: required("sub")?,
        client_id: required("client_id")?,
        origin_jti: required("origin_jti")?,
        scope: text("scope").unwrap_or_default().to_owned(),
        device_key: text("device_key").unwrap_or_default().to_owned(),
        amr: claims.get("amr").and_then(Value::as_array).map_or_else(Vec::new, |methods| texts(methods)),
        auth_time: time("auth_time")?,
        key: bound_key(&claims).map_err(|_| AccessTokenError::Invalid)?.map(str::to_owned),
    })
}

fn texts(values: &[Value]) -> Vec<String> {
    values.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Returns the app client that a token names, before its verification: the keys are of the client's
/// pool.
pub fn client_of_access_token(token: &str) -> Option<String> {
    let Unverified { claims, .. } = Unverified::read(token).ok()?;
    claims.get("client_id")?.as_str().map(str::to_owned)
}
