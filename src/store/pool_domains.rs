//! Domains of user pools.

use super::statements::statements;
use super::{Result, Store, Tx, users, within_deadline};
use crate::base::Timestamp;
use crate::model::{Members, PoolDomain};
use sqlx::Row;
use sqlx::any::AnyRow;

statements! {
    BY_NAME = "SELECT d.domain, d.pool, d.kept, d.created_at, p.id AS pool_id FROM pool_domains d \
               JOIN pools p ON p.no = d.pool WHERE d.domain = $1";
    OF_POOL = "SELECT domain, pool, kept, created_at FROM pool_domains WHERE pool = $1 ORDER BY domain LIMIT $2";
    ADD = "INSERT INTO pool_domains (domain, pool, kept, created_at) VALUES ($1, $2, $3, $4) \
           ON CONFLICT (domain) DO NOTHING";
    SAVE = "UPDATE pool_domains SET kept = $3 WHERE domain = $1 AND pool = $2";
    REMOVE = "DELETE FROM pool_domains WHERE domain = $1 AND pool = $2";
    REMOVE_OF_POOL = "DELETE FROM pool_domains WHERE pool = $1";
}

impl Store {
    /// Returns the domain with this name, and the id of its pool.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn pool_domain(&self, domain: &str) -> Result<Option<(PoolDomain, String)>> {
        within_deadline(async {
            let row = sqlx::query(BY_NAME).bind(domain).fetch_optional(&self.pool).await?;
            row.map(|row| Ok((read(&row)?, row.try_get("pool_id")?))).transpose()
        })
        .await
    }

    /// Returns at most `limit` domains of a pool, in the order of their names.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn pool_domains(&self, pool: i64, limit: u32) -> Result<Vec<PoolDomain>> {
        within_deadline(async {
            let query = sqlx::query(OF_POOL).bind(pool).bind(i64::from(limit));
            query.fetch_all(&self.pool).await?.iter().map(read).collect()
        })
        .await
    }
}

impl Tx<'_> {
    /// Returns at most `limit` domains of a pool, in the order of their names.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn pool_domains(&mut self, pool: i64, limit: u32) -> Result<Vec<PoolDomain>> {
        let query = sqlx::query(OF_POOL).bind(pool).bind(i64::from(limit));
        query.fetch_all(&mut *self.inner).await?.iter().map(read).collect()
    }

    /// Adds `domain`. Returns false if its name is taken.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_pool_domain(&mut self, domain: &PoolDomain) -> Result<bool> {
        let kept = users::json(&domain.kept)?;
        let add = sqlx::query(ADD).bind(&domain.domain).bind(domain.pool).bind(kept);
        let add = add.bind(domain.created_at.millis());
        Ok(add.execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    /// Stores the kept members of a domain. Returns whether the pool has the domain.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn save_pool_domain(&mut self, pool: i64, domain: &str, kept: &Members) -> Result<bool> {
        let save = sqlx::query(SAVE).bind(domain).bind(pool).bind(users::json(kept)?);
        Ok(save.execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    /// Removes a domain of a pool. Returns whether the pool has it.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_pool_domain(&mut self, pool: i64, domain: &str) -> Result<bool> {
        let remove = sqlx::query(REMOVE).bind(domain).bind(pool);
        Ok(remove.execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    /// Removes every domain of a pool.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_pool_domains(&mut self, pool: i64) -> Result<()> {
        sqlx::query(REMOVE_OF_POOL).bind(pool).execute(&mut *self.inner).await?;
        Ok(())
    }
}

fn read(row: &AnyRow) -> Result<PoolDomain> {
    Ok(PoolDomain {
        domain: row.try_get("domain")?,
        pool: row.try_get("pool")?,
        kept: users::unjson(row, "kept")?,
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
    })
}
