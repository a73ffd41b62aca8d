//! Access tokens of the user pool that were revoked before their end.

use super::{Change, Result, Store, Tx, within_deadline};
use crate::base::{Entropy, Timestamp};
use sqlx::Row;

impl Store {
    /// Every revoked token that would count still at `now`: its `jti`, and when it ends.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn revoked_tokens(&self, now: Timestamp) -> Result<Vec<(String, Timestamp)>> {
        let rows = within_deadline(async {
            let rows = sqlx::query("SELECT jti, expires_at FROM revoked_tokens WHERE expires_at > $1")
                .bind(now.millis())
                .fetch_all(&self.pool)
                .await?;
            Ok(rows)
        })
        .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("jti")?, Timestamp::from_millis(row.try_get("expires_at")?))))
            .collect()
    }

    /// Whether the token with this `jti` was revoked.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn is_revoked(&self, jti: &str) -> Result<bool> {
        within_deadline(async {
            let row = sqlx::query("SELECT expires_at FROM revoked_tokens WHERE jti = $1").bind(jti);
            Ok(row.fetch_optional(&self.pool).await?.is_some())
        })
        .await
    }
}

impl Tx<'_> {
    /// Revokes the token with this `jti`, which is remembered until `expires_at`, and tells every node.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn revoke_token(
        &mut self,
        jti: &str,
        expires_at: Timestamp,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO revoked_tokens (jti, expires_at) VALUES ($1, $2) ON CONFLICT (jti) DO NOTHING",
        )
        .bind(jti)
        .bind(expires_at.millis())
        .execute(&mut *self.inner)
        .await?;
        // Told each time: a node may have missed the last one.
        self.tell(&Change::Token(jti.to_owned(), expires_at), now, entropy).await
    }
}
