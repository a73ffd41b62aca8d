//! Authorization codes.

use super::{Result, Store, Tx, within_deadline};
use crate::base::Timestamp;
use crate::model::AuthorizationCode;
use sqlx::Row;

impl Store {
    /// Returns whether a code with this hash exists, used or not. This read blocks no writer.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn code_exists(&self, hash: &[u8; 32]) -> Result<bool> {
        within_deadline(async {
            let row = sqlx::query("SELECT used FROM authorization_codes WHERE hash = $1").bind(&hash[..]);
            Ok(row.fetch_optional(&self.pool).await?.is_some())
        })
        .await
    }
}

impl Tx<'_> {
    /// Adds a code.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_code(&mut self, code: &AuthorizationCode) -> Result<()> {
        sqlx::query(
            "INSERT INTO authorization_codes (hash, client_id, redirect_uri, code_challenge, session_id, expires_at, \
             used, scope, nonce, dpop_jkt) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9)",
        )
        .bind(&code.hash[..])
        .bind(&code.client_id)
        .bind(&code.redirect_uri)
        .bind(&code.code_challenge)
        .bind(&code.session_id)
        .bind(code.expires_at.millis())
        .bind(&code.scope)
        .bind(&code.nonce)
        .bind(&code.key)
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Returns the code with this hash, used or not.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn code(&mut self, hash: &[u8; 32]) -> Result<Option<AuthorizationCode>> {
        let row = sqlx::query(
            "SELECT client_id, redirect_uri, code_challenge, session_id, expires_at, used, scope, nonce, family_id, dpop_jkt \
             FROM authorization_codes WHERE hash = $1",
        )
        .bind(&hash[..])
        .fetch_optional(&mut *self.inner)
        .await?;
        let Some(row) = row else { return Ok(None) };
        // Nodes of the previous version write 1 for a used code, which is a time in the distant
        // past.
        let used_at: i64 = row.try_get("used")?;
        Ok(Some(AuthorizationCode {
            hash: *hash,
            client_id: row.try_get("client_id")?,
            redirect_uri: row.try_get("redirect_uri")?,
            code_challenge: row.try_get("code_challenge")?,
            scope: row.try_get("scope")?,
            nonce: row.try_get("nonce")?,
            key: row.try_get("dpop_jkt")?,
            family_id: row.try_get("family_id")?,
            session_id: row.try_get("session_id")?,
            expires_at: Timestamp::from_millis(row.try_get("expires_at")?),
            used_at: (used_at != 0).then(|| Timestamp::from_millis(used_at)),
        }))
    }

    /// Marks the code with this hash as used at `now`. Returns false if it was used before.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn use_code(&mut self, hash: &[u8; 32], now: Timestamp) -> Result<bool> {
        let done = sqlx::query("UPDATE authorization_codes SET used = $2 WHERE hash = $1 AND used = 0")
            .bind(&hash[..])
            .bind(now.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Records the family of refresh tokens that was issued for a code.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn set_code_family(&mut self, hash: &[u8; 32], family_id: &str) -> Result<()> {
        sqlx::query("UPDATE authorization_codes SET family_id = $2 WHERE hash = $1")
            .bind(&hash[..])
            .bind(family_id)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }
}
