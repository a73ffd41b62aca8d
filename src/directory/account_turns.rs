//! Turns of the attempts with the password of one account.
//!
//! An attempt counts as failed until its password is compared, so that parallel guesses do not
//! exceed the limit. Many right passwords at the same time would lock the account, too. On each
//! node they therefore wait for each other.

use crate::base::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Attempts of one account at the same time; fewer than lock it.
const MAX_CONCURRENT: usize = 4;
/// Attempts of one account that are made or wait; others are refused at once.
const MAX_ATTEMPTS: usize = 64;
/// The longest time that an attempt waits for others.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// The accounts whose passwords are being compared on this node.
#[derive(Default)]
pub(super) struct AccountTurns {
    accounts: Mutex<HashMap<i64, Attempts>>,
}

/// The attempts of one account.
struct Attempts {
    count: usize,
    permits: Arc<Semaphore>,
}

/// The right to compare the password of an account, until it is dropped.
pub(super) struct Turn<'a> {
    _place: Place<'a>,
    _permit: OwnedSemaphorePermit,
}

/// An attempt that is made or waits.
struct Place<'a> {
    turns: &'a AccountTurns,
    account_no: i64,
}

impl AccountTurns {
    /// Waits for a turn. Returns `None` if too many attempts wait, or for too long.
    pub(super) async fn wait(&self, account_no: i64) -> Option<Turn<'_>> {
        let permits = {
            let mut accounts = self.lock();
            let new = || Attempts { count: 0, permits: Arc::new(Semaphore::new(MAX_CONCURRENT)) };
            let attempts = accounts.entry(account_no).or_insert_with(new);
            if attempts.count == MAX_ATTEMPTS {
                return None;
            }
            attempts.count += 1;
            attempts.permits.clone()
        };
        let place = Place { turns: self, account_no };
        let permit = tokio::time::timeout(MAX_WAIT, permits.acquire_owned()).await.ok()?.ok()?;
        Some(Turn { _place: place, _permit: permit })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Attempts>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut accounts = self.turns.lock();
        if let Some(attempts) = accounts.get_mut(&self.account_no) {
            attempts.count -= 1;
            if attempts.count == 0 {
                accounts.remove(&self.account_no);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_few_attempts_of_an_account_are_made_at_the_same_time_and_others_wait() {
        let turns = AccountTurns::default();
        let mut held = Vec::new();
        for _ in 0..MAX_CONCURRENT {
            held.push(turns.wait(1).await.unwrap());
        }
        let waits = tokio::time::timeout(Duration::from_millis(50), turns.wait(1)).await;
        assert!(waits.is_err());
        assert!(turns.wait(2).await.is_some(), "other accounts do not wait");
        held.pop();
        drop(turns.wait(1).await.unwrap());
        drop(held);
        assert!(turns.lock().is_empty());
    }

    #[tokio::test]
    async fn too_many_attempts_of_an_account_are_refused_at_once() {
        let turns = AccountTurns::default();
        let all = (0..=MAX_ATTEMPTS).map(|_| async {
            let turn = turns.wait(1).await;
            let is_refused = turn.is_none() && turns.lock()[&1].count == MAX_ATTEMPTS;
            tokio::time::sleep(Duration::from_millis(1)).await;
            is_refused
        });
        let refused = futures_util::future::join_all(all).await;
        assert_eq!(refused.into_iter().filter(|is_refused| *is_refused).count(), 1);
        assert!(turns.lock().is_empty());
    }
}
