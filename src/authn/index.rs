//! Maps change-feed keys to cached entries.

use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Number of shards. One is scanned at a time, so that no caller waits long for its lock.
const SHARDS: usize = 16;

/// Cached entries by each key that a change can name. The index contains only weak references.
pub(super) struct Index<T> {
    parts: [Mutex<Shard<T>>; SHARDS],
    hasher: RandomState,
    /// The shard that the next scan covers.
    next: AtomicUsize,
}

type Shard<T> = HashMap<String, Vec<Weak<T>>, RandomState>;

impl<T> Index<T> {
    pub(super) fn new() -> Self {
        Self { parts: Default::default(), hasher: RandomState::default(), next: AtomicUsize::new(0) }
    }

    /// Adds the entry `one` under the key `name`.
    pub(super) fn add(&self, name: String, one: &Arc<T>) {
        self.shard(&name).entry(name).or_default().push(Arc::downgrade(one));
    }

    /// Removes the entries of the key `name`, and applies `change` to each under the lock. A
    /// concurrent caller that finds no entries can rely on the change.
    pub(super) fn take(&self, name: &str, change: impl Fn(&T)) {
        let mut part = self.shard(name);
        let taken = part.remove(name).unwrap_or_default();
        taken.iter().filter_map(Weak::upgrade).for_each(|one| change(&one));
    }

    /// Removes all entries, and applies `change` to each.
    pub(super) fn take_all(&self, change: impl Fn(&T)) {
        for part in &self.parts {
            let mut part = lock(part);
            let taken = part.drain().flat_map(|(_, all)| all);
            taken.filter_map(|one| one.upgrade()).for_each(|one| change(&one));
        }
    }

    /// Removes dropped entries from the next shard. Scanning only one shard limits the time,
    /// because each entry costs a cache miss.
    pub(super) fn evict_dropped(&self) {
        let part = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
        lock(&self.parts[part]).retain(|_, all| {
            all.retain(|one| one.strong_count() > 0);
            !all.is_empty()
        });
    }

    fn shard(&self, name: &str) -> MutexGuard<'_, Shard<T>> {
        #[expect(clippy::cast_possible_truncation, reason = "there are fewer parts")]
        lock(&self.parts[self.hasher.hash_one(name) as usize % SHARDS])
    }
}

fn lock<T>(part: &Mutex<T>) -> MutexGuard<'_, T> {
    // The map is consistent after every statement, so a poisoned lock is usable.
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn what_is_named_is_taken_out_and_what_is_gone_is_dropped() {
        let index = Index::new();
        let (one, other) = (Arc::new(1), Arc::new(2));
        index.add("session a".into(), &one);
        index.add("user u".into(), &one);
        index.add("user u".into(), &other);
        let taken = |name: &str| {
            let all = RefCell::<Vec<i32>>::default();
            index.take(name, |one: &i32| all.borrow_mut().push(*one));
            all.into_inner()
        };
        assert!(taken("session b").is_empty());
        assert_eq!(taken("user u"), [1, 2]);
        assert!(taken("user u").is_empty());
        index.add("user u".into(), &other);
        drop(other);
        (0..SHARDS).for_each(|_| index.evict_dropped());
        assert_eq!(
            index.parts.iter().map(|part| lock(part).len()).sum::<usize>(),
            1,
            "only the session is left"
        );
        let all = RefCell::<Vec<i32>>::default();
        index.take_all(|one| all.borrow_mut().push(*one));
        assert_eq!(all.into_inner(), [1]);
        assert!(index.parts.iter().all(|part| lock(part).is_empty()));
    }
}
