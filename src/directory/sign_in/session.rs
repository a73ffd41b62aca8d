//! The state of a sign-in between two steps, encrypted into a string that the client returns.

use super::Challenge;
use crate::base::{Duration, Entropy, KeyRing, Purpose, Timestamp, base64url_decode, base64url_encode, uuid};
use crate::model::{Factor, MAX_NAME_LENGTH, Session};
use crate::trigger::ChallengeResult;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Size of the encrypted state in bytes, in steps: the length of a string must not depend on the
/// user.
const PADDING_BYTES: usize = 1024;
/// The longest `Session` of Cognito's API, in characters.
pub(super) const MAX_SESSION_LENGTH: usize = 4096;

/// Separates the client's id from the encrypted state.
const SEPARATOR: char = '.';

/// Returns the id of the client to which a `Session` string was issued, which is not verified.
pub fn client_of_session(session: &str) -> Option<&str> {
    session.split_once(SEPARATOR).map(|(client, _)| client)
}

/// The session in which a user proves a second factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepUp {
    /// The id of the session.
    pub session_id: String,
    /// The code that was the first factor of the session; `None` for a password.
    pub first_code: Option<Factor>,
    /// When the user was authenticated, in milliseconds.
    #[serde(default)]
    pub authenticated_at: i64,
}

/// The age of a session that has just begun.
const NEW_SESSION: Duration = Duration::from_secs(300);

impl StepUp {
    /// Returns whether the session has just begun.
    pub(super) fn is_new(&self, now: Timestamp) -> bool {
        now < Timestamp::from_millis(self.authenticated_at).plus(NEW_SESSION)
    }

    /// Returns the step-up of `session`.
    pub(super) fn of(session: &Session) -> Self {
        let has = |name: &str| session.amr.iter().any(|method| method == name);
        // A code in an e-mail and one of an app have the same method; an app is no first factor.
        let first_code = match (has("pwd"), has("sms")) {
            (true, _) => None,
            (false, true) => Some(Factor::Sms),
            (false, false) => has("otp").then_some(Factor::Email),
        };
        let authenticated_at = session.auth_time.unwrap_or(session.created_at).millis();
        Self { session_id: session.id.clone(), first_code, authenticated_at }
    }
}

/// A sign-in that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Identifies the challenge, so that it is answered successfully once.
    pub id: String,
    /// The name that the client sent.
    pub name: String,
    /// The number of the user; 0 if no user has the name.
    pub user_no: i64,
    /// The challenge.
    pub challenge: Challenge,
    /// Whether the sign-in began on the pool's own page. Its challenges are answered there alone: a
    /// page serves clients that may not sign users in by the API.
    #[serde(default)]
    pub on_page: bool,
    /// When the password was set that the user had when a first factor was proved, in milliseconds;
    /// 0 without one. `None` before that.
    #[serde(default)]
    pub proved_password_of: Option<i64>,
    /// The code that was the first factor; `None` for a password.
    #[serde(default)]
    pub first_code: Option<Factor>,
    /// Whether functions of the pool alone were the first factor.
    #[serde(default)]
    pub by_functions: bool,
    /// The challenges that were answered, in a sign-in with custom challenges; `None` in another
    /// one.
    #[serde(default)]
    pub history: Option<Vec<ChallengeResult>>,
    /// The session that gets the second factor; `None` in a new sign-in.
    #[serde(default)]
    pub step_up: Option<StepUp>,
    /// The network in which the challenge of a device was sent.
    #[serde(default)]
    pub network: Option<u64>,
    /// When the sign-in began, in milliseconds.
    pub begun_at: i64,
    /// When the challenge expires, in milliseconds.
    pub expires_at: i64,
}

impl Attempt {
    /// Returns the first challenge of a sign-in that begins now.
    pub fn begin(
        name: &str,
        user_no: i64,
        challenge: Challenge,
        (now, validity): (Timestamp, Duration),
        entropy: &dyn Entropy,
    ) -> Self {
        Self {
            id: uuid(entropy),
            // No user has a longer one.
            name: name.chars().take(MAX_NAME_LENGTH + 1).collect(),
            user_no,
            challenge,
            on_page: false,
            proved_password_of: None,
            first_code: None,
            by_functions: false,
            history: None,
            step_up: None,
            network: None,
            begun_at: now.millis(),
            expires_at: now.plus(validity).millis(),
        }
    }

    /// Returns the next challenge of the same sign-in.
    #[must_use]
    pub fn next(
        &self,
        challenge: Challenge,
        (now, validity): (Timestamp, Duration),
        entropy: &dyn Entropy,
    ) -> Self {
        let expires_at = now.plus(validity).millis();
        Self { id: uuid(entropy), challenge, expires_at, ..self.clone() }
    }
}

/// Why a `Session` string is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// It was not issued by this pool to this client, or it was altered.
    Invalid,
    /// It has expired.
    Expired,
}

/// Encrypts and decrypts attempts.
#[derive(Clone)]
pub struct SessionSealer {
    ring: Arc<KeyRing>,
}

impl SessionSealer {
    /// Returns the sealer of the deployment with these keys.
    pub fn new(ring: Arc<KeyRing>) -> Self {
        Self { ring }
    }

    /// Encrypts `attempt` for a client of a pool: at most 4096 characters. The client's id precedes
    /// it in plain text, because `AssociateSoftwareToken` does not name the client.
    pub fn seal(&self, pool: &str, client: &str, attempt: &Attempt, entropy: &dyn Entropy) -> String {
        let sealed = base64url_encode(self.seal_bytes(pool, client, attempt, entropy));
        format!("{client}{SEPARATOR}{sealed}")
    }

    /// As [`SessionSealer::seal`], without an encoding: the `SECRET_BLOCK` of Secure Remote
    /// Password, which clients decode.
    pub fn seal_bytes(&self, pool: &str, client: &str, attempt: &Attempt, entropy: &dyn Entropy) -> Vec<u8> {
        let mut plain = serde_json::to_vec(attempt).expect("invariant: an attempt is texts and numbers");
        // White space after the value, which the parser skips.
        plain.resize(plain.len().next_multiple_of(PADDING_BYTES), b' ');
        let context = context(pool, client);
        self.ring.seal(Purpose::LoginAttempt, &context, &plain, entropy)
    }

    /// Decrypts what [`SessionSealer::seal`] returned for the same pool and client.
    ///
    /// # Errors
    /// Returns an error for any other text, and for an attempt that has expired.
    pub fn open(
        &self,
        pool: &str,
        client: &str,
        session: &str,
        now: Timestamp,
    ) -> Result<Attempt, SessionError> {
        if session.len() > MAX_SESSION_LENGTH {
            return Err(SessionError::Invalid);
        }
        // A node of an earlier version writes no client id.
        let (id, sealed) = session.split_once(SEPARATOR).unwrap_or((client, session));
        let sealed = Some(sealed).filter(|_| id == client).and_then(base64url_decode);
        let sealed = sealed.ok_or(SessionError::Invalid)?;
        self.open_bytes(pool, client, &sealed, now)
    }

    /// Decrypts what [`SessionSealer::seal_bytes`] returned.
    ///
    /// # Errors
    /// As [`SessionSealer::open`].
    pub fn open_bytes(
        &self,
        pool: &str,
        client: &str,
        sealed: &[u8],
        now: Timestamp,
    ) -> Result<Attempt, SessionError> {
        if sealed.len() > MAX_SESSION_LENGTH {
            return Err(SessionError::Invalid);
        }
        let plain = self.ring.open(Purpose::LoginAttempt, &context(pool, client), sealed);
        let plain = plain.map_err(|_| SessionError::Invalid)?;
        let attempt: Attempt = serde_json::from_slice(&plain).map_err(|_| SessionError::Invalid)?;
        match now.millis() < attempt.expires_at {
            true => Ok(attempt),
            false => Err(SessionError::Expired),
        }
    }
}

/// Neither id has a space: no two pairs share a context.
fn context(pool: &str, client: &str) -> String {
    format!("sign-in session {pool} {client}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{MasterKey, SystemEntropy};
    use crate::directory::sign_in::ExchangeState;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
    const VALIDITY: Duration = Duration::from_secs(180);

    fn sealer() -> SessionSealer {
        SessionSealer::new(Arc::new(KeyRing::new(&MasterKey::random(&SystemEntropy))))
    }

    fn attempt(name: &str, user_no: i64, challenge: Challenge) -> Attempt {
        Attempt::begin(name, user_no, challenge, (NOW, VALIDITY), &SystemEntropy)
    }

    #[test]
    fn debug_output_has_no_secret() {
        let exchange =
            Challenge::PasswordVerifier { exchange: ExchangeState(vec![77; 18]), password_set_at: 0 };
        assert!(!format!("{:?}", attempt("alice", 7, exchange)).contains("77, 77"));
    }

    #[test]
    fn a_session_is_read_back_by_its_pool_and_client_until_it_expires() {
        let sealer = sealer();
        let first = attempt("alice", 7, Challenge::SelectChallenge);
        let session = sealer.seal("pool", "client", &first, &SystemEntropy);
        assert_eq!(sealer.open("pool", "client", &session, NOW), Ok(first.clone()));
        for (pool, client) in [("other", "client"), ("pool", "other")] {
            assert_eq!(sealer.open(pool, client, &session, NOW), Err(SessionError::Invalid));
        }
        let end = NOW.plus(VALIDITY);
        assert!(sealer.open("pool", "client", &session, end.minus(Duration::from_millis(1))).is_ok());
        assert_eq!(sealer.open("pool", "client", &session, end), Err(SessionError::Expired));
        let later = NOW.plus(Duration::from_secs(100));
        let next = first.next(
            Challenge::NewPasswordRequired { password_set_at: 1 },
            (later, VALIDITY),
            &SystemEntropy,
        );
        assert_ne!(next.id, first.id);
        assert_eq!((next.begun_at, next.user_no), (first.begun_at, 7));
        assert_eq!(next.expires_at, later.plus(VALIDITY).millis());
    }

    #[test]
    fn an_altered_session_is_refused_and_so_is_a_long_one() {
        let sealer = sealer();
        let session =
            sealer.seal("pool", "client", &attempt("alice", 7, Challenge::SelectChallenge), &SystemEntropy);
        for at in [0, session.len() / 2, session.len() - 2] {
            let mut altered = session.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert_eq!(sealer.open("pool", "client", &altered, NOW), Err(SessionError::Invalid));
        }
        let long = "A".repeat(MAX_SESSION_LENGTH + 1);
        for text in ["", "!", &session[1..], &long] {
            assert_eq!(sealer.open("pool", "client", text, NOW), Err(SessionError::Invalid));
        }
    }

    #[test]
    fn the_length_reveals_neither_the_user_nor_the_name() {
        let sealer = sealer();
        let length = |name: &str, user_no, challenge| {
            sealer.seal("pool", "client", &attempt(name, user_no, challenge), &SystemEntropy).len()
        };
        let exchange = |password_set_at| Challenge::PasswordVerifier {
            exchange: ExchangeState(vec![255; 64]),
            password_set_at,
        };
        let known = length("alice", 1 << 62, exchange(1_800_000_000_000));
        assert_eq!(known, length("alice", 0, exchange(0)));
        let longest = length(&"\u{1}".repeat(43), 1 << 62, exchange(i64::MAX));
        assert_eq!(known, longest);
        assert!((20..=MAX_SESSION_LENGTH).contains(&longest), "{longest}");
    }
}
