//! Purging of what is over.

use super::changes::KEPT;
use super::{Result, Store};
use crate::base::{Duration, Timestamp};
use crate::config::SessionLimits;

/// How long everything is kept after its end: a used authorization code, so that its reuse is noticed; the rest, because
/// the clock by which it is over may be ahead.
const REMEMBER: Duration = Duration::from_secs(3600);

impl Store {
    /// Removes what is over at `now`; answers how many rows went.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn purge(&self, limits: SessionLimits, now: Timestamp) -> Result<u64> {
        // Each statement with the moment before which rows are over; cookies go with their sessions.
        let tables: [(&'static str, Timestamp); 10] = [
            ("DELETE FROM sessions WHERE expires_at < $1", now.minus(REMEMBER)),
            ("DELETE FROM sessions WHERE last_seen_at < $1", now.minus(limits.idle).minus(REMEMBER)),
            ("DELETE FROM authorization_codes WHERE expires_at < $1", now.minus(REMEMBER)),
            ("DELETE FROM used_login_attempts WHERE expires_at < $1", now.minus(REMEMBER)),
            ("DELETE FROM used_logout_tokens WHERE expires_at < $1", now.minus(REMEMBER)),
            ("DELETE FROM used_assertions WHERE expires_at < $1", now.minus(REMEMBER)),
            ("DELETE FROM judged_logins WHERE expires_at < $1", now.minus(REMEMBER)),
            ("DELETE FROM revoked_tokens WHERE expires_at < $1", now.minus(REMEMBER)),
            ("DELETE FROM nodes WHERE seen_at < $1", now.minus(KEPT)),
            ("DELETE FROM changes WHERE made_at < $1", now.minus(KEPT)),
        ];
        let mut gone = 0;
        for (sql, before) in tables {
            gone += self
                .transaction(|tx| {
                    Box::pin(async move {
                        let done = sqlx::query(sql).bind(before.millis()).execute(&mut *tx.inner).await?;
                        Ok(done.rows_affected())
                    })
                })
                .await?;
        }
        Ok(gone)
    }
}
