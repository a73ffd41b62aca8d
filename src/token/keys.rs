//! Rotation of signing keys. A key is pending (published, not yet used), current, retired (no
//! longer used, still published), and then deleted. Its state depends only on its age, so that
//! nodes agree without communication.

use crate::base::{Clock, Duration, Entropy, Timestamp, uuid};
use crate::jose::{Algorithm, JwkSet, KeyError, SigningKey};
use crate::store::{Store, StoreError, StoredKey};
use arc_swap::ArcSwap;
use std::sync::Arc;
use thiserror::Error;

/// How long verifiers may cache the key set.
pub const KEY_SET_CACHE: Duration = Duration::from_secs(15 * 60);
/// How long a key is published before it signs: longer than key sets are cached.
const PENDING_PERIOD: Duration = Duration::from_secs(24 * 3600);
/// How long after the creation of a key the next one is created.
const ROTATION_PERIOD: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long a key stays published after its last signature. This is longer than the lifetime of
/// everything it signs, which is at most a day, counted from the last node's last read of the keys.
const RETIRED_PERIOD: Duration = Duration::from_secs(26 * 3600);

/// An error of opening or rotating keys.
#[derive(Debug, Error)]
pub enum KeyChainError {
    /// An operation of the store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key could not be generated or parsed.
    #[error(transparent)]
    Key(KeyError),
    /// A key is missing that was just stored, or the algorithm is not supported.
    #[error("the store lost a signing key")]
    Absent,
}

/// The current keys of one purpose.
pub struct KeySet {
    /// The key that signs.
    pub signing: Arc<SigningKey>,
    /// All published keys, the newest first.
    pub published: Vec<Arc<SigningKey>>,
    /// The public keys as a JWK Set (RFC 7517, section 5).
    pub jwk_set: String,
    /// The public keys, parsed for verification.
    pub verifying: JwkSet,
}

impl KeySet {
    /// Returns the JOSE names of the algorithms of the published keys.
    pub fn algorithms(&self) -> Vec<String> {
        self.published.iter().map(|key| key.algorithm().name().to_owned()).collect()
    }
}

/// The signing keys of one purpose.
pub struct KeyChain {
    purpose: String,
    algorithm: Algorithm,
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    current: ArcSwap<KeySet>,
}

impl KeyChain {
    /// Reads the keys of `purpose`. Creates the first one if there is none. For `removes`, see
    /// [`KeyChain::rotate`].
    ///
    /// # Errors
    /// Returns an error if the database fails, or a key cannot be read.
    pub async fn open(
        purpose: &str,
        algorithm: Algorithm,
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        removes: bool,
    ) -> Result<Self, KeyChainError> {
        let set = rotate(purpose, algorithm, &store, clock.now(), &*entropy, removes).await?;
        let purpose = purpose.to_owned();
        Ok(Self { purpose, algorithm, store, clock, entropy, current: ArcSwap::from_pointee(set) })
    }

    /// Returns the current keys.
    pub fn current(&self) -> Arc<KeySet> {
        self.current.load_full()
    }

    /// Rotates the keys: creates, activates and retires those that are due. Deletes retired keys if
    /// `removes` is true, which must be false after a jump of the clock.
    ///
    /// # Errors
    /// Returns an error if the database fails or a key cannot be read; the keys do not change.
    pub async fn rotate(&self, removes: bool) -> Result<(), KeyChainError> {
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        let set = rotate(&self.purpose, self.algorithm, &self.store, now, entropy, removes).await?;
        self.current.store(Arc::new(set));
        Ok(())
    }
}

async fn rotate(
    purpose: &str,
    algorithm: Algorithm,
    store: &Store,
    now: Timestamp,
    entropy: &dyn Entropy,
    removes: bool,
) -> Result<KeySet, KeyChainError> {
    let mut keys = store.signing_keys(purpose).await?;
    let newest = keys.last();
    let is_due = |key: &StoredKey| {
        // Another algorithm applies from the next key on, and to one key at a time. Otherwise nodes
        // with different configurations would create one key after another.
        let signs = signing_index(&keys, now) + 1 == keys.len();
        // A key with a creation time in the future was created by a node whose clock was ahead. It
        // would delay the next key until that time.
        let is_implausible = key.created_at > now.plus(PENDING_PERIOD);
        now >= key.created_at.plus(ROTATION_PERIOD)
            || is_implausible
            || (signs && key.algorithm != algorithm.name())
    };
    if newest.is_none_or(is_due) {
        let key = StoredKey {
            purpose: purpose.to_owned(),
            generation: newest.map_or(1, |key| key.generation + 1),
            kid: uuid(entropy),
            algorithm: algorithm.name().to_owned(),
            private_key: SigningKey::generate(algorithm).map_err(KeyChainError::Key)?,
            created_at: now,
        };
        store.add_signing_key(&key, entropy).await?;
        keys = store.signing_keys(purpose).await?;
    }

    let signing = signing_index(&keys, now);
    let oldest = oldest_published(&keys, signing, now);
    if oldest > 0 && removes {
        let generation = keys[oldest].generation;
        store
            .transaction(|tx| {
                let purpose = purpose.to_owned();
                Box::pin(async move { tx.remove_signing_keys_before(&purpose, generation).await })
            })
            .await?;
    }
    let read = |key: &StoredKey| {
        let algorithm = Algorithm::from_name(&key.algorithm).unwrap_or(algorithm);
        SigningKey::read(&key.kid, algorithm, &key.private_key).map(Arc::new).map_err(KeyChainError::Key)
    };
    let mut published = keys.iter().skip(oldest).map(read).collect::<Result<Vec<_>, _>>()?;
    let signing = published.get(signing - oldest).cloned().ok_or(KeyChainError::Absent)?;
    published.reverse();
    let jwks: Vec<_> = published.iter().map(|key| key.jwk()).collect();
    let jwk_set = serde_json::json!({ "keys": jwks }).to_string();
    let verifying = JwkSet::read(jwk_set.as_bytes()).map_err(|_| KeyChainError::Absent)?;
    Ok(KeySet { signing, published, jwk_set, verifying })
}

/// Returns the index of the newest key whose pending period is over; 0 if there is none.
fn signing_index(keys: &[StoredKey], now: Timestamp) -> usize {
    keys.iter().rposition(|key| now >= key.created_at.plus(PENDING_PERIOD)).unwrap_or(0)
}

/// Returns the index of the oldest published key. A key retires when its successor begins to sign,
/// and is deleted after the retired period.
fn oldest_published(keys: &[StoredKey], signing: usize, now: Timestamp) -> usize {
    (0..signing)
        .find(|at| now < keys[at + 1].created_at.plus(PENDING_PERIOD).plus(RETIRED_PERIOD))
        .unwrap_or(signing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(ages_in_hours: &[u64], now: Timestamp) -> Vec<StoredKey> {
        let key = |(i, hours): (usize, &u64)| StoredKey {
            purpose: "test".into(),
            generation: i as i64 + 1,
            kid: i.to_string(),
            algorithm: "ES256".into(),
            private_key: Vec::new().into(),
            created_at: now.minus(Duration::from_secs(hours * 3600)),
        };
        ages_in_hours.iter().enumerate().map(key).collect()
    }

    #[test]
    fn a_key_signs_only_after_it_was_published_for_a_day_unless_it_is_the_first() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let signing = |ages: &[u64]| signing_index(&keys(ages, now), now);
        assert_eq!(signing(&[0]), 0);
        assert_eq!(signing(&[720, 0]), 0);
        assert_eq!(signing(&[743, 23]), 0);
        assert_eq!(signing(&[744, 24]), 1);
    }

    #[test]
    fn a_retired_key_stays_published_for_longer_than_a_day() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let oldest = |ages: &[u64]| {
            let keys = keys(ages, now);
            oldest_published(&keys, signing_index(&keys, now), now)
        };
        assert_eq!(oldest(&[0]), 0);
        assert_eq!(oldest(&[744, 24]), 0);
        assert_eq!(oldest(&[769, 49]), 0);
        assert_eq!(oldest(&[770, 50]), 1);
    }
}
