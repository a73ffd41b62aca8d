//! A cache of recently used entries in front of a Moka cache.
//!
//! Moka updates recency state on every read, in a dozen places of memory. This cache answers most
//! reads with two memory accesses. At intervals, an entry is read from Moka instead, which updates
//! its recency. This cache contains only weak references, so evicted entries disappear from it too.

use crate::base::{Duration, MonotonicTime};
use arc_swap::ArcSwapWeak;
use foldhash::fast::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// Number of slots: more than the capacity of the main caches, so that few entries share one.
const SLOTS: usize = 1 << 18;
/// Number of parts in which the slots are scanned for dropped entries, so that no request waits
/// long for a scan.
const EVICTION_SHARDS: usize = 64;
/// Interval at which an entry is read from the main cache. It is short for an idle timeout of one
/// hour. It is long enough that a hundred thousand entries, each used every minute, rarely need the
/// main cache.
const TOUCH_INTERVAL: Duration = Duration::from_secs(300);

/// An entry with a key.
pub(super) trait Keyed {
    /// The key's type.
    type Key: Hash;

    /// Returns whether `key` is the entry's key.
    fn has_key(&self, key: &Self::Key) -> bool;

    /// Returns the time of the entry's last read from the main cache.
    fn last_touch(&self) -> &LastTouch;
}

/// The time of an entry's last read from the main cache, in milliseconds of the monotonic clock.
pub(super) struct LastTouch(AtomicI64);

impl Default for LastTouch {
    fn default() -> Self {
        Self(AtomicI64::new(MonotonicTime::LONG_AGO.millis()))
    }
}

impl LastTouch {
    fn is_due(&self, now: MonotonicTime) -> bool {
        now.since(MonotonicTime::from_millis(self.0.load(Ordering::Relaxed))) >= TOUCH_INTERVAL
    }
}

/// The recently used entries: one weak reference per slot.
pub(super) struct FrontCache<T> {
    slots: Box<[ArcSwapWeak<T>]>,
    /// Randomly keyed, so that clients cannot predict which keys share a slot.
    hasher: RandomState,
    /// The part that the next scan covers.
    next_shard: AtomicUsize,
}

impl<T: Keyed> FrontCache<T> {
    pub(super) fn new() -> Self {
        let slots = (0..SLOTS).map(|_| ArcSwapWeak::new(Weak::new())).collect();
        Self { slots, hasher: RandomState::default(), next_shard: AtomicUsize::new(0) }
    }

    fn slot(&self, key: &T::Key) -> &ArcSwapWeak<T> {
        let hash = self.hasher.hash_one(key);
        #[expect(clippy::cast_possible_truncation, reason = "there are fewer places")]
        &self.slots[hash as usize % SLOTS]
    }

    /// Returns the entry of `key`, or `None` if it must be read from the main cache at `now`.
    pub(super) fn get(&self, key: &T::Key, now: MonotonicTime) -> Option<Arc<T>> {
        let found = self.slot(key).load().upgrade()?;
        (found.has_key(key) && !found.last_touch().is_due(now)).then_some(found)
    }

    /// Records that `found` was read from the main cache at `now`, and stores it if its interval is
    /// over. A write costs more than a read of the main cache. Two entries of one slot therefore
    /// replace each other at most once per interval.
    pub(super) fn insert(&self, key: &T::Key, found: &Arc<T>, now: MonotonicTime) {
        if found.last_touch().is_due(now) {
            found.last_touch().0.store(now.millis(), Ordering::Relaxed);
            self.slot(key).store(Arc::downgrade(found));
        }
    }

    /// Removes references to dropped entries in the next part of the slots. A weak reference
    /// prevents the memory of its entry from being freed.
    pub(super) fn evict_dropped(&self) {
        let part = self.next_shard.fetch_add(1, Ordering::Relaxed) % EVICTION_SHARDS;
        for place in self.slots.iter().skip(part).step_by(EVICTION_SHARDS) {
            let known = place.load();
            if known.strong_count() == 0 && !known.ptr_eq(&Weak::new()) {
                place.compare_and_swap(&*known, Weak::new());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(&'static str, LastTouch);

    impl Keyed for One {
        type Key = &'static str;

        fn has_key(&self, key: &&'static str) -> bool {
            self.0 == *key
        }

        fn last_touch(&self) -> &LastTouch {
            &self.1
        }
    }

    #[test]
    fn what_was_found_is_found_by_its_key_for_a_while() {
        let (recent, now) = (FrontCache::new(), MonotonicTime::from_millis(0));
        let ann = Arc::new(One("ann", LastTouch::default()));
        assert!(recent.get(&"ann", now).is_none());
        recent.insert(&"ann", &ann, now);
        assert!(recent.get(&"ann", now).is_some());
        assert!(recent.get(&"bob", now).is_none());
        let later = now.plus(TOUCH_INTERVAL);
        assert!(recent.get(&"ann", later).is_none(), "the cache is to be asked");
        recent.insert(&"ann", &ann, later);
        assert!(recent.get(&"ann", later).is_some());
    }

    #[test]
    fn of_two_that_share_a_place_each_is_itself_and_has_it_in_turn() {
        let (recent, now) = (FrontCache::new(), MonotonicTime::from_millis(0));
        let [ann, bob] = ["ann", "bob"].map(|name| Arc::new(One(name, LastTouch::default())));
        recent.insert(&"ann", &ann, now);
        // Simulates two entries in one slot.
        recent.insert(&"ann", &bob, now);
        assert!(recent.get(&"ann", now).is_none(), "the place is another's");
        recent.insert(&"ann", &ann, now.plus(TOUCH_INTERVAL / 2));
        assert!(recent.get(&"ann", now.plus(TOUCH_INTERVAL / 2)).is_none(), "and stays so for a while");
        recent.insert(&"ann", &ann, now.plus(TOUCH_INTERVAL));
        assert!(recent.get(&"ann", now.plus(TOUCH_INTERVAL)).is_some());
    }

    #[test]
    fn nothing_is_held() {
        let (recent, now) = (FrontCache::new(), MonotonicTime::from_millis(0));
        let ann = Arc::new(One("ann", LastTouch::default()));
        recent.insert(&"ann", &ann, now);
        let known = Arc::downgrade(&ann);
        (0..EVICTION_SHARDS).for_each(|_| recent.evict_dropped());
        assert!(recent.get(&"ann", now).is_some(), "what is remembered elsewhere stays");
        drop(ann);
        assert!(recent.get(&"ann", now).is_none());
        assert!(recent.slot(&"ann").load().ptr_eq(&known), "but its memory");
        (0..EVICTION_SHARDS).for_each(|_| recent.evict_dropped());
        assert!(recent.slot(&"ann").load().ptr_eq(&Weak::new()), "nor that");
    }
}
