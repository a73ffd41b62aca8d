//! Secrets of app clients. They are encrypted and not hashed, because the computation of
//! `SECRET_HASH` needs the secret itself.

use super::statements::statements;
use super::{Result, Store, StoreError, Tx, within_deadline};
use crate::base::{Entropy, KeyRing, Purpose, Secret, Timestamp};
use crate::model::{AppClient, ClientSecret};
use sqlx::Row;
use sqlx::any::AnyRow;

statements! {
    OF_CLIENT = "SELECT client_id, id, sealed, created_at FROM client_secrets WHERE client_id = $1 ORDER BY id";
    ADD = "INSERT INTO client_secrets (client_id, id, pool, sealed, created_at) VALUES ($1, $2, $3, $4, $5) \
           ON CONFLICT (client_id, id) DO NOTHING";
    REMOVE = "DELETE FROM client_secrets WHERE client_id = $1 AND id = $2";
    REMOVE_OF_CLIENT = "DELETE FROM client_secrets WHERE client_id = $1";
    REMOVE_OF_POOL = "DELETE FROM client_secrets WHERE pool = $1";
}

impl Store {
    /// Returns the secrets of an app client, in the order of their ids.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn client_secrets(&self, client_id: &str) -> Result<Vec<ClientSecret>> {
        within_deadline(async {
            let rows = sqlx::query(OF_CLIENT).bind(client_id).fetch_all(&self.pool).await?;
            rows.iter().map(|row| read(&self.ring, row)).collect()
        })
        .await
    }
}

impl Tx<'_> {
    /// Returns the secrets of an app client, in the order of their ids.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn client_secrets(&mut self, client_id: &str) -> Result<Vec<ClientSecret>> {
        let rows = sqlx::query(OF_CLIENT).bind(client_id).fetch_all(&mut *self.inner).await?;
        rows.iter().map(|row| read(&self.ring, row)).collect()
    }

    /// Adds a secret. Returns false if its id is taken.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_client_secret(
        &mut self,
        client: &AppClient,
        secret: &ClientSecret,
        entropy: &dyn Entropy,
    ) -> Result<bool> {
        let plain = secret.secret.expose().as_bytes();
        let sealed = self.ring.seal(Purpose::AtRest, &context(&client.id, &secret.id), plain, entropy);
        let done = sqlx::query(ADD)
            .bind(&client.id)
            .bind(&secret.id)
            .bind(client.pool)
            .bind(sealed)
            .bind(secret.created_at.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Removes a secret. Returns whether there was one.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_client_secret(&mut self, client_id: &str, id: &str) -> Result<bool> {
        let remove = sqlx::query(REMOVE).bind(client_id).bind(id);
        Ok(remove.execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    /// Removes the secrets of an app client.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_client_secrets(&mut self, client_id: &str) -> Result<()> {
        sqlx::query(REMOVE_OF_CLIENT).bind(client_id).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Removes the secrets of every app client of a pool.
    pub(super) async fn remove_client_secrets_of_pool(&mut self, pool: i64) -> Result<()> {
        sqlx::query(REMOVE_OF_POOL).bind(pool).execute(&mut *self.inner).await?;
        Ok(())
    }
}

/// Returns the context with which a secret is encrypted: table, row and column.
fn context(client_id: &str, id: &str) -> String {
    format!("client_secrets/{client_id}/{id}/sealed")
}

fn read(ring: &KeyRing, row: &AnyRow) -> Result<ClientSecret> {
    let (client_id, id): (String, String) = (row.try_get("client_id")?, row.try_get("id")?);
    let context = context(&client_id, &id);
    let sealed: Vec<u8> = row.try_get("sealed")?;
    let plain = ring.open(Purpose::AtRest, &context, &sealed);
    let plain = plain.map_err(|error| StoreError::Corrupt(format!("{context}: {error}")))?;
    let text = std::str::from_utf8(&plain).map_err(|_| StoreError::Corrupt(context))?;
    let created_at = Timestamp::from_millis(row.try_get("created_at")?);
    Ok(ClientSecret { id, secret: Secret::new(text), created_at })
}
