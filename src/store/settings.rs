//! Settings that are stored once, such as pool and client ids, and the check value of the master
//! key.

use super::{Result, Store, Tx, within_deadline};
use crate::base::{Entropy, OpenError, Purpose};

const CHECK: &str = "master_key_check";
const CHECK_PLAIN: &[u8] = b"narthex";

impl Store {
    /// Returns the setting `name`. Stores `candidate` if the setting has no value.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn get_or_init(&self, name: &str, candidate: &str) -> Result<String> {
        let bytes = self.get_or_init_bytes(name, candidate.as_bytes()).await?;
        String::from_utf8(bytes).map_err(|_| super::StoreError::Corrupt(format!("setting {name}")))
    }

    /// Returns the setting `name`, if it is stored.
    ///
    /// # Errors
    /// Returns an error if the database fails.
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

    /// Checks whether this process's master key is the key with which the store's secrets are
    /// encrypted. A new store records this key.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn check_master_key(
        &self,
        entropy: &dyn Entropy,
    ) -> Result<std::result::Result<(), OpenError>> {
        let candidate = self.ring.seal(Purpose::AtRest, CHECK, CHECK_PLAIN, entropy);
        let stored = self.get_or_init_bytes(CHECK, &candidate).await?;
        Ok(self.ring.open(Purpose::AtRest, CHECK, &stored).map(drop))
    }

    /// Returns whether the tables exist. They do not before the first node has started.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn has_tables(&self) -> Result<bool> {
        within_deadline(async {
            let tables: i64 = sqlx::query_scalar(self.dialect.settings_tables).fetch_one(&self.pool).await?;
            Ok(tables > 0)
        })
        .await
    }

    /// Checks the master key like [`Store::check_master_key`], without writing. Succeeds if no key
    /// was recorded.
    ///
    /// # Errors
    /// Returns an error if the database fails.
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

    /// Returns the number of rows in the tables of users and sign-ins, to show that an operation
    /// wrote nothing.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn count_rows(&self) -> Result<i64> {
        const COUNT: &str = "SELECT CAST((SELECT COUNT(*) FROM users) + (SELECT COUNT(*) FROM user_identities) \
             + (SELECT COUNT(*) FROM sessions) + (SELECT COUNT(*) FROM session_cookies) \
             + (SELECT COUNT(*) FROM authorization_codes) + (SELECT COUNT(*) FROM used_login_attempts) \
             + (SELECT COUNT(*) FROM identities) + (SELECT COUNT(*) FROM changes) AS BIGINT)";
        within_deadline(async { Ok(sqlx::query_scalar(COUNT).fetch_one(&self.pool).await?) }).await
    }
}

impl Tx<'_> {
    /// Returns the setting `name`, if it is stored.
    ///
    /// # Errors
    /// Returns an error if the database fails.
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

    /// Stores the setting `name`, and replaces an earlier value.
    ///
    /// # Errors
    /// Returns an error if the database fails.
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

    /// Removes the setting `name`, if it is stored.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_setting(&mut self, name: &str) -> Result<()> {
        sqlx::query("DELETE FROM settings WHERE name = $1").bind(name).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Removes the setting `name`, and those whose names begin with it and a slash.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_settings_below(&mut self, name: &str) -> Result<()> {
        const REMOVE: &str = "DELETE FROM settings WHERE name = $1 \
                              OR substr(name, 1, length(CAST($2 AS TEXT))) = CAST($2 AS TEXT)";
        sqlx::query(REMOVE).bind(name).bind(format!("{name}/")).execute(&mut *self.inner).await?;
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
