//! Identities of identity pools: one per user and identity pool. A guest's identity is stored only
//! once the guest signs in.

use super::{Result, Store, Tx, within_deadline};
use crate::base::Timestamp;
use sqlx::Row as _;

impl Store {
    /// Returns the id of this user's identity in this identity pool.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn identity_of(&self, identity_pool_id: &str, user_id: &str) -> Result<Option<String>> {
        const SQL: &str = "SELECT id FROM identities WHERE identity_pool_id = $1 AND user_id = $2";
        within_deadline(async {
            let id = sqlx::query_scalar(SQL).bind(identity_pool_id).bind(user_id);
            Ok(id.fetch_optional(&self.pool).await?)
        })
        .await
    }

    /// Returns whether this identity is or was a user's, including a guest's identity that was
    /// merged.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn identity_exists(&self, id: &str) -> Result<bool> {
        within_deadline(async {
            let row = sqlx::query("SELECT id FROM identities WHERE id = $1").bind(id);
            Ok(row.fetch_optional(&self.pool).await?.is_some())
        })
        .await
    }
}

impl Tx<'_> {
    /// Returns the id of this user's identity in this identity pool. Adds `candidate` if the user
    /// has none. Returns `None` if the user has none and the id `candidate` is taken.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn get_or_insert_identity(
        &mut self,
        identity_pool_id: &str,
        user_id: &str,
        candidate: &str,
        now: Timestamp,
    ) -> Result<Option<String>> {
        sqlx::query(
            "INSERT INTO identities (id, identity_pool_id, user_id, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
        )
        .bind(candidate)
        .bind(identity_pool_id)
        .bind(user_id)
        .bind(now.millis())
        .execute(&mut *self.inner)
        .await?;
        let id = sqlx::query_scalar("SELECT id FROM identities WHERE identity_pool_id = $1 AND user_id = $2")
            .bind(identity_pool_id)
            .bind(user_id);
        Ok(id.fetch_optional(&mut *self.inner).await?)
    }

    /// Merges an unassigned identity into the identity `into`. Returns false if the identity is
    /// already stored.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn merge_identity(
        &mut self,
        identity_pool_id: &str,
        id: &str,
        into: &str,
        now: Timestamp,
    ) -> Result<bool> {
        let done = sqlx::query(
            "INSERT INTO identities (id, identity_pool_id, merged_into, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(identity_pool_id)
        .bind(into)
        .bind(now.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Moves the identities of the user `from` to the user `to`, who is the same person. If both
    /// have an identity in an identity pool, the one of `from` is merged into the one of `to`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn move_pool_identities(&mut self, from: &str, to: &str) -> Result<()> {
        let rows = sqlx::query("SELECT id, identity_pool_id FROM identities WHERE user_id = $1")
            .bind(from)
            .fetch_all(&mut *self.inner)
            .await?;
        for row in rows {
            let (id, pool): (String, String) = (row.try_get("id")?, row.try_get("identity_pool_id")?);
            let kept: Option<String> =
                sqlx::query_scalar("SELECT id FROM identities WHERE identity_pool_id = $1 AND user_id = $2")
                    .bind(&pool)
                    .bind(to)
                    .fetch_optional(&mut *self.inner)
                    .await?;
            let sql = match kept {
                Some(_) => "UPDATE identities SET user_id = NULL, merged_into = $2 WHERE id = $1",
                None => "UPDATE identities SET user_id = $2 WHERE id = $1",
            };
            sqlx::query(sql).bind(&id).bind(kept.as_deref().unwrap_or(to)).execute(&mut *self.inner).await?;
        }
        Ok(())
    }
}
