//! The tokens of devices without a browser (RFC 8628).

use super::{Granted, IssuedTokens, TokenService, begin_family, check_proof, refresh_key};
use crate::base::{Duration, RandomToken, base64url_encode};
use crate::directory::Sender;
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::model::DeviceState;
use crate::store::{CheckedWork, ReplayKey};
use crate::token::Proof;

/// RFC 8628, section 3.5: after `slow_down` "the interval MUST be increased by 5 seconds for this
/// and all subsequent requests".
const SLOW_DOWN: Duration = Duration::from_secs(5);

/// A device code that a device redeems.
#[derive(Clone, Copy, Debug)]
pub struct DeviceRedemption<'a> {
    /// The device code.
    pub code: &'a RandomToken,
    /// The proof of the client's key, to which the access token is bound.
    pub proof: Option<&'a Proof>,
    /// Whether the client is public, so that its refresh tokens are bound to its key, too.
    pub is_public: bool,
}

/// The reason why a device gets no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// There is no such code, it is another client's, or its tokens were issued.
    Unknown,
    /// The code has expired.
    Expired,
    /// The user has not decided.
    Waiting,
    /// The device asks too often.
    TooFast,
    /// The user has denied it, or has signed out since.
    Denied,
}

impl TokenService {
    /// Issues the tokens of a device code (RFC 8628, section 3.4).
    ///
    /// # Errors
    /// The inner error is the reason why there are none. The outer one is of the user, who was
    /// disabled, or of the database.
    pub async fn redeem_device_code(
        &self,
        sender: Sender<'_>,
        issuer: &str,
        redemption: DeviceRedemption<'_>,
    ) -> Outcome<Result<IssuedTokens, DeviceError>> {
        let DeviceRedemption { code, proof, is_public } = redemption;
        check_proof(sender.client, proof.is_some())?;
        let hash = &code.hash();
        // Any client can send an invented code. A read rejects it, so that it does not block
        // writers.
        if !self.store.device_request_exists(hash).await? {
            return Ok(Err(DeviceError::Unknown));
        }
        let keys = self.signing_keys(sender.pool).await?;
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        let refresh_tokens = self.refresh_tokens(&sender);
        let redeemed = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                let Some(request) = tx.device_request(hash).await? else {
                    return Ok(Err(DeviceError::Unknown));
                };
                if request.client_id != sender.client.id || request.state == DeviceState::Used {
                    return Ok(Err(DeviceError::Unknown));
                }
                if request.expires_at <= now {
                    return Ok(Err(DeviceError::Expired));
                }
                if now.since(request.polled_at) < request.poll_interval {
                    let interval = request.poll_interval + SLOW_DOWN;
                    tx.record_device_poll(hash, interval, now).await?;
                    return Ok(Err(DeviceError::TooFast));
                }
                match request.state {
                    DeviceState::Waiting => {
                        tx.record_device_poll(hash, request.poll_interval, now).await?;
                        return Ok(Err(DeviceError::Waiting));
                    }
                    DeviceState::Allowed => {}
                    DeviceState::Denied | DeviceState::Used => return Ok(Err(DeviceError::Denied)),
                }
                if !tx.use_device_request(hash).await? {
                    return Ok(Err(DeviceError::Unknown));
                }
                let session = tx.session(&request.session_id).await?;
                let Some(session) = session.filter(|session| session.pool_id == sender.pool.id) else {
                    return Ok(Err(DeviceError::Denied));
                };
                if let Some(proof) = proof
                    && !tx.use_once(ReplayKey::Proof, &base64url_encode(proof.id), proof.expires_at).await?
                {
                    return Err(ErrorKind::ProofRefused.into());
                }
                let key = refresh_key(proof, is_public);
                let granted = Granted { session: &session, scope: &request.scope, key, needs_consent: true };
                Ok(Ok(begin_family(tx, refresh_tokens, sender.pool, granted, (now, entropy)).await?))
            })
        });
        match redeemed.await? {
            Ok(begun) => Ok(Ok(self.first_tokens(&keys, sender, (issuer, None, proof), begun, now).await?)),
            Err(error) => Ok(Err(error)),
        }
    }
}
