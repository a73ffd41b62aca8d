//! Which access tokens of the user pool were revoked (RFC 7009), as far as this node has heard.

use crate::base::{Clock, Duration, MonotonicTime, sha256};
use crate::store::{Change, MAX_STALENESS, Result, Store};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Mutex;

/// How often all of them are read again, whatever the feed says.
const FULL_READ_INTERVAL: Duration = Duration::from_secs(300);

/// Revoked tokens.
///
/// A token stays revoked until the store has purged it: no clock of this node decides about that,
/// since a token that it takes for expired is good again once the clock is set back.
pub struct Revocations {
    store: Store,
    clock: Arc<dyn Clock>,
    /// The digests of the `jti`.
    revoked: RwLock<HashSet<u128>>,
    /// How many these are. Most deployments have none: then a token is judged without looking for
    /// it.
    count: AtomicUsize,
    /// A reading of the monotonic clock.
    synced_at: AtomicI64,
    /// The same. Held while changes are taken over, so that none comes between reading all and
    /// replacing them.
    read_at: Mutex<MonotonicTime>,
    /// Whether a change was missed, so that all of them must be read again.
    missed: AtomicBool,
}

/// Why it is not known to be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationError {
    /// It was revoked.
    Revoked,
    /// The store was silent for so long that it may have been.
    Unknown,
}

impl Revocations {
    /// Reads what was revoked before.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn open(store: Store, clock: Arc<dyn Clock>) -> Result<Self> {
        let now = clock.monotonic();
        let revocations = Self {
            store,
            clock,
            revoked: RwLock::default(),
            count: AtomicUsize::new(0),
            synced_at: AtomicI64::new(now.millis()),
            read_at: Mutex::new(now),
            missed: AtomicBool::new(true),
        };
        revocations.apply_changes(&[], now).await?;
        Ok(revocations)
    }

    /// Whether the token with this `jti` is still valid.
    ///
    /// # Errors
    /// Why that is not known, or not so.
    pub fn check(&self, jti: &str, now: MonotonicTime) -> std::result::Result<(), RevocationError> {
        // What this lock guards is whole after every statement.
        let known = || self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        if self.count.load(Ordering::Acquire) > 0 && known().contains(&key(jti)) {
            return Err(RevocationError::Revoked);
        }
        match now.since(MonotonicTime::from_millis(self.synced_at.load(Ordering::Acquire))) > MAX_STALENESS {
            true => Err(RevocationError::Unknown),
            false => Ok(()),
        }
    }

    /// Has all of them read again when changes are next taken over.
    pub fn distrust_cache(&self) {
        self.missed.store(true, Ordering::Release);
    }

    /// Takes over what `changes` speak of; `at` is the moment before which everything has been
    /// heard of then.
    ///
    /// # Errors
    /// Where the store is needed and does not answer: then nothing is marked as read, now or the
    /// next time, until it does.
    pub async fn apply_changes(&self, changes: &[Change], at: MonotonicTime) -> Result<()> {
        let mut read_at = self.read_at.lock().await;
        let now = self.clock.monotonic();
        if changes.contains(&Change::Everything) || changes.contains(&Change::Tokens) {
            self.distrust_cache();
        }
        let of_token = |change: &Change| match change {
            Change::Token(jti, _) => Some(key(jti)),
            _ => None,
        };
        let revoked: Vec<u128> = changes.iter().filter_map(of_token).collect();
        if !revoked.is_empty() {
            self.write(|known| known.extend(revoked));
        }
        let missed = self.missed.swap(false, Ordering::AcqRel);
        if missed || now.since(*read_at) >= FULL_READ_INTERVAL {
            let all = self.store.revoked_tokens().await;
            // Whatever was heard before was committed before, and is among them.
            let all = all.inspect_err(|_| self.distrust_cache())?;
            self.write(|known| *known = all.iter().map(|(jti, _)| key(jti)).collect());
            *read_at = now;
        }
        self.synced_at.fetch_max(at.millis(), Ordering::AcqRel);
        Ok(())
    }

    fn write(&self, change: impl FnOnce(&mut HashSet<u128>)) {
        let mut known = self.revoked.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut known);
        self.count.store(known.len(), Ordering::Release);
    }
}

/// Of a fixed length, however long the `jti` is: mass revocation takes little room.
fn key(jti: &str) -> u128 {
    let [high @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = sha256(jti);
    u128::from_be_bytes(high)
}
