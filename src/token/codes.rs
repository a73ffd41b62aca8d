//! Authorization codes (RFC 6749, section 4.1) with PKCE (RFC 7636).

use crate::base::{Duration, Entropy, Timestamp, Token, b64, sha256};
use crate::model::{AuthorizationCode, Session};
use crate::store::{Redemption, Result, Tx};

/// RFC 6749, section 4.1.2: "a maximum authorization code lifetime of 10 minutes is RECOMMENDED".
/// Ours is redeemed by the very next request.
const LIFETIME: Duration = Duration::from_secs(120);

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
    /// It was used before; the session that it was issued for was ended.
    Reused,
    /// It was issued to another client, for another redirect URI, or for another verifier.
    Mismatch,
}

/// The S256 challenge of `verifier` (RFC 7636, section 4.2).
pub fn challenge(verifier: &str) -> String {
    b64(sha256(verifier))
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
) -> Result<Token> {
    let code = Token::random(entropy);
    let row = AuthorizationCode {
        hash: code.hash(),
        client_id: grant.client_id.to_owned(),
        redirect_uri: grant.redirect_uri.to_owned(),
        code_challenge: code_challenge.to_owned(),
        session_id: session.id.clone(),
        expires_at: now.plus(LIFETIME),
    };
    tx.add_code(&row).await?;
    Ok(code)
}

/// Redeems a code; answers the session that it was issued for, if that still stands.
///
/// # Errors
/// The outer one where the store does not answer; the inner one where the code is refused. The
/// code is used up either way.
pub async fn redeem(
    tx: &mut Tx<'_>,
    code: &Token,
    grant: Grant<'_>,
    verifier: &str,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<std::result::Result<Session, CodeError>> {
    let row = match tx.redeem_code(&code.hash(), now).await? {
        Redemption::Redeemed(row) => row,
        Redemption::Unknown => return Ok(Err(CodeError::Unknown)),
        Redemption::Reused(row) => {
            // RFC 6749, section 4.1.2: "If an authorization code is used more than once, the
            // authorization server MUST deny the request and SHOULD revoke (when possible) all
            // tokens previously issued based on that authorization code."
            tx.end_session(&row.session_id, now, entropy).await?;
            return Ok(Err(CodeError::Reused));
        }
    };
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
    Ok(tx.session(&row.session_id).await?.ok_or(CodeError::Unknown))
}
