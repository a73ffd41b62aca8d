//! Verification of the access tokens of users.

use super::keys::KeySet;
use super::pool_keys::TokenUse;
use crate::base::Timestamp;
use crate::jose::{NumericDate, Unverified};
use serde_json::Value;

/// What an access token of a user says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessClaims {
    /// The user's `sub`.
    pub subject: String,
    /// The app client.
    pub client_id: String,
    /// The family of refresh tokens with which it was issued.
    pub origin_jti: String,
    /// The granted scopes, separated by spaces.
    pub scope: String,
    /// The remembered device; may be empty.
    pub device_key: String,
    /// When the user was authenticated.
    pub auth_time: Timestamp,
}

/// Why an access token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessTokenError {
    /// It is no access token of a user of this pool.
    Invalid,
    /// It has expired.
    Expired,
}

/// Verifies an access token of a pool. Whether its family has ended is for the caller to check.
///
/// # Errors
/// Returns why the token is refused.
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
    // A token of a program has no family, and speaks for no user.
    let required = |name: &str| text(name).map(str::to_owned).ok_or(AccessTokenError::Invalid);
    Ok(AccessClaims {
        subject: required("sub")?,
        client_id: required("client_id")?,
        origin_jti: required("origin_jti")?,
        scope: text("scope").unwrap_or_default().to_owned(),
        device_key: text("device_key").unwrap_or_default().to_owned(),
        auth_time: time("auth_time")?,
    })
}

/// Returns the app client that a token names, before its verification: the keys are of the client's
/// pool.
pub fn client_of_access_token(token: &str) -> Option<String> {
    let Unverified { claims, .. } = Unverified::read(token).ok()?;
    claims.get("client_id")?.as_str().map(str::to_owned)
}
