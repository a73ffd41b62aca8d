//! The identities of identity pools: one for each person and pool. Guests have none here until they
//! sign in.

use super::{Result, Store, Tx, within_deadline};
use crate::base::Timestamp;
use sqlx::Row as _;

impl Store {
    /// The identity of this user in this identity pool.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn identity_of(&self, identity_pool_id: &str, user_id: &str) -> Result<Option<String>> {
        const SQL: &str = "SELECT id FROM identities WHERE identity_pool_id = $1 AND user_id = $2";
        within_deadline(async {
            let id = sqlx::query_scalar(SQL).bind(identity_pool_id).bind(user_id);
            Ok(id.fetch_optional(&self.pool).await?)
        })
        .await
    }

    /// Whether this identity is, or was, somebody's: a guest's that has signed in.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn identity_exists(&self, id: &str) -> Result<bool> {
        within_deadline(async {
            let row = sqlx::query("SELECT id FROM identities WHERE id = $1").bind(id);
            Ok(row.fetch_optional(&self.pool).await?.is_some())
        })
        .await
    }
}

impl Tx<'_> {
    /// The identity of this user in this identity pool: `candidate` where there was none, unless
    /// that is known already.
    ///
    /// # Errors
    /// Where the store does not answer.
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

    /// Ends an identity that nobody has: its holder has `into` from now on. Returns whether it had
    /// no holder.
    ///
    /// # Errors
    /// Where the store does not answer.
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

    /// Gives the identities of one user to another, who is the same person: one of each identity
    /// pool stays, that of `to` where both have one.
    ///
    /// # Errors
    /// Where the store does not answer.
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
