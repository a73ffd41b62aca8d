//! The server's second step: verification of the client's signature.

use super::{Realm, SessionKey, SrpError, timestamp};
use crate::base::Timestamp;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const SIGNATURE_LENGTH: usize = 32;
/// The Base64 characters of a signature.
const SIGNATURE_CHARS: usize = 44;

/// The client's answer to a challenge.
#[derive(Clone, Copy)]
pub struct Claim<'a> {
    /// The realm of the verifier.
    pub realm: Realm<'a>,
    /// The `USER_ID_FOR_SRP` of the challenge, or the key of the device; never the client's text.
    pub user_id: &'a str,
    /// The bytes of `PASSWORD_CLAIM_SECRET_BLOCK`, decoded from Base64, still sealed.
    pub secret_block: &'a [u8],
    /// `TIMESTAMP`.
    pub timestamp: &'a str,
    /// `PASSWORD_CLAIM_SIGNATURE`, Base64.
    pub signature: &'a str,
}

impl Claim<'_> {
    /// Verifies that the client had the password: that its key is `key`, which the caller has
    /// opened from this very secret block. The time of the comparison does not depend on the key.
    ///
    /// # Errors
    /// Returns the reason, for logs.
    pub fn verify(&self, key: &SessionKey, now: Timestamp) -> Result<(), SrpError> {
        timestamp::check(self.timestamp, now)?;
        let signature = self.decode_signature()?;
        let key_of_mac = hmac::Key::new(hmac::HMAC_SHA256, &key.key[..]);
        // The protocol has no separators. The realm and the user id are therefore the server's own.
        let message = [
            self.realm.as_str().as_bytes(),
            self.user_id.as_bytes(),
            self.secret_block,
            self.timestamp.as_bytes(),
        ]
        .concat();
        let verified = hmac::verify(&key_of_mac, &message, &signature);
        if key.is_simulated() {
            return Err(SrpError::Simulated);
        }
        verified.map_err(|_| SrpError::WrongSignature)
    }

    fn decode_signature(&self) -> Result<[u8; SIGNATURE_LENGTH], SrpError> {
        if self.signature.len() != SIGNATURE_CHARS {
            return Err(SrpError::MalformedSignature);
        }
        let bytes = STANDARD.decode(self.signature).map_err(|_| SrpError::MalformedSignature)?;
        bytes.try_into().map_err(|_| SrpError::MalformedSignature)
    }
}
