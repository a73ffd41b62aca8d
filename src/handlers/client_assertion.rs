//! Client assertions: authentication with a private key (RFC 7523, sections 2.2 and 3; OpenID
//! Connect Core 1.0, section 9: `private_key_jwt`).

use super::error::EndpointError;
use super::{AppState, RequestData, unavailable};
use crate::base::{Duration, Timestamp, base64url_encode, sha256};
use crate::catalogue::{AppClient, Pool};
use crate::jose::{NumericDate, Unverified};
use crate::pages::ErrorResponse;
use crate::provider::{IssuerKeys, ProviderError};
use crate::store::{ReplayKey, StoreError};
use crate::token::SKEW;
use serde_json::Value;

/// The value of `client_assertion_type` (RFC 7523, section 2.2).
pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Maximum time until an assertion expires: the default of Authlib.
const MAX_VALIDITY: Duration = Duration::from_secs(3600);
/// The accepted types. Tokens of other kinds that the same key signs are refused.
const TYPES: [&str; 2] = ["jwt", "client-authentication+jwt"];

/// Returns the client that an assertion names, before its verification.
pub(super) fn named_client(assertion: &str) -> Option<String> {
    let Unverified { claims, .. } = Unverified::read(assertion).ok()?;
    claims.get("sub")?.as_str().map(str::to_owned)
}

/// Verifies an assertion of `client`, and records its use on every node.
///
/// # Errors
/// The outer error is of the database or of the client's keys. The inner error is the reason why
/// the assertion is rejected.
pub(super) async fn verify(
    app: &AppState,
    info: &RequestData,
    (pool, client): (&Pool, &AppClient),
    assertion: &str,
) -> Result<Result<(), &'static str>, EndpointError> {
    let Some(keys) = app.client_keys.of(client) else { return Ok(Err("the client has no keys")) };
    let Ok(assertion) = Unverified::read(assertion) else { return Ok(Err("the assertion is malformed")) };
    let token_endpoint = app.catalogue.load().config.public_url.join("/oauth2/token");
    let audiences = [pool.issuer.as_str(), &token_endpoint];
    let single_use = match check_claims(&assertion, &client.id, audiences, app.clock.now()) {
        Ok(single_use) => single_use,
        Err(why) => return Ok(Err(why)),
    };
    let is_signed = is_signed(&keys, &assertion).await.map_err(|error| {
        tracing::warn!(request_id = info.request_id, client_id = client.id, %error, "cannot get an app client's keys");
        ErrorResponse::unavailable()
    })?;
    if !is_signed {
        return Ok(Err("no key of the client has signed the assertion"));
    }
    // RFC 7523, section 3: the server "MAY ensure that JWTs are not replayed by maintaining the set
    // of used "jti" values".
    let used = app.store.transaction(|tx| {
        let (id, expires_at) = &single_use;
        Box::pin(async move { tx.use_once(ReplayKey::Proof, id, *expires_at).await })
    });
    let is_first = used.await.map_err(|error: StoreError| unavailable(info, &error))?;
    Ok(if is_first { Ok(()) } else { Err("the assertion was used before") })
}

/// Checks the type and the claims of an assertion. Returns the digest of its id, and the time until
/// which its use must be remembered.
fn check_claims(
    assertion: &Unverified<'_>,
    client_id: &str,
    audiences: [&str; 2],
    now: Timestamp,
) -> Result<(String, Timestamp), &'static str> {
    let Unverified { jws, claims } = assertion;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if jws.typ.as_deref().is_some_and(|typ| !TYPES.contains(&typ)) {
        return Err("the assertion is of another type");
    }
    if text("iss") != Some(client_id) || text("sub") != Some(client_id) {
        return Err("`iss` and `sub` of the assertion are not the client's id");
    }
    // One string: an assertion for several servers could be used at another one.
    if !text("aud").is_some_and(|audience| audiences.contains(&audience)) {
        return Err("`aud` of the assertion is neither the issuer nor the token endpoint");
    }
    let expires_at = NumericDate::of(claims, "exp").ok_or("`exp` of the assertion is missing")?;
    if expires_at.plus(SKEW) <= now {
        return Err("the assertion has expired");
    }
    if now.plus(MAX_VALIDITY).plus(SKEW) < expires_at {
        return Err("the assertion is valid for more than an hour");
    }
    for name in ["nbf", "iat"] {
        let Some(value) = claims.get(name) else { continue };
        if NumericDate::read(value).is_none_or(|at| now.plus(SKEW) < at) {
            return Err("`nbf` or `iat` of the assertion is in the future");
        }
    }
    let jti = text("jti").filter(|jti| !jti.is_empty()).ok_or("`jti` of the assertion is missing")?;
    let id = base64url_encode(sha256(format!("client assertion\n{client_id}\n{jti}")));
    Ok((id, expires_at.plus(SKEW)))
}

/// Returns whether a key of the client has signed the assertion. New keys are fetched if the set
/// does not contain the named one.
async fn is_signed(keys: &IssuerKeys, assertion: &Unverified<'_>) -> Result<bool, ProviderError> {
    let jws = &assertion.jws;
    let kid = jws.kid.as_deref();
    // A failure is not final while an earlier set can be used.
    let _ = keys.refresh().await;
    let set = keys.get_or_fetch().await?;
    if set.verify(kid, jws.algorithm, jws.message, &jws.signature) {
        return Ok(true);
    }
    if set.contains_kid(kid) {
        return Ok(false);
    }
    let set = keys.after_unknown_key().await?;
    Ok(set.verify(kid, jws.algorithm, jws.message, &jws.signature))
}
