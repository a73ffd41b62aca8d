//! New software tokens that wait for their first code. The secret is encrypted into what the client
//! returns: a session, or a field of a form. So nobody else confirms it, sees it, or replaces it.

use super::totp;
use crate::base::{
    Duration, Entropy, KeyRing, Purpose, Secret, Timestamp, base64url_decode, base64url_encode, uuid,
};
use crate::model::{Pool, User};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// How long a form waits for the first code.
const LIFETIME: Duration = Duration::from_mins(15);

/// The secret of a new software token, as a client sees it.
pub struct NewToken {
    /// In base32.
    pub secret: Secret,
    /// The address for the QR code.
    pub uri: Secret,
}

impl NewToken {
    pub(in crate::directory) fn new(pool: &Pool, user: &User, secret: &[u8]) -> Self {
        let secret = totp::base32(secret);
        let uri = totp::uri(&secret, &pool.settings.name, user.email().unwrap_or(&user.username));
        Self { secret, uri }
    }
}

/// A new software token of a form on the page about the own account.
#[derive(Serialize, Deserialize)]
pub struct TokenDraft {
    /// Identifies the draft, which is confirmed once.
    pub(super) id: String,
    user_no: i64,
    secret: Vec<u8>,
    expires_at: i64,
}

impl Drop for TokenDraft {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.secret);
    }
}

impl TokenDraft {
    pub(super) fn new(user: &User, now: Timestamp, entropy: &dyn Entropy) -> Self {
        let secret = totp::new_secret(entropy).to_vec();
        Self { id: uuid(entropy), user_no: user.no, secret, expires_at: now.plus(LIFETIME).millis() }
    }

    pub(super) fn secret(&self) -> &[u8] {
        &self.secret
    }

    pub(super) fn expires_at(&self) -> Timestamp {
        Timestamp::from_millis(self.expires_at)
    }

    /// Encrypts the draft for a session of the user.
    pub(super) fn seal(&self, ring: &KeyRing, session: &str, entropy: &dyn Entropy) -> String {
        let plain = Zeroizing::new(serde_json::to_vec(self).expect("invariant: texts and numbers"));
        base64url_encode(ring.seal(Purpose::LoginAttempt, &context(session), &plain, entropy))
    }

    /// Decrypts a draft. Returns `None` for any other text, for a draft of another session or user,
    /// and for one that has expired.
    pub(super) fn open(
        ring: &KeyRing,
        session: &str,
        user: &User,
        sealed: &str,
        now: Timestamp,
    ) -> Option<Self> {
        let sealed = base64url_decode(sealed)?;
        let plain = ring.open(Purpose::LoginAttempt, &context(session), &sealed).ok()?;
        let draft: Self = serde_json::from_slice(&plain).ok()?;
        (draft.user_no == user.no && now < draft.expires_at()).then_some(draft)
    }
}

fn context(session: &str) -> String {
    format!("new software token {session}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{MasterKey, SystemEntropy};

    #[test]
    fn a_draft_is_of_one_session_and_user_for_a_quarter_of_an_hour() {
        let ring = KeyRing::new(&MasterKey::random(&SystemEntropy));
        let (now, user) = (Timestamp::from_seconds(1_800_000_000), User { no: 7, ..User::default() });
        let draft = TokenDraft::new(&user, now, &SystemEntropy);
        let sealed = draft.seal(&ring, "session", &SystemEntropy);
        let open = |session, user: &User, at| TokenDraft::open(&ring, session, user, &sealed, at);
        assert_eq!(open("session", &user, now).unwrap().secret(), draft.secret());
        assert!(open("other", &user, now).is_none());
        assert!(open("session", &User { no: 8, ..User::default() }, now).is_none());
        assert!(open("session", &user, now.plus(LIFETIME)).is_none());
        assert!(TokenDraft::open(&ring, "session", &user, "", now).is_none());
    }
}
