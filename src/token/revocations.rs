//! Revoked access tokens of the user pool (RFC 7009), as known to this node.

use crate::base::{Clock, Duration, MonotonicTime, sha256};
use crate::store::{Change, MAX_STALENESS, Result, Store};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Mutex;

/// Interval at which all revocations are read again, regardless of the change feed.
const FULL_READ_INTERVAL: Duration = Duration::from_secs(300);

/// A cache of revoked tokens.
///
/// A token stays revoked until the store has purged it. This node's clock does not decide that: an
/// expired token would be valid again once the clock is set back.
pub struct Revocations {
    store: Store,
    clock: Arc<dyn Clock>,
    /// Digests of the `jti`.
    revoked: RwLock<HashSet<u128>>,
    /// The number of revoked tokens. It is zero in most deployments, and then no look-up is needed.
    count: AtomicUsize,
    /// The monotonic time up to which changes were applied, in milliseconds.
    synced_at: AtomicI64,
    /// The monotonic time of the last full read. The lock is held while changes are applied, so
    /// that none is lost between a full read and the replacement of the cache.
    read_at: Mutex<MonotonicTime>,
    /// Whether a change may have been missed, so that all revocations must be read again.
    missed: AtomicBool,
}

/// The reason why a token is not known to be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationError {
    /// The token was revoked.
    Revoked,
    /// The last contact with the store is so long ago that the token may have been revoked.
    Unknown,
}

impl Revocations {
    /// Reads the revocations.
    ///
    /// # Errors
    /// Returns an error if the database fails.
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

    /// Checks that the token with this `jti` was not revoked.
    ///
    /// # Errors
    /// Returns whether the token was revoked or this is unknown.
    pub fn check(&self, jti: &str, now: MonotonicTime) -> std::result::Result<(), RevocationError> {
        // The data behind this lock is consistent after every statement, so poisoning can be
        // ignored.
        let known = || self.revoked.read().unwrap_or_else(PoisonError::into_inner);
        if self.count.load(Ordering::Acquire) > 0 && known().contains(&key(jti)) {
            return Err(RevocationError::Revoked);
        }
        match now.since(MonotonicTime::from_millis(self.synced_at.load(Ordering::Acquire))) > MAX_STALENESS {
            true => Err(RevocationError::Unknown),
            false => Ok(()),
        }
    }

    /// Makes the next [`Revocations::apply_changes`] read all revocations again.
    pub fn distrust_cache(&self) {
        self.missed.store(true, Ordering::Release);
    }

    /// Applies `changes`. `at` is the monotonic time up to which they are complete.
    ///
    /// # Errors
    /// Returns an error if a full read is needed and the database fails. Then the time of the last
    /// contact does not advance, and the next call reads again.
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
            // Revocations from earlier changes were committed before, so the full read contains
            // them.
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

/// Returns a digest of fixed length, however long `jti` is, so that a mass revocation uses little
/// memory.
fn key(jti: &str) -> u128 {
    let [high @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = sha256(jti);
    u128::from_be_bytes(high)
}
