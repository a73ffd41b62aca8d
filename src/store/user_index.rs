//! The number and the search keys of each user, and the deletion of users.

use super::pools::Counter;
use super::statements::statements;
use super::{Result, Store, Tx, within_deadline};
use crate::base::{Entropy, Timestamp, time_ordered_number};
use crate::model::{Pool, SearchKey, User};
use sqlx::Row;
use std::collections::BTreeMap;

statements! {
    UNINDEXED = "SELECT id FROM users WHERE indexed_version <> version LIMIT $1";
    NUMBER = "UPDATE users SET no = $2 WHERE id = $1";
    INDEXED = "UPDATE users SET indexed_version = $2 WHERE id = $1";
    KEYS = "SELECT kind, k FROM user_keys WHERE user_no = $1";
    PUT_KEY = "INSERT INTO user_keys (user_no, kind, pool, k) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (user_no, kind) DO UPDATE SET k = excluded.k";
    REMOVE_KEY = "DELETE FROM user_keys WHERE user_no = $1 AND kind = $2";
    REMOVE_KEYS = "DELETE FROM user_keys WHERE user_no = $1";
    REMOVE_NAMES = "DELETE FROM sign_in_names WHERE user_no = $1";
    REMOVE_MEMBERSHIPS = "DELETE FROM group_members WHERE user_no = $1";
    REMOVE_PASSWORD = "DELETE FROM passwords WHERE user_no = $1";
    REMOVE_HISTORY = "DELETE FROM password_history WHERE user_no = $1";
    REMOVE_FAILURES = "DELETE FROM password_failures WHERE user_no = $1";
    REMOVE_VERIFIER = "DELETE FROM srp_verifiers WHERE user_no = $1";
    REMOVE_CODES = "DELETE FROM account_codes WHERE user_no = $1";
    REMOVE_FAMILIES = "DELETE FROM refresh_families WHERE user_no = $1";
    REMOVE_MESSAGES = "DELETE FROM outbox WHERE user_no = $1";
    REMOVE_FACTORS = "DELETE FROM user_factors WHERE user_no = $1";
    REMOVE_RECOVERY_CODES = "DELETE FROM recovery_codes WHERE user_no = $1";
    REMOVE_DEVICES = "DELETE FROM remembered_devices WHERE user_no = $1";
    UNLINK_POOL_IDENTITIES = "UPDATE identities SET user_id = NULL WHERE user_id = $1";
    REMOVE_USER = "DELETE FROM users WHERE id = $1";
}

/// The deletions for a user, apart from the user's row. Sessions and provider accounts are deleted
/// with that row.
const OF_USER: [&str; 13] = [
    REMOVE_KEYS,
    REMOVE_NAMES,
    REMOVE_MEMBERSHIPS,
    REMOVE_PASSWORD,
    REMOVE_HISTORY,
    REMOVE_FAILURES,
    REMOVE_VERIFIER,
    REMOVE_CODES,
    REMOVE_FAMILIES,
    REMOVE_MESSAGES,
    REMOVE_FACTORS,
    REMOVE_RECOVERY_CODES,
    REMOVE_DEVICES,
];

impl Store {
    /// Returns the ids of at most `limit` users that a node of an older version wrote. They have no
    /// number, or their search keys are out of date.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn unindexed_users(&self, limit: u32) -> Result<Vec<String>> {
        within_deadline(async {
            let ids = sqlx::query_scalar(UNINDEXED).bind(i64::from(limit));
            Ok(ids.fetch_all(&self.pool).await?)
        })
        .await
    }
}

impl Tx<'_> {
    /// Assigns a number to `user` if there is none, and stores the search keys of the current
    /// attributes. Returns the user's number.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn index_user(&mut self, pool: &Pool, user: &User, entropy: &dyn Entropy) -> Result<i64> {
        let no = match user.no {
            // The number contains the time of creation, so that the list of users keeps its order.
            0 => {
                let no = time_ordered_number(user.created_at, entropy);
                sqlx::query(NUMBER).bind(&user.id).bind(no).execute(&mut *self.inner).await?;
                self.count(pool.no, Counter::Users, 1, entropy).await?;
                no
            }
            no => no,
        };
        let mut stored = BTreeMap::new();
        for row in sqlx::query(KEYS).bind(no).fetch_all(&mut *self.inner).await? {
            stored.insert(row.try_get::<i64, _>("kind")?, row.try_get::<Vec<u8>, _>("k")?);
        }
        self.put_keys(pool, &User { no, ..user.clone() }, &stored).await?;
        sqlx::query(INDEXED).bind(&user.id).bind(user.version).execute(&mut *self.inner).await?;
        Ok(no)
    }

    /// Stores the search keys of `user` that differ from `stored`.
    pub(super) async fn put_keys(
        &mut self,
        pool: &Pool,
        user: &User,
        stored: &BTreeMap<i64, Vec<u8>>,
    ) -> Result<()> {
        for key in SearchKey::all() {
            let (kind, before) = (key as i64, stored.get(&(key as i64)));
            match key.value(user).map(|value| key.stored(value)) {
                Some(k) if before != Some(&k) => {
                    let put = sqlx::query(PUT_KEY).bind(user.no).bind(kind).bind(pool.no).bind(k);
                    put.execute(&mut *self.inner).await?;
                }
                None if before.is_some() => {
                    sqlx::query(REMOVE_KEY).bind(user.no).bind(kind).execute(&mut *self.inner).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Indexes the users with these ids. Skips deleted users.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn index_users(&mut self, ids: &[String], now: Timestamp, entropy: &dyn Entropy) -> Result<()> {
        for id in ids {
            if let Some(user) = self.user(id).await? {
                let pool = self.get_or_add_pool(&user.pool_id, now, entropy).await?;
                self.index_user(&pool, &user, entropy).await?;
            }
        }
        Ok(())
    }

    /// Deletes all data of a user whose sessions have ended. The user's identities of identity
    /// pools are kept without a user, so that no guest can take over their ids.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_user(&mut self, user: &User, entropy: &dyn Entropy) -> Result<()> {
        if user.no > 0 {
            for statement in OF_USER {
                sqlx::query(statement).bind(user.no).execute(&mut *self.inner).await?;
            }
        }
        sqlx::query(UNLINK_POOL_IDENTITIES).bind(&user.id).execute(&mut *self.inner).await?;
        let removed = sqlx::query(REMOVE_USER).bind(&user.id).execute(&mut *self.inner).await?;
        if user.no > 0
            && removed.rows_affected() > 0
            && let Some(pool) = self.pool(&user.pool_id).await?
        {
            self.count(pool.no, Counter::Users, -1, entropy).await?;
        }
        Ok(())
    }
}
