//! Failed attempts with passwords. They are counted in the store, for users and for names without a
//! user alike: all nodes lock a name after the same number, and the time reveals nothing.

use super::password::Lockout;
use crate::base::{KeyRing, Timestamp};
use crate::model::{Pool, User};
use crate::store::{PasswordFailures, Result, Store};

/// Returns the number under which an account's attempts and codes are stored: the user's, and for a
/// name without a user a negative one that follows from the name.
pub(super) fn account_no(ring: &KeyRing, pool: &Pool, name: &str, user: Option<&User>) -> i64 {
    if let Some(user) = user {
        return user.no;
    }
    let mut text = format!("sign-in {} ", pool.no).into_bytes();
    text.extend(pool.stored_name(name));
    negative_no(ring, &text)
}

/// Returns the negative number that follows from `text`.
pub(super) fn negative_no(ring: &KeyRing, text: &[u8]) -> i64 {
    let [first, second, third, fourth, fifth, sixth, seventh, eighth, ..] = ring.pseudonym(text);
    i64::from_be_bytes([first, second, third, fourth, fifth, sixth, seventh, eighth]) | i64::MIN
}

/// The attempts of one account.
#[derive(Clone, Copy)]
pub(super) struct Attempts<'a> {
    /// The store.
    pub store: &'a Store,
    /// The account.
    pub account_no: i64,
}

impl Attempts<'_> {
    /// Returns whether the account is locked.
    pub async fn is_locked(self, now: Timestamp) -> Result<bool> {
        let stored = self.store.password_failures(self.account_no).await?;
        Ok(lockout(stored).remaining(now).is_some())
    }

    /// Counts an attempt as failed, before the password is compared. Returns false during a lock.
    pub async fn begin(self, now: Timestamp) -> Result<bool> {
        let account_no = self.account_no;
        let begun = self.store.transaction(|tx| {
            Box::pin(async move {
                let Ok(next) = lockout(tx.password_failures(account_no).await?).begin_attempt(now) else {
                    return Ok(false);
                };
                tx.save_password_failures(account_no, failures(next)).await?;
                Ok(true)
            })
        });
        begun.await
    }

    /// Records that an attempt failed, which may lock the account.
    pub async fn fail(self, now: Timestamp) -> Result<()> {
        let account_no = self.account_no;
        let failed = self.store.transaction(|tx| {
            Box::pin(async move {
                let stored = lockout(tx.password_failures(account_no).await?);
                tx.save_password_failures(account_no, failures(stored.fail(now))).await
            })
        });
        failed.await
    }

    /// Forgets all attempts, after a right one.
    pub async fn clear(self) -> Result<()> {
        let account_no = self.account_no;
        let cleared = self
            .store
            .transaction(|tx| Box::pin(async move { tx.clear_password_failures(account_no).await }));
        cleared.await
    }

    /// Takes back an attempt that was counted and not compared, for want of a thread.
    pub async fn withdraw(self, now: Timestamp) -> Result<()> {
        let account_no = self.account_no;
        let withdrawn = self.store.transaction(|tx| {
            Box::pin(async move {
                let stored = lockout(tx.password_failures(account_no).await?);
                tx.save_password_failures(account_no, failures(stored.withdraw_attempt(now))).await
            })
        });
        withdrawn.await
    }
}

/// Returns the lockout of stored failures.
fn lockout(stored: Option<PasswordFailures>) -> Lockout {
    stored.map_or_else(Lockout::default, |stored| {
        Lockout::from_parts(stored.failures, stored.last_failure_at, stored.locked_until)
    })
}

/// Returns the failures to store.
fn failures(lockout: Lockout) -> PasswordFailures {
    let (failures, last_failure_at, locked_until) = lockout.parts();
    PasswordFailures { failures, last_failure_at, locked_until }
}
