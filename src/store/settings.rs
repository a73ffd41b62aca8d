//! Facts fixed at first sight: pool and client ids, and the check row of the master key.

use super::{Result, Store, Tx, within_deadline};
use crate::base::{Entropy, OpenError, Purpose};

const CHECK: &str = "master_key_check";
const CHECK_PLAIN: &[u8] = b"narthex";

impl Store {
    /// The value of the fact `name`: `candidate`, unless someone was earlier.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn get_or_init(&self, name: &str, candidate: &str) -> Result<String> {
        let bytes = self.get_or_init_bytes(name, candidate.as_bytes()).await?;
        String::from_utf8(bytes).map_err(|_| super::StoreError::Corrupt(format!("setting {name}")))
    }

    /// The value of the fact `name`, if it is fixed already.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn setting(&self, name: &str) -> Result<Option<String>> {
        let value: Option<Vec<u8>> = within_deadline(async {
            let value = sqlx::query_scalar("SELECT value FROM settings WHERE name = $1").bind(name);
            Ok(value.fetch_optional(&self.pool).await?)
        })
        .await?;
        value
            .map(String::from_utf8)
            .transpose()
            .map_err(|_| super::StoreError::Corrupt(format!("setting {name}")))
    }

    async fn get_or_init_bytes(&self, name: &str, candidate: &[u8]) -> Result<Vec<u8>> {
        self.transaction(|tx| {
            let (name, candidate) = (name.to_owned(), candidate.to_vec());
            Box::pin(async move { tx.get_or_init(&name, &candidate).await })
        })
        .await
    }

    /// Whether this process's master key is the one under which the store's secrets are sealed.
    /// A new store takes the key as its own.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn check_master_key(
        &self,
        entropy: &dyn Entropy,
    ) -> Result<std::result::Result<(), OpenError>> {
        let candidate = self.ring.seal(Purpose::AtRest, CHECK, CHECK_PLAIN, entropy);
        let stored = self.get_or_init_bytes(CHECK, &candidate).await?;
        Ok(self.ring.open(Purpose::AtRest, CHECK, &stored).map(drop))
    }

    /// Whether the store has its tables: one that no node was ever started with has none.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn has_tables(&self) -> Result<bool> {
        within_deadline(async {
            let tables: i64 = sqlx::query_scalar(self.dialect.settings_tables).fetch_one(&self.pool).await?;
            Ok(tables > 0)
        })
        .await
    }

    /// The same as [`Store::check_master_key`] for a store that is only looked at: one without a
    /// master key has none to compare with.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn verify_master_key(&self) -> Result<std::result::Result<(), OpenError>> {
        if !self.has_tables().await? {
            return Ok(Ok(()));
        }
        let stored: Option<Vec<u8>> = within_deadline(async {
            let value = sqlx::query_scalar("SELECT value FROM settings WHERE name = $1").bind(CHECK);
            Ok(value.fetch_optional(&self.pool).await?)
        })
        .await?;
        Ok(stored.map_or(Ok(()), |stored| self.ring.open(Purpose::AtRest, CHECK, &stored).map(drop)))
    }

    /// How many rows all tables hold together, to show that something wrote nothing.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn count_rows(&self) -> Result<i64> {
        const COUNT: &str = "SELECT CAST((SELECT COUNT(*) FROM users) + (SELECT COUNT(*) FROM user_identities) \
             + (SELECT COUNT(*) FROM sessions) + (SELECT COUNT(*) FROM session_cookies) \
             + (SELECT COUNT(*) FROM authorization_codes) + (SELECT COUNT(*) FROM used_login_attempts) \
             + (SELECT COUNT(*) FROM identities) + (SELECT COUNT(*) FROM changes) AS BIGINT)";
        within_deadline(async { Ok(sqlx::query_scalar(COUNT).fetch_one(&self.pool).await?) }).await
    }
}

impl Tx<'_> {
    /// The value of the fact `name`.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn setting(&mut self, name: &str) -> Result<Option<String>> {
        let value: Option<Vec<u8>> = sqlx::query_scalar("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_optional(&mut *self.inner)
            .await?;
        value
            .map(String::from_utf8)
            .transpose()
            .map_err(|_| super::StoreError::Corrupt(format!("setting {name}")))
    }

    /// Gives the fact `name` this value, whatever it was.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn save_setting(&mut self, name: &str, value: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(value.as_bytes())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    async fn get_or_init(&mut self, name: &str, candidate: &[u8]) -> Result<Vec<u8>> {
        sqlx::query("INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(name)
            .bind(candidate)
            .execute(&mut *self.inner)
            .await?;
        let value = sqlx::query_scalar("SELECT value FROM settings WHERE name = $1")
            .bind(name)
            .fetch_one(&mut *self.inner)
            .await?;
        Ok(value)
    }
}
