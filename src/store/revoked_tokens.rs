//! Access tokens that were revoked before they expired.

use super::{Change, Result, Store, Tx, within_deadline};
use crate::base::{Entropy, Timestamp};
use sqlx::Row;

impl Store {
    /// Returns the `jti` and the expiry of every revoked token that has not been purged. Expired
    /// ones are included: the caller's clock may be ahead, and be set back later.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn revoked_tokens(&self) -> Result<Vec<(String, Timestamp)>> {
        let rows = within_deadline(async {
            let rows =
                sqlx::query("SELECT jti, expires_at FROM revoked_tokens").fetch_all(&self.pool).await?;
            Ok(rows)
        })
        .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("jti")?, Timestamp::from_millis(row.try_get("expires_at")?))))
            .collect()
    }

    /// Returns whether the token with this `jti` was revoked.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn is_revoked(&self, jti: &str) -> Result<bool> {
        within_deadline(async {
            let row = sqlx::query("SELECT expires_at FROM revoked_tokens WHERE jti = $1").bind(jti);
            Ok(row.fetch_optional(&self.pool).await?.is_some())
        })
        .await
    }
}

impl Tx<'_> {
    /// Revokes the token with this `jti`, and publishes the revocation to every node. It is stored
    /// until `expires_at`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn revoke_token(
        &mut self,
        jti: &str,
        expires_at: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO revoked_tokens (jti, expires_at) VALUES ($1, $2) ON CONFLICT (jti) DO NOTHING",
        )
        .bind(jti)
        .bind(expires_at.millis())
        .execute(&mut *self.inner)
        .await?;
        // The change is published each time: a node may have missed an earlier one.
        self.publish(&Change::Token(jti.to_owned(), expires_at), entropy).await
    }
}
