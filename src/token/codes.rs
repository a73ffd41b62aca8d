//! Authorization codes (RFC 6749, section 4.1) with PKCE (RFC 7636).

use crate::base::{Duration, Entropy, RandomToken, Timestamp, base64url_encode, sha256};
use crate::model::{AuthorizationCode, Session};
use crate::store::{Result, Tx};

/// RFC 6749, section 4.1.2: "a maximum authorization code lifetime of 10 minutes is RECOMMENDED".
/// Ours is redeemed by the very next request.
const CODE_LIFETIME: Duration = Duration::from_secs(120);
/// A browser that delivers one response twice does so within this time.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(15);

/// What a code is asked for with, and must be redeemed with.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// The app client.
    pub client_id: &'a str,
    /// Where the code is sent.
    pub redirect_uri: &'a str,
}

/// Why a code was not redeemed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeError {
    /// There is no such code, or it is over.
    Unknown,
    /// The same client redeemed it a moment ago: one response was delivered twice.
    Duplicate,
    /// It was redeemed before; the session that it was issued for was ended.
    Reused,
    /// The session that it was issued for has ended.
    SessionEnded,
    /// It was issued to another client, for another redirect URI, or for another verifier.
    Mismatch,
}

/// The S256 challenge of `verifier` (RFC 7636, section 4.2).
pub fn challenge(verifier: &str) -> String {
    base64url_encode(sha256(verifier))
}

/// Issues a code for `session`.
///
/// # Errors
/// Where the store does not answer.
pub async fn issue(
    tx: &mut Tx<'_>,
    grant: Grant<'_>,
    code_challenge: &str,
    session: &Session,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<RandomToken> {
    let code = RandomToken::random(entropy);
    let row = AuthorizationCode {
        hash: code.hash(),
        client_id: grant.client_id.to_owned(),
        redirect_uri: grant.redirect_uri.to_owned(),
        code_challenge: code_challenge.to_owned(),
        session_id: session.id.clone(),
        expires_at: now.plus(CODE_LIFETIME),
        used_at: None,
    };
    tx.add_code(&row).await?;
    Ok(code)
}

/// Redeems a code; answers the session that it was issued for, if that still stands.
///
/// # Errors
/// The outer one where the store does not answer; the inner one where the code is refused. A
/// request that is not the client's own changes nothing.
pub async fn redeem(
    tx: &mut Tx<'_>,
    code: &RandomToken,
    grant: Grant<'_>,
    verifier: &str,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<std::result::Result<Session, CodeError>> {
    let Some(row) = tx.code(&code.hash()).await? else { return Ok(Err(CodeError::Unknown)) };
    // Compared before anything else: a code travels in addresses, where others may have read it,
    // and must not let them end the session, nor use up a code that the client has yet to redeem.
    let same = row.client_id == grant.client_id
        && row.redirect_uri == grant.redirect_uri
        && aws_lc_rs::constant_time::verify_slices_are_equal(
            row.code_challenge.as_bytes(),
            challenge(verifier).as_bytes(),
        )
        .is_ok();
    if !same {
        return Ok(Err(CodeError::Mismatch));
    }
    match row.used_at {
        None if row.expires_at <= now => return Ok(Err(CodeError::Unknown)),
        None => tx.use_code(&row.hash, now).await?,
        Some(used_at) if now.since(used_at) < DUPLICATE_WINDOW => return Ok(Err(CodeError::Duplicate)),
        Some(_) => {
            // RFC 6749, section 4.1.2: "If an authorization code is used more than once, the
            // authorization server MUST deny the request and SHOULD revoke (when possible) all
            // tokens previously issued based on that authorization code."
            tx.end_session(&row.session_id, entropy).await?;
            return Ok(Err(CodeError::Reused));
        }
    }
    Ok(tx.session(&row.session_id).await?.ok_or(CodeError::SessionEnded))
}
