//! What was asked for lately, in front of the cache that remembers it.
//!
//! A cache that knows what to forget keeps books of each look at it, in a dozen places of memory
//! that hold nothing of what was looked for. What is asked for again and again is found here with a
//! look at two. The cache is asked now and then all the same, for its books; and what it forgets is
//! gone from here, too, since nothing is held here.

use crate::base::{Duration, MonotonicTime};
use arc_swap::ArcSwapWeak;
use foldhash::fast::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// How many there is room for: more than the caches remember, so that few have the place of
/// another.
const SLOTS: usize = 1 << 18;
/// In how many parts they are gone through for what may be given free: no request waits long behind
/// one.
const EVICTION_SHARDS: usize = 64;
/// How often the cache is asked for what is found here: often enough for one that forgets after an
/// hour, and seldom enough that a hundred thousand, each of which comes every minute, hardly ask
/// it.
const TOUCH_INTERVAL: Duration = Duration::from_secs(300);

/// What can be found by a key.
pub(super) trait Keyed {
    /// By what it is found.
    type Key: Hash;

    /// Whether it is found by `key`.
    fn has_key(&self, key: &Self::Key) -> bool;

    /// When the cache was asked for it.
    fn last_touch(&self) -> &LastTouch;
}

/// When the cache was asked for something, in milliseconds of the monotonic clock.
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

/// What was asked for lately.
pub(super) struct FrontCache<T> {
    slots: Box<[ArcSwapWeak<T>]>,
    /// Randomly keyed, so that nobody can predict which keys share a slot.
    hasher: RandomState,
    /// The part that is next.
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

    /// What `key` finds, unless the cache is to be asked `now`.
    pub(super) fn get(&self, key: &T::Key, now: MonotonicTime) -> Option<Arc<T>> {
        let found = self.slot(key).load().upgrade()?;
        (found.has_key(key) && !found.last_touch().is_due(now)).then_some(found)
    }

    /// Says that the cache was asked `now`, and had `found` by `key`. To write here costs more than
    /// to ask the cache: where two share a place, each has it once in that time at most.
    pub(super) fn insert(&self, key: &T::Key, found: &Arc<T>, now: MonotonicTime) {
        if found.last_touch().is_due(now) {
            found.last_touch().0.store(now.millis(), Ordering::Relaxed);
            self.slot(key).store(Arc::downgrade(found));
        }
    }

    /// Gives free what the cache has forgotten, a part of it each time: as long as somebody could
    /// ask whether it is there, its memory is kept.
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
        // As if both had the same hash.
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
