//! Pushed authorization requests.

use super::{Result, Store, Tx, within_deadline};
use crate::base::Timestamp;
use crate::model::PushedRequest;
use sqlx::Row;

impl Store {
    /// Returns the pushed request with this hash.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn pushed_request(&self, hash: &[u8; 32]) -> Result<Option<PushedRequest>> {
        within_deadline(async {
            let row = sqlx::query(
                "SELECT client_id, parameters, created_at, started, used, expires_at FROM pushed_requests \
                 WHERE hash = $1",
            )
            .bind(&hash[..])
            .fetch_optional(&self.pool)
            .await?;
            let Some(row) = row else { return Ok(None) };
            Ok(Some(PushedRequest {
                hash: *hash,
                client_id: row.try_get("client_id")?,
                parameters: row.try_get("parameters")?,
                created_at: Timestamp::from_millis(row.try_get("created_at")?),
                is_started: row.try_get::<i64, _>("started")? != 0,
                is_used: row.try_get::<i64, _>("used")? != 0,
                expires_at: Timestamp::from_millis(row.try_get("expires_at")?),
            }))
        })
        .await
    }
}

impl Tx<'_> {
    /// Adds a pushed request.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_pushed_request(&mut self, request: &PushedRequest) -> Result<()> {
        sqlx::query(
            "INSERT INTO pushed_requests (hash, client_id, parameters, created_at, started, used, expires_at) \
             VALUES ($1, $2, $3, $4, 0, 0, $5)",
        )
        .bind(&request.hash[..])
        .bind(&request.client_id)
        .bind(&request.parameters)
        .bind(request.created_at.millis())
        .bind(request.expires_at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Records that a browser has opened a pushed request, whose sign-in may take until
    /// `expires_at`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn start_pushed_request(&mut self, hash: &[u8; 32], expires_at: Timestamp) -> Result<()> {
        sqlx::query(
            "UPDATE pushed_requests SET started = 1, expires_at = $2 WHERE hash = $1 AND started = 0",
        )
        .bind(&hash[..])
        .bind(expires_at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Records that a code is issued for a pushed request. Returns false if one was issued before.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn use_pushed_request(&mut self, hash: &[u8; 32]) -> Result<bool> {
        let done = sqlx::query("UPDATE pushed_requests SET used = 1 WHERE hash = $1 AND used = 0")
            .bind(&hash[..])
            .execute(&mut *self.inner)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}
