//! Logout tokens that were seen: each works once.

use super::{Result, Tx};
use crate::base::Timestamp;

impl Tx<'_> {
    /// Notes that a logout token was used; answers whether this is the first time.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn use_logout_token(&mut self, id: &str, expires_at: Timestamp) -> Result<bool> {
        let done = sqlx::query(
            "INSERT INTO used_logout_tokens (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING",
        )
        .bind(id)
        .bind(expires_at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}
