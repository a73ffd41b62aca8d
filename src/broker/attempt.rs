//! Login attempts: the state of a login between two requests, sealed in a separate cookie for ten
//! minutes. The server stores nothing, so anonymous visitors cause no writes. Parallel tabs have
//! separate attempts.

use crate::base::{
    Clock, Duration, Entropy, KeyRing, Purpose, Timestamp, base64url_decode, base64url_encode, sha256,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum duration of a login attempt.
pub const ATTEMPT_LIFETIME: Duration = Duration::from_secs(600);
/// Lifetime of an attempt's cookie. After the attempt has expired, the cookie only contains the
/// destination of the login.
pub const COOKIE_LIFETIME: Duration = Duration::from_secs(86400);
/// Length of the destination host's tag in an id, in bytes.
const HOST_TAG_BYTES: usize = 3;

/// The factory of login attempts: creates ids, seals and opens attempts.
#[derive(Clone)]
pub struct LoginAttempts {
    ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    expires_at: i64,
    content: T,
}

impl LoginAttempts {
    /// Creates a factory of attempts that `ring` encrypts.
    pub fn new(ring: Arc<KeyRing>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { ring, clock, entropy }
    }

    /// Creates an id of 36 base64url characters: 48 bits of time, 144 random bits and a tag of
    /// `host`. The time identifies a browser's oldest attempt. The random bits are required because
    /// the id is also the `state` parameter.
    pub fn new_id(&self, host: &str) -> String {
        let mut id = [0; 24 + HOST_TAG_BYTES];
        id[..6].copy_from_slice(&self.clock.now().millis().to_be_bytes()[2..]);
        self.entropy.fill(&mut id[6..24]);
        id[24..].copy_from_slice(&tag(host));
        base64url_encode(id)
    }

    /// Returns whether the attempt of this id was started for `host`. The tag is short and not
    /// authenticated. It only selects one of the configured hosts, and proves nothing.
    pub fn is_for(id: &str, host: &str) -> bool {
        base64url_decode(id).is_some_and(|id| id.get(24..) == Some(&tag(host)[..]))
    }

    /// Returns the start time of the attempt with this id, or `None` if the id is malformed.
    pub fn started_at(id: &str) -> Option<Timestamp> {
        // Ids of an earlier version have no tag.
        let id = base64url_decode(id).filter(|id| matches!(id.len(), 24 | 27))?;
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&id[..6]);
        Some(Timestamp::from_millis(i64::from_be_bytes(millis)))
    }

    /// Seals `content` for the context `place` and this id, for [`ATTEMPT_LIFETIME`].
    pub fn seal<T: Serialize>(&self, place: &str, id: &str, content: &T) -> String {
        let envelope = Envelope { expires_at: self.clock.now().plus(ATTEMPT_LIFETIME).millis(), content };
        let plain = serde_json::to_vec(&envelope).expect("invariant: an attempt is strings and numbers");
        base64url_encode(self.ring.seal(
            Purpose::LoginAttempt,
            &format!("{place} {id}"),
            &plain,
            &*self.entropy,
        ))
    }

    /// Opens the content sealed for the same context and id, unless it has expired.
    pub fn open<T: DeserializeOwned>(&self, place: &str, id: &str, sealed: &str) -> Option<T> {
        let envelope = self.envelope(place, id, sealed)?;
        (self.clock.now().millis() < envelope.expires_at).then_some(envelope.content)
    }

    /// Opens the content sealed for the same context and id, regardless of its age. An expired
    /// attempt must not complete a login. It only serves to return to the login's destination.
    pub fn open_expired<T: DeserializeOwned>(&self, place: &str, id: &str, sealed: &str) -> Option<T> {
        self.envelope(place, id, sealed).map(|envelope| envelope.content)
    }

    fn envelope<T: DeserializeOwned>(&self, place: &str, id: &str, sealed: &str) -> Option<Envelope<T>> {
        let plain = self
            .ring
            .open(Purpose::LoginAttempt, &format!("{place} {id}"), &base64url_decode(sealed)?)
            .ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

fn tag(host: &str) -> [u8; HOST_TAG_BYTES] {
    let digest = sha256(host);
    [digest[0], digest[1], digest[2]]
}

/// The ids of attempts whose responses are being processed on this node.
#[derive(Debug, Default)]
pub(super) struct Deliveries(Mutex<HashSet<String>>);

/// A response in progress. Dropping it removes its attempt's id.
#[derive(Debug)]
pub(super) struct Delivery<'d> {
    all: &'d Deliveries,
    id: String,
}

impl Deliveries {
    /// Registers the response to the attempt `id`. Returns `None` if another delivery of it is in
    /// progress.
    pub(super) fn try_begin(&self, id: &str) -> Option<Delivery<'_>> {
        let first = self.lock().insert(id.to_owned());
        first.then(|| Delivery { all: self, id: id.to_owned() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        // The set is consistent after every statement, so a poisoned lock is usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ManualClock, MasterKey, SystemEntropy};

    #[test]
    fn an_attempt_opens_for_its_place_and_id_until_it_is_over() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_800_000_000)));
        let ring = Arc::new(KeyRing::new(&MasterKey::random(&SystemEntropy)));
        let attempts = LoginAttempts::new(ring, clock.clone(), Arc::new(SystemEntropy));
        let id = attempts.new_id("app.example.com");
        assert!(
            LoginAttempts::is_for(&id, "app.example.com") && !LoginAttempts::is_for(&id, "other.example.com")
        );
        let sealed = attempts.seal("here", &id, &"content".to_owned());
        let open = |place: &str, id: &str| attempts.open::<String>(place, id, &sealed);
        assert_eq!(open("here", &id).as_deref(), Some("content"));
        assert_eq!(open("there", &id), None);
        assert_eq!(open("here", &attempts.new_id("app.example.com")), None);
        assert_eq!(LoginAttempts::started_at(&id), Some(clock.now()));
        clock.advance(ATTEMPT_LIFETIME);
        assert_eq!(open("here", &id), None);
        let expired = |place: &str, id: &str| attempts.open_expired::<String>(place, id, &sealed);
        assert_eq!(expired("here", &id).as_deref(), Some("content"));
        assert_eq!(expired("there", &id), None);
    }
}
