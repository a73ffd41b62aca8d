//! Which access tokens of the user pool were revoked (RFC 7009), as far as this node has heard.

use crate::base::{Clock, Duration, Timestamp, sha256};
use crate::store::{Change, Result, SILENCE, Store};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How often all of them are read again: a node whose clock is wrong may have told of one in a part of the feed at
/// which nobody looks any more.
const READ_AGAIN: Duration = Duration::from_secs(300);

/// Revoked tokens.
pub struct Revocations {
    store: Store,
    clock: Arc<dyn Clock>,
    /// By the digest of the `jti`, with the moment from which they need not be remembered.
    known: RwLock<HashMap<u128, Timestamp>>,
    /// How many these are. Most deployments have none: then a token is judged without looking for it.
    count: AtomicUsize,
    heard_at: AtomicI64,
    read_at: AtomicI64,
    /// Whether something was missed that only reading all of them again can tell.
    missed: AtomicBool,
}

/// Why it is not known to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCounted {
    /// It was revoked.
    Revoked,
    /// The store was silent for so long that it may have been.
    Unheard,
}

impl Revocations {
    /// Reads what was revoked before.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn open(store: Store, clock: Arc<dyn Clock>) -> Result<Self> {
        let now = clock.now();
        let revocations = Self {
            store,
            clock,
            known: RwLock::default(),
            count: AtomicUsize::new(0),
            heard_at: AtomicI64::new(now.millis()),
            read_at: AtomicI64::new(now.millis()),
            missed: AtomicBool::new(true),
        };
        revocations.hear(&[], now).await?;
        Ok(revocations)
    }

    /// Whether the token with this `jti` still counts.
    ///
    /// # Errors
    /// Why that is not known, or not so.
    pub fn judge(&self, jti: &str, now: Timestamp) -> std::result::Result<(), NotCounted> {
        if self.count.load(Ordering::Acquire) > 0 && self.read().contains_key(&key(jti)) {
            return Err(NotCounted::Revoked);
        }
        match now.millis() > self.heard_at.load(Ordering::Acquire) + SILENCE.as_millis() as i64 {
            true => Err(NotCounted::Unheard),
            false => Ok(()),
        }
    }

    /// Takes over what `changes` speak of; `at` is the moment before which everything has been heard of then.
    ///
    /// # Errors
    /// Where the store is needed and does not answer: then nothing counts as heard, now or the next time, until it does.
    pub async fn hear(&self, changes: &[Change], at: Timestamp) -> Result<()> {
        let now = self.clock.now();
        if changes.contains(&Change::Everything) {
            self.missed.store(true, Ordering::Release);
        }
        let token = |change: &Change| match change {
            Change::Token(jti, over) => Some((key(jti), *over)),
            _ => None,
        };
        self.remember(changes.iter().filter_map(token), now);
        let age = now.millis() - self.read_at.load(Ordering::Acquire);
        if self.missed.load(Ordering::Acquire) || age >= READ_AGAIN.as_millis() as i64 {
            let all = self.store.revoked_tokens(now).await?;
            self.remember(all.into_iter().map(|(jti, over)| (key(&jti), over)), now);
            let mut known = self.write();
            known.retain(|_, over| *over > now);
            self.count.store(known.len(), Ordering::Release);
            drop(known);
            self.read_at.store(now.millis(), Ordering::Release);
            self.missed.store(false, Ordering::Release);
        }
        self.heard_at.fetch_max(at.millis(), Ordering::AcqRel);
        Ok(())
    }

    fn remember(&self, revoked: impl Iterator<Item = (u128, Timestamp)>, now: Timestamp) {
        let mut revoked = revoked.filter(|(_, over)| *over > now).peekable();
        if revoked.peek().is_some() {
            let mut known = self.write();
            known.extend(revoked);
            self.count.store(known.len(), Ordering::Release);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<u128, Timestamp>> {
        // What this lock guards is whole after every statement.
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<u128, Timestamp>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of a fixed length, however long the `jti` is: mass revocation takes little room.
fn key(jti: &str) -> u128 {
    let [high @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = sha256(jti);
    u128::from_be_bytes(high)
}
