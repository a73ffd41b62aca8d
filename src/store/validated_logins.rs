//! Validated logins from cross-site POSTs. The browser's next request is same-site and sends the
//! cookies that complete them.

use super::{Result, StoreError, Tx};
use crate::base::{Entropy, Purpose, Timestamp};
use sqlx::Row;
use zeroize::Zeroizing;

fn seal_context(id: &str) -> String {
    format!("judged_logins/{id}/sealed")
}

impl Tx<'_> {
    /// Stores `plain`, encrypted, for the login attempt `id`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn save_validated_login(
        &mut self,
        id: &str,
        plain: &[u8],
        expires_at: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        let sealed = self.ring.seal(Purpose::AtRest, &seal_context(id), plain, entropy);
        sqlx::query(
            "INSERT INTO judged_logins (id, sealed, expires_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING",
        )
        .bind(id)
        .bind(sealed)
        .bind(expires_at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Returns the data stored for the login attempt `id`, unless it has expired at `now`.
    ///
    /// # Errors
    /// Returns an error if the database fails, or the data cannot be decrypted with the master key.
    pub async fn validated_login(&mut self, id: &str, now: Timestamp) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let row = sqlx::query("SELECT sealed FROM judged_logins WHERE id = $1 AND expires_at > $2")
            .bind(id)
            .bind(now.millis())
            .fetch_optional(&mut *self.inner)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let sealed: Vec<u8> = row.try_get("sealed")?;
        let plain = self.ring.open(Purpose::AtRest, &seal_context(id), &sealed);
        plain.map(Some).map_err(|error| StoreError::Corrupt(format!("the judged login {id} is {error}")))
    }
}
