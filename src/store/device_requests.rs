//! Requests of devices without a browser.

use super::{Result, Store, StoreError, Tx, within_deadline};
use crate::base::{Duration, Timestamp};
use crate::model::{DeviceRequest, DeviceState};
use sqlx::Row;
use sqlx::any::AnyRow;

impl Store {
    /// Returns the request with this hash of its user code.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn device_request_of_user(&self, user_code: &[u8; 32]) -> Result<Option<DeviceRequest>> {
        within_deadline(async {
            let row = sqlx::query(
                "SELECT hash, user_code, client_id, scope, state, session_id, polled_at, poll_interval, expires_at \
                 FROM device_requests WHERE user_code = $1",
            )
            .bind(&user_code[..])
            .fetch_optional(&self.pool)
            .await?;
            row.map(|row| read(&row)).transpose()
        })
        .await
    }

    /// Returns whether there is a request with this hash of its device code. This read blocks no
    /// writer.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn device_request_exists(&self, hash: &[u8; 32]) -> Result<bool> {
        within_deadline(async {
            let row = sqlx::query("SELECT state FROM device_requests WHERE hash = $1").bind(&hash[..]);
            Ok(row.fetch_optional(&self.pool).await?.is_some())
        })
        .await
    }
}

impl Tx<'_> {
    /// Adds a request. Returns false if there is one with its user code.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_device_request(&mut self, request: &DeviceRequest) -> Result<bool> {
        let done = sqlx::query(
            "INSERT INTO device_requests (hash, user_code, client_id, scope, state, session_id, polled_at, \
             poll_interval, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (user_code) DO NOTHING",
        )
        .bind(&request.hash[..])
        .bind(&request.user_code[..])
        .bind(&request.client_id)
        .bind(&request.scope)
        .bind(request.state as i64)
        .bind(&request.session_id)
        .bind(request.polled_at.millis())
        .bind(i64::try_from(request.poll_interval.as_millis()).unwrap_or(i64::MAX))
        .bind(request.expires_at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Returns the request with this hash of its device code.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn device_request(&mut self, hash: &[u8; 32]) -> Result<Option<DeviceRequest>> {
        let row = sqlx::query(
            "SELECT hash, user_code, client_id, scope, state, session_id, polled_at, poll_interval, expires_at \
             FROM device_requests WHERE hash = $1",
        )
        .bind(&hash[..])
        .fetch_optional(&mut *self.inner)
        .await?;
        row.map(|row| read(&row)).transpose()
    }

    /// Records the decision of a user in this session. Returns false if there was one before.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn decide_device_request(
        &mut self,
        hash: &[u8; 32],
        decision: DeviceState,
        session_id: &str,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE device_requests SET state = $2, session_id = $3 WHERE hash = $1 AND state = 0",
        )
        .bind(&hash[..])
        .bind(decision as i64)
        .bind(session_id)
        .execute(&mut *self.inner)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Records that the tokens of an allowed request are issued. Returns false if they were before.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn use_device_request(&mut self, hash: &[u8; 32]) -> Result<bool> {
        let done = sqlx::query("UPDATE device_requests SET state = 3 WHERE hash = $1 AND state = 1")
            .bind(&hash[..])
            .execute(&mut *self.inner)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Records that a device has asked for its tokens, and the interval until it may ask again.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn record_device_poll(
        &mut self,
        hash: &[u8; 32],
        interval: Duration,
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query("UPDATE device_requests SET polled_at = $2, poll_interval = $3 WHERE hash = $1")
            .bind(&hash[..])
            .bind(now.millis())
            .bind(i64::try_from(interval.as_millis()).unwrap_or(i64::MAX))
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }
}

fn read(row: &AnyRow) -> Result<DeviceRequest> {
    let hash = |name: &str| -> Result<[u8; 32]> {
        let bytes: Vec<u8> = row.try_get(name)?;
        bytes.try_into().map_err(|_| StoreError::Corrupt(format!("device_requests.{name} is no hash")))
    };
    let interval: i64 = row.try_get("poll_interval")?;
    let state: i64 = row.try_get("state")?;
    Ok(DeviceRequest {
        hash: hash("hash")?,
        user_code: hash("user_code")?,
        client_id: row.try_get("client_id")?,
        scope: row.try_get("scope")?,
        state: match state {
            0 => DeviceState::Waiting,
            1 => DeviceState::Allowed,
            2 => DeviceState::Denied,
            _ => DeviceState::Used,
        },
        session_id: row.try_get("session_id")?,
        polled_at: Timestamp::from_millis(row.try_get("polled_at")?),
        poll_interval: Duration::from_millis(u64::try_from(interval).unwrap_or_default()),
        expires_at: Timestamp::from_millis(row.try_get("expires_at")?),
    })
}
