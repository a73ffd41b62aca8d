//! Limit of concurrent operations per key.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A limiter of concurrent operations per key, commonly a
/// [`rate_limit_key`](super::rate_limit_key).
pub struct ConcurrencyLimiter<Who> {
    limit: u32,
    counts: Arc<Mutex<HashMap<Who, u32>>>,
}

/// The permit of an operation in progress. Dropping it releases its place in the limit.
pub struct ConcurrencyPermit<Who: Eq + Hash> {
    key: Option<Who>,
    counts: Arc<Mutex<HashMap<Who, u32>>>,
}

impl<Who: Eq + Hash + Copy> ConcurrencyLimiter<Who> {
    /// Creates a limiter that allows `limit` concurrent operations per key.
    pub fn new(limit: u32) -> Self {
        Self { limit, counts: Arc::default() }
    }

    /// Acquires a permit for the key `who`, or returns `None` if its limit is reached. An operation
    /// without a key is not limited.
    pub fn try_acquire(&self, who: Option<Who>) -> Option<ConcurrencyPermit<Who>> {
        if let Some(who) = who {
            let mut counts = lock(&self.counts);
            let count = counts.entry(who).or_insert(0);
            if *count >= self.limit {
                return None;
            }
            *count += 1;
        }
        Some(ConcurrencyPermit { key: who, counts: self.counts.clone() })
    }
}

impl<Who: Eq + Hash> Drop for ConcurrencyPermit<Who> {
    fn drop(&mut self) {
        let Some(who) = self.key.take() else { return };
        if let Entry::Occupied(mut count) = lock(&self.counts).entry(who) {
            match *count.get() {
                0 | 1 => _ = count.remove(),
                _ => *count.get_mut() -= 1,
            }
        }
    }
}

fn lock<Who>(counts: &Mutex<HashMap<Who, u32>>) -> MutexGuard<'_, HashMap<Who, u32>> {
    // The map is consistent after every statement, so a poisoned lock is usable.
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_at_its_limit_waits_for_its_own_work_and_others_do_not() {
        let limit = ConcurrencyLimiter::new(2);
        let first = limit.try_acquire(Some(1));
        let second = limit.try_acquire(Some(1));
        assert!(first.is_some() && second.is_some());
        assert!(limit.try_acquire(Some(1)).is_none());
        assert!(limit.try_acquire(Some(2)).is_some() && limit.try_acquire(None).is_some());
        drop(first);
        let third = limit.try_acquire(Some(1));
        assert!(third.is_some() && limit.try_acquire(Some(1)).is_none());
        drop((second, third));
        assert!(lock(&limit.counts).is_empty());
    }
}
