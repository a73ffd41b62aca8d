//! Turns: of the work for one key only a part is done at the same time, and the rest waits.
//!
//! An attempt with a password counts as failed until it is compared, so that parallel guesses do
//! not exceed the limit. Many right passwords at the same time would lock the account, too. On each
//! node they therefore wait for each other. Work for one network waits so that others are served.

use crate::base::Duration;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Work for one key that is done or waits; further work is refused at once.
const MAX_PLACES: usize = 64;
/// The longest time that work waits for a turn.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// The keys for which work is done or waits on this node.
pub(super) struct Turns<Key: Copy + Eq + Hash> {
    concurrent: usize,
    keys: Mutex<HashMap<Key, Work>>,
}

/// The work for one key.
struct Work {
    places: usize,
    permits: Arc<Semaphore>,
}

/// The right to do work for a key, until it is dropped.
pub(super) struct Turn<'a, Key: Copy + Eq + Hash> {
    _place: Place<'a, Key>,
    _permit: OwnedSemaphorePermit,
}

/// Work that is done or waits.
struct Place<'a, Key: Copy + Eq + Hash> {
    turns: &'a Turns<Key>,
    key: Key,
}

impl<Key: Copy + Eq + Hash> Turns<Key> {
    /// Creates turns of which each key has `concurrent` at the same time.
    pub(super) fn new(concurrent: usize) -> Self {
        Self { concurrent, keys: Mutex::default() }
    }

    /// Waits for a turn. Returns `None` if too much work for `key` waits, or for too long.
    pub(super) async fn wait(&self, key: Key) -> Option<Turn<'_, Key>> {
        let permits = {
            let mut keys = self.lock();
            let new = || Work { places: 0, permits: Arc::new(Semaphore::new(self.concurrent)) };
            let work = keys.entry(key).or_insert_with(new);
            if work.places == MAX_PLACES {
                return None;
            }
            work.places += 1;
            work.permits.clone()
        };
        let place = Place { turns: self, key };
        let permit = tokio::time::timeout(MAX_WAIT, permits.acquire_owned()).await.ok()?.ok()?;
        Some(Turn { _place: place, _permit: permit })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Work>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Key: Copy + Eq + Hash> Drop for Place<'_, Key> {
    fn drop(&mut self) {
        let mut keys = self.turns.lock();
        if let Some(work) = keys.get_mut(&self.key) {
            work.places -= 1;
            if work.places == 0 {
                keys.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_few_turns_of_a_key_are_taken_at_the_same_time_and_others_wait() {
        let turns = Turns::new(4);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(turns.wait(1).await.unwrap());
        }
        let waits = tokio::time::timeout(Duration::from_millis(50), turns.wait(1)).await;
        assert!(waits.is_err());
        assert!(turns.wait(2).await.is_some(), "other keys do not wait");
        held.pop();
        drop(turns.wait(1).await.unwrap());
        drop(held);
        assert!(turns.lock().is_empty());
    }

    #[tokio::test]
    async fn too_much_work_for_a_key_is_refused_at_once() {
        let turns = Turns::new(4);
        let all = (0..=MAX_PLACES).map(|_| async {
            let turn = turns.wait(1).await;
            let is_refused = turn.is_none() && turns.lock()[&1].places == MAX_PLACES;
            tokio::time::sleep(Duration::from_millis(1)).await;
            is_refused
        });
        let refused = futures_util::future::join_all(all).await;
        assert_eq!(refused.into_iter().filter(|is_refused| *is_refused).count(), 1);
        assert!(turns.lock().is_empty());
    }
}
