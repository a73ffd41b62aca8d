//! Logout tokens (OpenID Connect Back-Channel Logout 1.0, section 2.4).

use super::keys::KeySet;
use crate::base::{Duration, Entropy, Timestamp, uuid};
use crate::jose::{self, HeaderParameter, KeyError};
use serde_json::json;

/// Section 2.4: it is "RECOMMENDED that the expiration time be no more than two minutes in the
/// future".
const LIFETIME: Duration = Duration::from_secs(120);
/// The member of `events`.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// What a logout token says.
#[derive(Clone, Copy, Debug)]
pub struct LogoutToken<'a> {
    /// The `iss` claim.
    pub issuer: &'a str,
    /// The app client.
    pub client_id: &'a str,
    /// The user.
    pub subject: &'a str,
    /// The id of the session that has ended.
    pub sid: &'a str,
}

/// Issues a logout token, signed as an ID token.
///
/// # Errors
/// Returns an error if signing fails.
pub fn issue_logout_token(
    keys: &KeySet,
    of: LogoutToken<'_>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<String, KeyError> {
    // "A `nonce` Claim MUST NOT be present."
    let claims = json!({
        "iss": of.issuer,
        "sub": of.subject,
        "aud": of.client_id,
        "iat": now.seconds(),
        "exp": now.plus(LIFETIME).seconds(),
        "jti": uuid(entropy),
        "events": { EVENT: {} },
        "sid": of.sid,
    });
    jose::sign(&keys.signing, &[("typ", HeaderParameter::Text("logout+jwt"))], &claims)
}
