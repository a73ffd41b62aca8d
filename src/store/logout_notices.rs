//! The app clients of sessions, and the notices that they get when a session has ended.

use super::{Result, Store, Tx, within_deadline};
use crate::base::Timestamp;
use crate::model::LogoutNotice;
use sqlx::Row;

/// Maximum number of clients of a session that are read.
const MAX_CLIENTS: i64 = 100;

impl Store {
    /// Returns the ids of the clients that got tokens in a session.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn session_clients(&self, session_id: &str) -> Result<Vec<String>> {
        const CLIENTS: &str = "SELECT client_id FROM session_clients WHERE session_id = $1 LIMIT $2";
        within_deadline(async {
            let query = sqlx::query_scalar(CLIENTS).bind(session_id).bind(MAX_CLIENTS);
            Ok(query.fetch_all(&self.pool).await?)
        })
        .await
    }

    /// Claims up to `limit` due notices until `until`: no other node gets them before that. Each
    /// claim is an attempt.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn claim_logout_notices(
        &self,
        limit: u32,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<LogoutNotice>> {
        const DUE: &str = "SELECT id FROM logout_notices WHERE due_at <= $1 LIMIT 1";
        // PostgreSQL evaluates the outer condition again on a row that another node has just
        // claimed, and skips the row.
        const CLAIM: &str = "UPDATE logout_notices SET due_at = $1, attempts = attempts + 1 WHERE due_at <= $2 AND id IN \
             (SELECT id FROM logout_notices WHERE due_at <= $3 ORDER BY due_at, id LIMIT $4) \
             RETURNING id, client_id, session_id, user_id, attempts";
        let rows = within_deadline(async {
            // A read blocks no writer.
            let due = sqlx::query(DUE).bind(now.millis()).fetch_optional(&self.pool).await?;
            if due.is_none() {
                return Ok(Vec::new());
            }
            let query = sqlx::query(CLAIM).bind(until.millis()).bind(now.millis()).bind(now.millis());
            Ok(query.bind(i64::from(limit)).fetch_all(&self.pool).await?)
        })
        .await?;
        let notice = |row: &sqlx::any::AnyRow| {
            let attempts: i64 = row.try_get("attempts")?;
            Ok(LogoutNotice {
                id: row.try_get("id")?,
                client_id: row.try_get("client_id")?,
                session_id: row.try_get("session_id")?,
                user_id: row.try_get("user_id")?,
                attempts: usize::try_from(attempts).unwrap_or(usize::MAX),
            })
        };
        rows.iter().map(notice).collect()
    }
}

impl Tx<'_> {
    /// Records that a client got tokens in a session.
    ///
    /// # Errors
    /// Returns an error if the database fails, or the session does not exist.
    pub async fn add_session_client(&mut self, session_id: &str, client_id: &str) -> Result<()> {
        const ADD: &str =
            "INSERT INTO session_clients (session_id, client_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        sqlx::query(ADD).bind(session_id).bind(client_id).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Adds a notice for each client of a session, which is about to end. They are due at once.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_logout_notices(&mut self, session_id: &str) -> Result<()> {
        const ADD: &str = "INSERT INTO logout_notices (id, client_id, session_id, user_id, due_at, attempts) \
             SELECT s.id || '/' || c.client_id, c.client_id, s.id, s.user_id, 0, 0 \
             FROM session_clients c JOIN sessions s ON s.id = c.session_id WHERE c.session_id = $1";
        sqlx::query(ADD).bind(session_id).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Lets a notice be due again at `due_at`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn postpone_logout_notice(&mut self, id: &str, due_at: Timestamp) -> Result<()> {
        let postpone = sqlx::query("UPDATE logout_notices SET due_at = $1 WHERE id = $2");
        postpone.bind(due_at.millis()).bind(id).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Removes a notice.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_logout_notice(&mut self, id: &str) -> Result<()> {
        sqlx::query("DELETE FROM logout_notices WHERE id = $1").bind(id).execute(&mut *self.inner).await?;
        Ok(())
    }
}
