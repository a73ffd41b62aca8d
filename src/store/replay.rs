//! Single-use values: a second use on any node is detected.

use super::{Result, Store, Tx, within_deadline};
use crate::base::Timestamp;

/// A kind of single-use value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayKey {
    /// A login attempt, by its id.
    LoginAttempt,
    /// A logout token or request, by its issuer and id.
    LogoutToken,
    /// A SAML assertion, by its issuer and id.
    Assertion,
    /// A DPoP proof or a client assertion, by a digest of its id and its key or client.
    Proof,
}

impl ReplayKey {
    fn insert(self) -> &'static str {
        match self {
            Self::LoginAttempt => {
                "INSERT INTO used_login_attempts (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING"
            }
            Self::LogoutToken => {
                "INSERT INTO used_logout_tokens (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING"
            }
            Self::Assertion => {
                "INSERT INTO used_assertions (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING"
            }
            Self::Proof => {
                "INSERT INTO used_proofs (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING"
            }
        }
    }
}

impl Store {
    /// Returns whether the login attempt `id` was used. This read blocks no writer.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn login_attempt_is_used(&self, id: &str) -> Result<bool> {
        within_deadline(async {
            let row = sqlx::query("SELECT id FROM used_login_attempts WHERE id = $1").bind(id);
            Ok(row.fetch_optional(&self.pool).await?.is_some())
        })
        .await
    }
}

impl Tx<'_> {
    /// Records the use of `id`, which is stored until `expires_at`. Returns whether this is the
    /// first use.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn use_once(&mut self, once: ReplayKey, id: &str, expires_at: Timestamp) -> Result<bool> {
        let done =
            sqlx::query(once.insert()).bind(id).bind(expires_at.millis()).execute(&mut *self.inner).await?;
        Ok(done.rows_affected() == 1)
    }
}
