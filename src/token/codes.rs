//! Authorization codes (RFC 6749, section 4.1) with PKCE (RFC 7636).

use super::dpop::Proof;
use crate::base::{Duration, Entropy, RandomToken, Timestamp, base64url_encode, sha256};
use crate::model::{AuthorizationCode, AuthorizationRequest, Session};
use crate::store::{ReplayKey, Result, Tx};

/// RFC 6749, section 4.1.2: "a maximum authorization code lifetime of 10 minutes is RECOMMENDED".
/// Narthex redeems its codes with the next request.
const CODE_LIFETIME: Duration = Duration::from_secs(120);
/// Maximum time between two deliveries of one response by a browser.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(15);

/// The parameters of a code's issuance, which must be the same at its redemption.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// The app client's id.
    pub client_id: &'a str,
    /// The redirect URI to which the code is sent.
    pub redirect_uri: &'a str,
    /// The proof of the client's key.
    pub proof: Option<&'a Proof>,
}

/// A redeemed code.
#[derive(Clone, Debug)]
pub struct RedeemedCode {
    /// The session for which the code was issued.
    pub session: Session,
    /// The granted scopes, separated by spaces; empty for the gateway's own codes.
    pub scope: String,
    /// The `nonce` of the authorization request; empty if it had none.
    pub nonce: String,
}

/// The reason why a code is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeError {
    /// There is no such code, or it has expired.
    Unknown,
    /// The same client redeemed the code a moment ago: one response was delivered twice.
    Duplicate,
    /// The code was redeemed before. The tokens that were issued for it have been ended, or the
    /// session for which it was issued, if it was the gateway's.
    Reused,
    /// The session for which the code was issued has ended.
    SessionEnded,
    /// The code was issued to another client, for another redirect URI, verifier or key.
    Mismatch,
    /// The proof of the client's key was used before.
    ProofReused,
}

/// Returns the S256 challenge of `verifier` (RFC 7636, section 4.2).
pub fn challenge(verifier: &str) -> String {
    base64url_encode(sha256(verifier))
}

/// Issues a code for `session`, for a validated request.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn issue(
    tx: &mut Tx<'_>,
    request: &AuthorizationRequest,
    session: &Session,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<RandomToken> {
    let code = RandomToken::random(entropy);
    let row = AuthorizationCode {
        hash: code.hash(),
        client_id: request.client_id.clone(),
        redirect_uri: request.redirect_uri.clone(),
        code_challenge: request.code_challenge.clone(),
        scope: request.scope.clone(),
        nonce: request.nonce.clone(),
        key: request.dpop_jkt.clone(),
        family_id: String::new(),
        session_id: session.id.clone(),
        expires_at: now.plus(CODE_LIFETIME),
        used_at: None,
    };
    tx.add_code(&row).await?;
    Ok(code)
}

/// Redeems a code. Returns the session for which it was issued. `verifier` is empty if the client
/// sent none.
///
/// # Errors
/// The outer error is the database's; the inner error is the reason why the code is rejected. A
/// request whose parameters do not match changes nothing.
pub async fn redeem(
    tx: &mut Tx<'_>,
    code: &RandomToken,
    grant: Grant<'_>,
    verifier: &str,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<std::result::Result<RedeemedCode, CodeError>> {
    let Some(row) = tx.code(&code.hash()).await? else { return Ok(Err(CodeError::Unknown)) };
    // The parameters are compared first. A code is part of URLs, which others may have read: they
    // must not be able to end the session, or to use the code before the client does.
    let same = row.client_id == grant.client_id
        && row.redirect_uri == grant.redirect_uri
        && is_verified(&row.code_challenge, verifier)
        && is_proven(&row.key, grant.proof);
    if !same {
        return Ok(Err(CodeError::Mismatch));
    }
    if let Some(proof) = grant.proof
        && !tx.use_once(ReplayKey::Proof, &base64url_encode(proof.id), proof.expires_at).await?
    {
        return Ok(Err(CodeError::ProofReused));
    }
    match row.used_at {
        None if row.expires_at <= now => return Ok(Err(CodeError::Unknown)),
        None => {
            if !tx.use_code(&row.hash, now).await? {
                return Ok(Err(CodeError::Duplicate));
            }
        }
        Some(_) if !row.family_id.is_empty() => {
            tx.end_refresh_family_of_id(&row.family_id, now, entropy).await?;
            return Ok(Err(CodeError::Reused));
        }
        Some(used_at) if now.since(used_at) < DUPLICATE_WINDOW => return Ok(Err(CodeError::Duplicate)),
        Some(_) => {
            // RFC 6749, section 4.1.2: "If an authorization code is used more than once, the
            // authorization server MUST deny the request and SHOULD revoke (when possible) all
            // tokens previously issued based on that authorization code."
            tx.end_session(&row.session_id, entropy).await?;
            return Ok(Err(CodeError::Reused));
        }
    }
    let AuthorizationCode { session_id, scope, nonce, .. } = row;
    let session = tx.session(&session_id).await?;
    Ok(session.map(|session| RedeemedCode { session, scope, nonce }).ok_or(CodeError::SessionEnded))
}

/// Returns whether the proof is of the key to which a code is bound (RFC 9449, section 10).
fn is_proven(key: &str, proof: Option<&Proof>) -> bool {
    key.is_empty() || proof.is_some_and(|proof| proof.thumbprint == key)
}

/// Returns whether `verifier` belongs to the challenge. Without a challenge there must be none:
/// RFC 9700, section 2.1.1, "the authorization server [...] MUST ensure that the token request
/// containing a code_verifier parameter is accepted only if a code_challenge parameter was present
/// in the authorization request".
fn is_verified(code_challenge: &str, verifier: &str) -> bool {
    if code_challenge.is_empty() || verifier.is_empty() {
        return code_challenge.is_empty() && verifier.is_empty();
    }
    let computed = challenge(verifier);
    aws_lc_rs::constant_time::verify_slices_are_equal(code_challenge.as_bytes(), computed.as_bytes()).is_ok()
}
