//! The look of sign-in pages that the API sets.

use super::statements::statements;
use super::{Result, Store, Tx, within_deadline};
use crate::base::Timestamp;
use crate::model::{UiCustomization, UiCustomizationKey};
use sqlx::Row;
use sqlx::any::AnyRow;

statements! {
    BY_CLIENT = "SELECT pool, client_id, digest, css, image_format, image, created_at, updated_at \
                 FROM ui_customizations WHERE pool = $1 AND client_id = $2";
    KEYS = "SELECT client_id, digest, image_format FROM ui_customizations WHERE pool = $1";
    PUT = "INSERT INTO ui_customizations (pool, client_id, digest, css, image_format, image, created_at, updated_at) \
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (pool, client_id) DO UPDATE SET digest = excluded.digest, \
           css = excluded.css, image_format = excluded.image_format, image = excluded.image, \
           updated_at = excluded.updated_at";
    REMOVE = "DELETE FROM ui_customizations WHERE pool = $1 AND client_id = $2";
    REMOVE_OF_POOL = "DELETE FROM ui_customizations WHERE pool = $1";
}

impl Store {
    /// Returns the customization of a client, or of the pool.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn ui_customization(&self, pool: i64, client_id: &str) -> Result<Option<UiCustomization>> {
        within_deadline(async {
            let row = sqlx::query(BY_CLIENT).bind(pool).bind(client_id).fetch_optional(&self.pool).await?;
            row.as_ref().map(read).transpose()
        })
        .await
    }

    /// Returns what pages need of the customizations of a pool: at most one of each client.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn ui_customization_keys(&self, pool: i64) -> Result<Vec<UiCustomizationKey>> {
        within_deadline(async {
            let rows = sqlx::query(KEYS).bind(pool).fetch_all(&self.pool).await?;
            let key = |row: &AnyRow| -> Result<_> {
                Ok(UiCustomizationKey {
                    client_id: row.try_get("client_id")?,
                    digest: row.try_get("digest")?,
                    image_format: row.try_get("image_format")?,
                })
            };
            rows.iter().map(key).collect()
        })
        .await
    }
}

impl Tx<'_> {
    /// Returns the customization of a client, or of the pool.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn ui_customization(&mut self, pool: i64, client_id: &str) -> Result<Option<UiCustomization>> {
        let row = sqlx::query(BY_CLIENT).bind(pool).bind(client_id).fetch_optional(&mut *self.inner).await?;
        row.as_ref().map(read).transpose()
    }

    /// Stores a customization in place of an earlier one.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn put_ui_customization(&mut self, of: &UiCustomization) -> Result<()> {
        sqlx::query(PUT)
            .bind(of.pool)
            .bind(&of.client_id)
            .bind(&of.digest)
            .bind(&of.css)
            .bind(&of.image_format)
            .bind(of.image.clone())
            .bind(of.created_at.millis())
            .bind(of.updated_at.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Removes the customization of a client, or of the pool.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_ui_customization(&mut self, pool: i64, client_id: &str) -> Result<()> {
        sqlx::query(REMOVE).bind(pool).bind(client_id).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Removes every customization of a pool.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_ui_customizations(&mut self, pool: i64) -> Result<()> {
        sqlx::query(REMOVE_OF_POOL).bind(pool).execute(&mut *self.inner).await?;
        Ok(())
    }
}

fn read(row: &AnyRow) -> Result<UiCustomization> {
    Ok(UiCustomization {
        pool: row.try_get("pool")?,
        client_id: row.try_get("client_id")?,
        digest: row.try_get("digest")?,
        css: row.try_get("css")?,
        image_format: row.try_get("image_format")?,
        image: row.try_get("image")?,
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
        updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
    })
}
