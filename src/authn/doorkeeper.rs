//! Cache admission: keys that occur only once are not cached.
//!
//! The doorkeeper of TinyLFU (Einziger, Friedman, Manes: "TinyLFU: A Highly Efficient Cache
//! Admission Policy"), a Bloom filter that is cleared when it is full.

use foldhash::fast::RandomState;
use std::hash::{BuildHasher as _, Hash};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Size of the filter in bits (1 MiB).
const BITS: usize = 1 << 23;
/// Maximum number of set bits. One in eight new keys is then a false positive, one in sixteen on
/// average. A false positive only costs memory in the cache.
const MAX_SET_BITS: usize = BITS / 8;

/// A filter that distinguishes keys seen before from new ones.
pub(super) struct Doorkeeper {
    words: Box<[AtomicU64]>,
    set: AtomicUsize,
    /// Randomly keyed, so that clients cannot produce collisions.
    hasher: RandomState,
}

impl Doorkeeper {
    pub(super) fn new() -> Self {
        let words = (0..BITS / 64).map(|_| AtomicU64::default()).collect();
        Self { words, set: AtomicUsize::default(), hasher: RandomState::default() }
    }

    /// Returns whether `key` was inserted before, and inserts it.
    pub(super) fn check_and_insert(&self, key: &impl Hash) -> bool {
        let hash = self.hasher.hash_one(key);
        let bit = 1 << (hash % 64);
        let word = &self.words[(hash / 64) as usize % self.words.len()];
        let met = word.fetch_or(bit, Ordering::Relaxed) & bit != 0;
        if !met && self.set.fetch_add(1, Ordering::Relaxed) == MAX_SET_BITS {
            self.reset_if_full();
        }
        met
    }

    /// Clears the filter. Keys inserted at the same time may be lost.
    fn reset_if_full(&self) {
        self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.set.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_known() {
        let doorkeeper = Doorkeeper::new();
        assert!(!doorkeeper.check_and_insert(&"ann"));
        assert!(doorkeeper.check_and_insert(&"ann"));
    }

    #[test]
    fn few_are_taken_for_known_that_are_not_however_many_come() {
        let doorkeeper = Doorkeeper::new();
        let many = 3 * MAX_SET_BITS;
        let taken = (0..many).filter(|number| doorkeeper.check_and_insert(number)).count();
        assert!(taken < many / 12, "{taken} of {many}");
        assert!(doorkeeper.set.load(Ordering::Relaxed) <= MAX_SET_BITS);
    }
}
