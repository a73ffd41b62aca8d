//! What was asked for lately, in front of the cache that remembers it.
//!
//! A cache that knows what to forget keeps books of each look at it, in a dozen places of memory that hold nothing of what was
//! looked for. What is asked for again and again is found here with a look at two. The cache is asked now and then all the
//! same, for its books; and what it forgets is gone from here, too, since nothing is held here.

use crate::base::{Duration, Timestamp};
use arc_swap::ArcSwapWeak;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};

/// How many there is room for. Where two have the same place, the one that came last has it.
const PLACES: usize = 1 << 16;
/// How often the cache is asked for what is found here.
const BOOKED_EVERY: Duration = Duration::from_secs(60);

/// What can be found by a key.
pub(super) trait Keyed {
    /// By what it is found.
    type Key;

    /// Whether it is found by `key`.
    fn is(&self, key: &Self::Key) -> bool;

    /// When the cache was asked for it.
    fn booked(&self) -> &Booked;
}

/// When the cache was asked for something, in milliseconds.
#[derive(Default)]
pub(super) struct Booked(AtomicI64);

/// What was asked for lately.
pub(super) struct Recent<T>(Box<[ArcSwapWeak<T>]>);

impl<T: Keyed> Recent<T> {
    pub(super) fn new() -> Self {
        Self((0..PLACES).map(|_| ArcSwapWeak::new(Weak::new())).collect())
    }

    /// What `key` finds, unless the cache is to be asked `now`. By `hash` it has its place: few have the same.
    pub(super) fn find(&self, hash: u16, key: &T::Key, now: Timestamp) -> Option<Arc<T>> {
        let found = self.0[usize::from(hash)].load().upgrade()?;
        let booked = Timestamp::from_millis(found.booked().0.load(Ordering::Relaxed));
        (now.since(booked) < BOOKED_EVERY && found.is(key)).then_some(found)
    }

    /// Says that the cache was asked `now`, and had `found`.
    pub(super) fn was_found(&self, hash: u16, found: &Arc<T>, now: Timestamp) {
        found.booked().0.store(now.millis(), Ordering::Relaxed);
        self.0[usize::from(hash)].store(Arc::downgrade(found));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(&'static str, Booked);

    impl Keyed for One {
        type Key = &'static str;

        fn is(&self, key: &&'static str) -> bool {
            self.0 == *key
        }

        fn booked(&self) -> &Booked {
            &self.1
        }
    }

    #[test]
    fn what_was_found_is_found_by_its_key_for_a_minute_and_held_by_nothing() {
        let (recent, now) = (Recent::new(), Timestamp::from_seconds(1_800_000_000));
        let ann = Arc::new(One("ann", Booked::default()));
        assert!(recent.find(7, &"ann", now).is_none());
        recent.was_found(7, &ann, now);
        assert!(recent.find(7, &"ann", now).is_some());
        assert!(recent.find(7, &"bob", now).is_none(), "another in the same place");
        assert!(recent.find(8, &"ann", now).is_none(), "another place");
        let later = now.plus(BOOKED_EVERY);
        assert!(recent.find(7, &"ann", later).is_none(), "the cache is to be asked");
        recent.was_found(7, &ann, later);
        assert!(recent.find(7, &"ann", later).is_some());
        let bob = Arc::new(One("bob", Booked::default()));
        recent.was_found(7, &bob, later);
        assert!(recent.find(7, &"ann", later).is_none(), "the place is taken");
        assert!(recent.find(7, &"bob", later).is_some());
        drop(bob);
        assert!(recent.find(7, &"bob", later).is_none(), "what the cache forgets is gone");
    }
}
