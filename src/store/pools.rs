//! User pools and their counters.

use super::statements::statements;
use super::{Result, Store, StoreError, Tx, within_deadline};
use crate::base::{Entropy, Timestamp, time_ordered_number};
use crate::model::{Pool, PoolSource, PoolState};
use sqlx::Row;
use sqlx::any::AnyRow;

/// Rows among which each counter is divided.
const COUNTER_SHARDS: u8 = 16;

/// Every source with its name in the database.
pub(super) const SOURCES: [(PoolSource, &str); 2] = [(PoolSource::File, "file"), (PoolSource::Api, "api")];
/// Every state with its name in the database.
const STATES: [(PoolState, &str); 2] = [(PoolState::Live, "live"), (PoolState::Deleting, "deleting")];

/// A counter of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// The number of users.
    Users,
    /// The number of groups.
    Groups,
}

impl Counter {
    fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Groups => "groups",
        }
    }
}

macro_rules! columns {
    () => {
        "no, id, source, settings, version, state, created_at, updated_at"
    };
}

statements! {
    BY_ID = concat!("SELECT ", columns!(), " FROM pools WHERE id = $1");
    PAGE = concat!("SELECT ", columns!(), " FROM pools WHERE no > $1 ORDER BY no LIMIT $2");
    PAGE_IN_STATE = concat!(
        "SELECT ", columns!(), " FROM pools WHERE state = $1 AND no > $2 ORDER BY no LIMIT $3"
    );
    OF_SOURCE = concat!("SELECT ", columns!(), " FROM pools WHERE source = $1 ORDER BY no");
    IN_STATE = concat!("SELECT ", columns!(), " FROM pools WHERE state = $1 ORDER BY no LIMIT $2");
    ADD = concat!(
        "INSERT INTO pools (", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING"
    );
    SAVE = "UPDATE pools SET source = $2, settings = $3, version = $4, state = $5, updated_at = $6 WHERE no = $1";
    REMOVE = "DELETE FROM pools WHERE no = $1";
    COUNT = "INSERT INTO pool_counters (pool, kind, shard, value) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (pool, kind, shard) DO UPDATE SET value = pool_counters.value + excluded.value";
    COUNTED = "SELECT CAST(COALESCE(SUM(value), 0) AS BIGINT) FROM pool_counters WHERE pool = $1 AND kind = $2";
    REMOVE_COUNTERS = "DELETE FROM pool_counters WHERE pool = $1";
}

impl Store {
    /// Returns the pool with this id.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn pool(&self, id: &str) -> Result<Option<Pool>> {
        within_deadline(async {
            let row = sqlx::query(BY_ID).bind(id).fetch_optional(&self.pool).await?;
            row.as_ref().map(read).transpose()
        })
        .await
    }

    /// Returns at most `limit` pools after the number `after`, in the order of creation.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn pools(&self, after: i64, limit: u32) -> Result<Vec<Pool>> {
        within_deadline(async {
            let rows = sqlx::query(PAGE).bind(after).bind(i64::from(limit)).fetch_all(&self.pool).await?;
            rows.iter().map(read).collect()
        })
        .await
    }

    /// Returns at most `limit` pools in use after the number `after`, in the order of creation.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn live_pools(&self, after: i64, limit: u32) -> Result<Vec<Pool>> {
        within_deadline(async {
            let state = name_of(&STATES, PoolState::Live);
            let query = sqlx::query(PAGE_IN_STATE).bind(state).bind(after).bind(i64::from(limit));
            query.fetch_all(&self.pool).await?.iter().map(read).collect()
        })
        .await
    }

    /// Returns at most `limit` pools that are being deleted.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn deleted_pools(&self, limit: u32) -> Result<Vec<Pool>> {
        within_deadline(async {
            let state = name_of(&STATES, PoolState::Deleting);
            let rows = sqlx::query(IN_STATE).bind(state).bind(i64::from(limit)).fetch_all(&self.pool).await?;
            rows.iter().map(read).collect()
        })
        .await
    }

    /// Returns a counter of the pool with this number.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn counter(&self, pool: i64, counter: Counter) -> Result<i64> {
        within_deadline(async {
            let sum = sqlx::query_scalar(COUNTED).bind(pool).bind(counter.name());
            Ok(sum.fetch_one(&self.pool).await?)
        })
        .await
    }
}

impl Tx<'_> {
    /// Returns the pool with this id.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn pool(&mut self, id: &str) -> Result<Option<Pool>> {
        let row = sqlx::query(BY_ID).bind(id).fetch_optional(&mut *self.inner).await?;
        row.as_ref().map(read).transpose()
    }

    /// Returns at most `limit` pools after the number `after`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn pools(&mut self, after: i64, limit: u32) -> Result<Vec<Pool>> {
        let rows = sqlx::query(PAGE).bind(after).bind(i64::from(limit)).fetch_all(&mut *self.inner).await?;
        rows.iter().map(read).collect()
    }

    /// Returns every pool in use of a source. There is no limit: a configuration file has few.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn pools_of_source(&mut self, source: PoolSource) -> Result<Vec<Pool>> {
        let rows = sqlx::query(OF_SOURCE).bind(name_of(&SOURCES, source)).fetch_all(&mut *self.inner).await?;
        let mut pools = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
        pools.retain(|pool| pool.state == PoolState::Live);
        Ok(pools)
    }

    /// Returns the pool with this id; adds it with the default settings if there is none.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn get_or_add_pool(&mut self, id: &str, now: Timestamp, entropy: &dyn Entropy) -> Result<Pool> {
        if let Some(pool) = self.pool(id).await? {
            return Ok(pool);
        }
        let no = time_ordered_number(now, entropy);
        let pool = Pool { no, id: id.to_owned(), created_at: now, updated_at: now, ..Pool::default() };
        self.add_pool(&pool).await?;
        Ok(pool)
    }

    /// Adds `pool`. Returns false if its id is taken.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_pool(&mut self, pool: &Pool) -> Result<bool> {
        let done = sqlx::query(ADD)
            .bind(pool.no)
            .bind(&pool.id)
            .bind(name_of(&SOURCES, pool.source))
            .bind(super::users::json(&pool.settings)?)
            .bind(pool.version)
            .bind(name_of(&STATES, pool.state))
            .bind(pool.created_at.millis())
            .bind(pool.updated_at.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores everything of `pool` except its id and its time of creation.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn save_pool(&mut self, pool: &Pool) -> Result<()> {
        sqlx::query(SAVE)
            .bind(pool.no)
            .bind(name_of(&SOURCES, pool.source))
            .bind(super::users::json(&pool.settings)?)
            .bind(pool.version)
            .bind(name_of(&STATES, pool.state))
            .bind(pool.updated_at.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Removes a pool that has no user and no group left.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_pool(&mut self, pool: i64) -> Result<()> {
        sqlx::query(REMOVE_COUNTERS).bind(pool).execute(&mut *self.inner).await?;
        sqlx::query(REMOVE).bind(pool).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Adds `by` to a counter of a pool, in a random shard.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn count(&mut self, pool: i64, counter: Counter, by: i64, entropy: &dyn Entropy) -> Result<()> {
        let mut shard = [0];
        entropy.fill(&mut shard);
        sqlx::query(COUNT)
            .bind(pool)
            .bind(counter.name())
            .bind(i64::from(shard[0] % COUNTER_SHARDS))
            .bind(by)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Returns a counter of a pool.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn counter(&mut self, pool: i64, counter: Counter) -> Result<i64> {
        let sum = sqlx::query_scalar(COUNTED).bind(pool).bind(counter.name());
        Ok(sum.fetch_one(&mut *self.inner).await?)
    }
}

pub(super) fn name_of<T: PartialEq>(names: &[(T, &'static str)], value: T) -> &'static str {
    let found = names.iter().find(|(known, _)| *known == value);
    found.map(|(_, name)| *name).expect("invariant: the table has every value")
}

pub(super) fn named<T: Copy>(names: &[(T, &'static str)], row: &AnyRow, column: &str) -> Result<T> {
    let name: String = row.try_get(column)?;
    let found = names.iter().find(|(_, known)| *known == name);
    found
        .map(|(value, _)| *value)
        .ok_or_else(|| StoreError::Corrupt(format!("column {column}: `{name}` is not known")))
}

fn read(row: &AnyRow) -> Result<Pool> {
    Ok(Pool {
        no: row.try_get("no")?,
        id: row.try_get("id")?,
        source: named(&SOURCES, row, "source")?,
        settings: super::users::unjson(row, "settings")?,
        version: row.try_get("version")?,
        state: named(&STATES, row, "state")?,
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
        updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
    })
}
