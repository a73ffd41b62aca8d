//! The scopes that users have granted to app clients.

use super::{Result, Store, Tx, within_deadline};
use crate::base::Timestamp;
use crate::model::Consent;
use sqlx::Row;

/// Maximum number of consents of a user that are listed.
const MAX_LISTED: i64 = 100;
const SCOPE: &str = "SELECT scope FROM consents WHERE user_id = $1 AND client_id = $2";

impl Store {
    /// Returns the consents of a user, the latest first.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn consents(&self, user_id: &str) -> Result<Vec<Consent>> {
        within_deadline(async {
            let rows = sqlx::query(
                "SELECT client_id, scope, granted_at FROM consents WHERE user_id = $1 ORDER BY granted_at DESC LIMIT $2",
            )
            .bind(user_id)
            .bind(MAX_LISTED)
            .fetch_all(&self.pool)
            .await?;
            rows.iter()
                .map(|row| {
                    Ok(Consent {
                        client_id: row.try_get("client_id")?,
                        scope: row.try_get("scope")?,
                        granted_at: Timestamp::from_millis(row.try_get("granted_at")?),
                    })
                })
                .collect()
        })
        .await
    }

    /// Returns the scopes that a user has granted to a client, separated by spaces; `None` if the
    /// user was never asked.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn consent(&self, user_id: &str, client_id: &str) -> Result<Option<String>> {
        within_deadline(async {
            let scope = sqlx::query_scalar(SCOPE).bind(user_id).bind(client_id);
            Ok(scope.fetch_optional(&self.pool).await?)
        })
        .await
    }
}

impl Tx<'_> {
    /// As [`Store::consent`], in the transaction.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn consent(&mut self, user_id: &str, client_id: &str) -> Result<Option<String>> {
        let scope = sqlx::query_scalar(SCOPE).bind(user_id).bind(client_id);
        Ok(scope.fetch_optional(&mut *self.inner).await?)
    }

    /// Records the scopes that a user grants to a client, in place of earlier ones.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn save_consent(&mut self, user_id: &str, consent: &Consent) -> Result<()> {
        sqlx::query(
            "INSERT INTO consents (user_id, client_id, scope, granted_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (user_id, client_id) DO UPDATE SET scope = excluded.scope, granted_at = excluded.granted_at",
        )
        .bind(user_id)
        .bind(&consent.client_id)
        .bind(&consent.scope)
        .bind(consent.granted_at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Removes a user's consent to a client.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_consent(&mut self, user_id: &str, client_id: &str) -> Result<()> {
        sqlx::query("DELETE FROM consents WHERE user_id = $1 AND client_id = $2")
            .bind(user_id)
            .bind(client_id)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Removes all users' consents to a client.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_consents_to(&mut self, client_id: &str) -> Result<()> {
        sqlx::query("DELETE FROM consents WHERE client_id = $1")
            .bind(client_id)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }
}
