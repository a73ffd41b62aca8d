//! App clients of user pools.

use super::pools::{SOURCES, name_of, named};
use super::statements::statements;
use super::{Result, Store, Tx, users, within_deadline};
use crate::base::Timestamp;
use crate::model::{AppClient, PoolSource};
use sqlx::Row;
use sqlx::any::AnyRow;

macro_rules! columns {
    () => {
        "c.id, c.pool, c.source, c.settings, c.version, c.created_at, c.updated_at"
    };
}

statements! {
    BY_ID = concat!("SELECT ", columns!(), " FROM app_clients c WHERE c.id = $1");
    WITH_POOL = concat!(
        "SELECT ", columns!(), ", p.id AS pool_id FROM app_clients c JOIN pools p ON p.no = c.pool WHERE c.id = $1"
    );
    PAGE = concat!(
        "SELECT ", columns!(), " FROM app_clients c WHERE c.pool = $1 AND c.id > $2 ORDER BY c.id LIMIT $3"
    );
    IDS = "SELECT id FROM app_clients WHERE pool = $1 ORDER BY id LIMIT $2";
    OF_SOURCE = concat!("SELECT ", columns!(), " FROM app_clients c WHERE c.source = $1 ORDER BY c.id");
    KEEPS_VERIFIERS = "SELECT keeps_verifiers FROM app_clients WHERE pool = $1 AND keeps_verifiers = 1 LIMIT 1";
    ADD = "INSERT INTO app_clients (id, pool, source, settings, keeps_verifiers, version, created_at, updated_at) \
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO NOTHING";
    SAVE = "UPDATE app_clients SET settings = $2, keeps_verifiers = $3, version = $4, updated_at = $5 WHERE id = $1";
    REMOVE = "DELETE FROM app_clients WHERE id = $1";
    REMOVE_OF_POOL = "DELETE FROM app_clients WHERE pool = $1";
}

impl Store {
    /// Returns the app client with this id, and the id of its pool.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn app_client(&self, id: &str) -> Result<Option<(AppClient, String)>> {
        within_deadline(async {
            let row = sqlx::query(WITH_POOL).bind(id).fetch_optional(&self.pool).await?;
            row.map(|row| Ok((read(&row)?, row.try_get("pool_id")?))).transpose()
        })
        .await
    }

    /// Returns at most `limit` app clients of a pool after the id `after`, in the order of ids.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn app_clients(&self, pool: i64, after: &str, limit: u32) -> Result<Vec<AppClient>> {
        within_deadline(async {
            let query = sqlx::query(PAGE).bind(pool).bind(after).bind(i64::from(limit));
            query.fetch_all(&self.pool).await?.iter().map(read).collect()
        })
        .await
    }

    /// Returns whether any app client of a pool allows Secure Remote Password.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn keeps_verifiers(&self, pool: i64) -> Result<bool> {
        within_deadline(async {
            let row = sqlx::query(KEEPS_VERIFIERS).bind(pool).fetch_optional(&self.pool).await?;
            Ok(row.is_some())
        })
        .await
    }
}

impl Tx<'_> {
    /// Returns whether a pool has `count` app clients.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn has_app_clients(&mut self, pool: i64, count: u32) -> Result<bool> {
        let ids = sqlx::query_scalar(IDS).bind(pool).bind(i64::from(count));
        let ids: Vec<String> = ids.fetch_all(&mut *self.inner).await?;
        Ok(u32::try_from(ids.len()).is_ok_and(|found| found >= count))
    }

    /// Returns the app client with this id.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn app_client(&mut self, id: &str) -> Result<Option<AppClient>> {
        let row = sqlx::query(BY_ID).bind(id).fetch_optional(&mut *self.inner).await?;
        row.as_ref().map(read).transpose()
    }

    /// Returns every app client of a source. There is no limit: a configuration file has few.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn app_clients_of_source(&mut self, source: PoolSource) -> Result<Vec<AppClient>> {
        let query = sqlx::query(OF_SOURCE).bind(name_of(&SOURCES, source));
        query.fetch_all(&mut *self.inner).await?.iter().map(read).collect()
    }

    /// Adds `client`. Returns false if its id is taken.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_app_client(&mut self, client: &AppClient) -> Result<bool> {
        let done = sqlx::query(ADD)
            .bind(&client.id)
            .bind(client.pool)
            .bind(name_of(&SOURCES, client.source))
            .bind(users::json(&client.settings)?)
            .bind(i64::from(client.settings.keeps_verifiers()))
            .bind(client.version)
            .bind(client.created_at.millis())
            .bind(client.updated_at.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores the settings and the version of `client`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn save_app_client(&mut self, client: &AppClient) -> Result<()> {
        sqlx::query(SAVE)
            .bind(&client.id)
            .bind(users::json(&client.settings)?)
            .bind(i64::from(client.settings.keeps_verifiers()))
            .bind(client.version)
            .bind(client.updated_at.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Removes an app client and its secrets.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_app_client(&mut self, id: &str) -> Result<()> {
        self.remove_client_secrets(id).await?;
        sqlx::query(REMOVE).bind(id).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Removes every app client of a pool, and their secrets.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_app_clients(&mut self, pool: i64) -> Result<()> {
        self.remove_client_secrets_of_pool(pool).await?;
        sqlx::query(REMOVE_OF_POOL).bind(pool).execute(&mut *self.inner).await?;
        Ok(())
    }
}

fn read(row: &AnyRow) -> Result<AppClient> {
    Ok(AppClient {
        id: row.try_get("id")?,
        pool: row.try_get("pool")?,
        source: named(&SOURCES, row, "source")?,
        settings: users::unjson(row, "settings")?,
        version: row.try_get("version")?,
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
        updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
    })
}
