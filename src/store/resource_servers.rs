//! Resource servers of user pools.

use super::pools::{SOURCES, name_of, named};
use super::statements::statements;
use super::{Result, Store, Tx, users, within_deadline};
use crate::base::Timestamp;
use crate::model::{PoolSource, ResourceServer};
use sqlx::Row;
use sqlx::any::AnyRow;

macro_rules! columns {
    () => {
        "pool, identifier, source, settings, created_at, updated_at"
    };
}

statements! {
    BY_ID = concat!("SELECT ", columns!(), " FROM resource_servers WHERE pool = $1 AND identifier = $2");
    PAGE = concat!(
        "SELECT ", columns!(), " FROM resource_servers WHERE pool = $1 AND identifier > $2 ORDER BY identifier LIMIT $3"
    );
    ADD = concat!(
        "INSERT INTO resource_servers (", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (pool, identifier) DO NOTHING"
    );
    SAVE = "UPDATE resource_servers SET settings = $3, updated_at = $4 WHERE pool = $1 AND identifier = $2";
    REMOVE = "DELETE FROM resource_servers WHERE pool = $1 AND identifier = $2";
    REMOVE_OF_POOL = "DELETE FROM resource_servers WHERE pool = $1";
}

impl Store {
    /// Returns the resource server of a pool with this identifier.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn resource_server(&self, pool: i64, identifier: &str) -> Result<Option<ResourceServer>> {
        within_deadline(async {
            let row = sqlx::query(BY_ID).bind(pool).bind(identifier).fetch_optional(&self.pool).await?;
            row.as_ref().map(read).transpose()
        })
        .await
    }

    /// Returns at most `limit` resource servers of a pool after `after`, in the order of their
    /// identifiers.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn resource_servers(&self, pool: i64, after: &str, limit: u32) -> Result<Vec<ResourceServer>> {
        within_deadline(async {
            let query = sqlx::query(PAGE).bind(pool).bind(after).bind(i64::from(limit));
            query.fetch_all(&self.pool).await?.iter().map(read).collect()
        })
        .await
    }
}

impl Tx<'_> {
    /// Returns the resource server of a pool with this identifier.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn resource_server(&mut self, pool: i64, identifier: &str) -> Result<Option<ResourceServer>> {
        let row = sqlx::query(BY_ID).bind(pool).bind(identifier).fetch_optional(&mut *self.inner).await?;
        row.as_ref().map(read).transpose()
    }

    /// Returns at most `limit` resource servers of a pool.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn resource_servers(&mut self, pool: i64, limit: u32) -> Result<Vec<ResourceServer>> {
        let query = sqlx::query(PAGE).bind(pool).bind("").bind(i64::from(limit));
        query.fetch_all(&mut *self.inner).await?.iter().map(read).collect()
    }

    /// Adds `server`. Returns false if its identifier is taken.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_resource_server(&mut self, server: &ResourceServer) -> Result<bool> {
        let done = sqlx::query(ADD)
            .bind(server.pool)
            .bind(&server.identifier)
            .bind(name_of::<PoolSource>(&SOURCES, server.source))
            .bind(users::json(&server.settings)?)
            .bind(server.created_at.millis())
            .bind(server.updated_at.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores the settings of `server`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn save_resource_server(&mut self, server: &ResourceServer) -> Result<()> {
        sqlx::query(SAVE)
            .bind(server.pool)
            .bind(&server.identifier)
            .bind(users::json(&server.settings)?)
            .bind(server.updated_at.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Removes a resource server.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_resource_server(&mut self, pool: i64, identifier: &str) -> Result<()> {
        sqlx::query(REMOVE).bind(pool).bind(identifier).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Removes every resource server of a pool.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_resource_servers(&mut self, pool: i64) -> Result<()> {
        sqlx::query(REMOVE_OF_POOL).bind(pool).execute(&mut *self.inner).await?;
        Ok(())
    }
}

fn read(row: &AnyRow) -> Result<ResourceServer> {
    Ok(ResourceServer {
        pool: row.try_get("pool")?,
        identifier: row.try_get("identifier")?,
        source: named(&SOURCES, row, "source")?,
        settings: users::unjson(row, "settings")?,
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
        updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
    })
}
