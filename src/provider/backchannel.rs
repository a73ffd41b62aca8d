//! Logout tokens (OpenID Connect Back-Channel Logout 1.0, section 2.6).

use super::ProviderError;
use super::metadata::ProviderMetadata;
use crate::base::{Duration, Timestamp};
use crate::jose::{Malformed, NumericDate, Unverified};
use serde::Deserialize;
use serde_json::{Map, Value};

/// How far clocks may differ.
const SKEW: Duration = Duration::from_secs(60);
/// How long after its issue a token is taken, and its `jti` remembered. Section 2.4 recommends an
/// expiration "at most two minutes in the future"; some providers let their tokens live for a day.
const MAX_AGE: Duration = Duration::from_secs(86400);
/// A logout token is some hundred bytes.
const MAX_LOGOUT_TOKEN_BYTES: usize = 8 * 1024;
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// Whose sessions a provider says are over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutToken {
    /// The issuer.
    pub issuer: String,
    /// The token's own id, which works once.
    pub jti: String,
    /// From when on it is refused: its id need not be remembered for longer.
    pub expires_at: Timestamp,
    /// Which account; all its sessions are over, where `sids` names none.
    pub subject: Option<String>,
    /// Which sessions at the provider.
    pub sids: Vec<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Value,
    iat: NumericDate,
    exp: NumericDate,
    jti: String,
    #[serde(default)]
    sub: Option<String>,
    #[serde(default)]
    sid: Option<String>,
    events: Map<String, Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Judges `token`, which the provider of `document` is said to have signed for `audience`.
pub fn verify_logout_token(
    token: &str,
    document: &ProviderMetadata,
    audience: &str,
    now: Timestamp,
) -> Result<LogoutToken, ProviderError> {
    let refuse = |check, detail: &str| Err(ProviderError::invalid(check, detail));
    if token.len() > MAX_LOGOUT_TOKEN_BYTES {
        return refuse("size", "a logout token is smaller than this");
    }
    let claims = verified(token, document)?;
    let issuer = document.issuer.as_str();
    if claims.iss != issuer {
        return refuse("iss", "it is of another issuer");
    }
    let named = match &claims.aud {
        Value::String(one) => one == audience,
        Value::Array(all) => all.iter().any(|one| one == audience),
        _ => false,
    };
    if !named {
        return refuse("aud", "it is for another client");
    }
    let (NumericDate(issued), NumericDate(expires_at)) = (claims.iat, claims.exp);
    if now >= expires_at.plus(SKEW) {
        return refuse("exp", "the token has expired");
    }
    if issued > now.plus(SKEW) {
        return refuse("iat", "it was issued in the future");
    }
    if now >= issued.plus(MAX_AGE) {
        return refuse("iat", "it was issued more than a day ago");
    }
    // RFC 7519, section 4.1.5: before nbf the token "MUST NOT be accepted for processing".
    let not_before = claims.rest.get("nbf");
    if not_before.is_some_and(|nbf| NumericDate::read(nbf).is_none_or(|at| at > now.plus(SKEW))) {
        return refuse("nbf", "it lies in the future");
    }
    // "Verify that the Logout Token contains an events Claim whose value is JSON object containing
    // the member name http://schemas.openid.net/event/backchannel-logout": an ID token has none.
    if !claims.events.get(EVENT).is_some_and(Value::is_object) {
        return refuse("events", "it has no logout event");
    }
    // "Verify that the Logout Token does not contain a nonce Claim": an ID token does.
    if claims.rest.contains_key("nonce") {
        return refuse("nonce", "a logout token has none");
    }
    if claims.jti.is_empty() || claims.jti.len() > 255 {
        return refuse("jti", "it is empty or too long");
    }
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (subject, sid) = (some(claims.sub), some(claims.sid));
    if subject.is_none() && sid.is_none() {
        return refuse("sub or sid", "it names neither");
    }
    // No account has such a name, and not every database can be asked for it.
    if subject.as_ref().is_some_and(|subject| subject.contains(char::is_control)) {
        return refuse("sub", "it holds control characters");
    }
    let sids = sid.into_iter().collect();
    let expires_at = expires_at.plus(SKEW).min(issued.plus(MAX_AGE));
    Ok(LogoutToken { issuer: issuer.to_owned(), jti: claims.jti, expires_at, subject, sids })
}

fn verified(token: &str, document: &ProviderMetadata) -> Result<Claims, ProviderError> {
    let Unverified { jws, claims } =
        Unverified::read_within(token, MAX_LOGOUT_TOKEN_BYTES).map_err(|why| {
            let check = match &why {
                Malformed::Algorithm(_) => "alg",
                // RFC 7515, section 4.1.11: with an extension that is "not understood and supported
                // by the recipient, then the JWS is invalid".
                Malformed::Critical => "crit",
                _ => "token",
            };
            ProviderError::invalid(check, why)
        })?;
    // RFC 8725, section 3.11: a token of another type is not taken for this one.
    if jws.typ.as_deref().is_some_and(|typ| !matches!(typ, "logout+jwt" | "jwt")) {
        return Err(ProviderError::invalid("typ", "it is no logout token"));
    }
    if !document.keys.verify(jws.kid.as_deref(), jws.algorithm, jws.message, &jws.signature) {
        return Err(ProviderError::invalid("signature", "none of the provider's keys signed it"));
    }
    serde_json::from_value(Value::Object(claims)).map_err(|error| ProviderError::invalid("claims", error))
}
