//! Signing keys. Their private keys are encrypted.

use super::{Result, Store, StoreError, Tx, within_deadline};
use crate::base::{Entropy, Purpose, Timestamp};
use sqlx::Row;
use zeroize::Zeroizing;

/// A stored signing key.
pub struct StoredKey {
    /// The purpose: the set of keys to which it belongs.
    pub purpose: String,
    /// The number of the key among the keys of its purpose.
    pub generation: i64,
    /// The key's id.
    pub kid: String,
    /// The signature algorithm's name.
    pub algorithm: String,
    /// The private key in PKCS #8, DER.
    pub private_key: Zeroizing<Vec<u8>>,
    /// When the key was generated and published.
    pub created_at: Timestamp,
}

fn seal_context(kid: &str) -> String {
    format!("signing_keys/{kid}/private_key")
}

impl Store {
    /// Returns every key of `purpose`, oldest first.
    ///
    /// # Errors
    /// Returns an error if the database fails, or a key cannot be decrypted with the master key.
    pub async fn signing_keys(&self, purpose: &str) -> Result<Vec<StoredKey>> {
        let rows = within_deadline(async {
            let rows = sqlx::query(
                "SELECT generation, kid, algorithm, private_key, created_at FROM signing_keys \
                 WHERE purpose = $1 ORDER BY generation",
            )
            .bind(purpose)
            .fetch_all(&self.pool)
            .await?;
            Ok(rows)
        })
        .await?;
        let key = |row: &sqlx::any::AnyRow| {
            let kid: String = row.try_get("kid")?;
            let sealed: Vec<u8> = row.try_get("private_key")?;
            let private_key = self
                .ring
                .open(Purpose::AtRest, &seal_context(&kid), &sealed)
                .map_err(|error| StoreError::Corrupt(format!("signing key {kid} is {error}")))?;
            Ok(StoredKey {
                purpose: purpose.to_owned(),
                generation: row.try_get("generation")?,
                algorithm: row.try_get("algorithm")?,
                private_key,
                created_at: Timestamp::from_millis(row.try_get("created_at")?),
                kid,
            })
        };
        rows.iter().map(key).collect()
    }

    /// Adds `key` unless its generation already exists, so that concurrent nodes use the same key.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_signing_key(&self, key: &StoredKey, entropy: &dyn Entropy) -> Result<()> {
        self.transaction(|tx| Box::pin(async move { tx.add_signing_key(key, entropy).await })).await
    }
}

impl Tx<'_> {
    /// Adds `key` like [`Store::add_signing_key`], within this transaction.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_signing_key(&mut self, key: &StoredKey, entropy: &dyn Entropy) -> Result<()> {
        let sealed = self.ring.seal(Purpose::AtRest, &seal_context(&key.kid), &key.private_key, entropy);
        sqlx::query(
            "INSERT INTO signing_keys (purpose, generation, kid, algorithm, private_key, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (purpose, generation) DO NOTHING",
        )
        .bind(&key.purpose)
        .bind(key.generation)
        .bind(&key.kid)
        .bind(&key.algorithm)
        .bind(sealed)
        .bind(key.created_at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Removes the keys of `purpose` older than `generation`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_signing_keys_before(&mut self, purpose: &str, generation: i64) -> Result<()> {
        sqlx::query("DELETE FROM signing_keys WHERE purpose = $1 AND generation < $2")
            .bind(purpose)
            .bind(generation)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }
}
