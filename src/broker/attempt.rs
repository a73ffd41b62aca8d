//! What a browser carries between two steps of a login: sealed, in a cookie of its own, for ten
//! minutes. The server keeps nothing, so that anonymous visitors write nothing, and parallel tabs
//! have an attempt each.

use crate::base::{
    Clock, Duration, Entropy, KeyRing, Purpose, Timestamp, base64url_decode, base64url_encode, sha256,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// How long an attempt may take.
pub const ATTEMPT_LIFETIME: Duration = Duration::from_secs(600);
/// How long a browser keeps the cookie of an attempt. Once the attempt has expired it only shows
/// where the person wanted to go.
pub const COOKIE_LIFETIME: Duration = Duration::from_secs(86400);
/// How many bytes of an id name the host that the person wanted to reach.
const HOST_TAG_BYTES: usize = 3;

/// Seals and opens attempts.
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
    /// Attempts sealed under `ring`.
    pub fn new(ring: Arc<KeyRing>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { ring, clock, entropy }
    }

    /// A new id: 48 bits of time, so that a browser's oldest attempt can be found, 144 random bits,
    /// since it serves as the `state` too, and a tag of the host that the person wants to reach. 36
    /// base64url characters.
    pub fn new_id(&self, host: &str) -> String {
        let mut id = [0; 24 + HOST_TAG_BYTES];
        id[..6].copy_from_slice(&self.clock.now().millis().to_be_bytes()[2..]);
        self.entropy.fill(&mut id[6..24]);
        id[24..].copy_from_slice(&tag(host));
        base64url_encode(id)
    }

    /// Returns whether the attempt of this id was begun for `host`. The tag is short and not
    /// authenticated: it chooses among the hosts of the configuration, and proves nothing.
    pub fn is_for(id: &str, host: &str) -> bool {
        base64url_decode(id).is_some_and(|id| id.get(24..) == Some(&tag(host)[..]))
    }

    /// When the attempt of this id was begun; `None` where it is no id.
    pub fn started_at(id: &str) -> Option<Timestamp> {
        // An earlier version made ids without a tag.
        let id = base64url_decode(id).filter(|id| matches!(id.len(), 24 | 27))?;
        let mut millis = [0; 8];
        millis[2..].copy_from_slice(&id[..6]);
        Some(Timestamp::from_millis(i64::from_be_bytes(millis)))
    }

    /// Seals `content` for `place` under `id`.
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

    /// Opens what was sealed for the same place and id, unless it is over.
    pub fn open<T: DeserializeOwned>(&self, place: &str, id: &str, sealed: &str) -> Option<T> {
        let envelope = self.envelope(place, id, sealed)?;
        (self.clock.now().millis() < envelope.expires_at).then_some(envelope.content)
    }

    /// Opens what was sealed for the same place and id, whatever its age. An expired attempt signs
    /// nobody in: it is good for the way back to where the person wanted to go, and for nothing
    /// else.
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

/// The attempts whose responses are being processed on this node.
#[derive(Debug, Default)]
pub(super) struct Deliveries(Mutex<HashSet<String>>);

/// One response that is being processed.
#[derive(Debug)]
pub(super) struct Delivery<'d> {
    all: &'d Deliveries,
    id: String,
}

impl Deliveries {
    /// Registers the response to the attempt `id`; `None` while another delivery of it is being
    /// processed.
    pub(super) fn try_begin(&self, id: &str) -> Option<Delivery<'_>> {
        let first = self.lock().insert(id.to_owned());
        first.then(|| Delivery { all: self, id: id.to_owned() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        // The set is whole after every statement.
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
