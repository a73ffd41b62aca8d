//! Deletion of expired rows.

use super::changes::CHANGE_RETENTION;
use super::{Result, Store};
use crate::base::{Duration, Timestamp};
use crate::config::SessionLimits;

/// Retention of rows after they expire. A used authorization code is kept to detect its reuse.
/// Other rows are kept because this node's clock may be ahead.
const ROW_RETENTION: Duration = Duration::from_secs(3600);

/// Retention of refresh token families after they expire. Their last access token may be valid for
/// a day longer, and a sign-out must be able to revoke that token.
const FAMILY_RETENTION: Duration = Duration::from_secs(25 * 3600);

impl Store {
    /// Deletes the rows that have expired at `now`. Returns the number of deleted rows.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn purge(&self, limits: SessionLimits, now: Timestamp) -> Result<u64> {
        // Each statement has the time before which rows are deleted. Cookies are deleted with their
        // sessions.
        let tables: [(&'static str, Timestamp); 18] = [
            ("DELETE FROM sessions WHERE expires_at < $1", now.minus(ROW_RETENTION)),
            ("DELETE FROM sessions WHERE last_seen_at < $1", now.minus(limits.idle).minus(ROW_RETENTION)),
            ("DELETE FROM authorization_codes WHERE expires_at < $1", now.minus(ROW_RETENTION)),
            ("DELETE FROM pushed_requests WHERE expires_at < $1", now.minus(ROW_RETENTION)),
            ("DELETE FROM device_requests WHERE expires_at < $1", now.minus(ROW_RETENTION)),
            ("DELETE FROM used_login_attempts WHERE expires_at < $1", now.minus(ROW_RETENTION)),
            ("DELETE FROM used_logout_tokens WHERE expires_at < $1", now.minus(ROW_RETENTION)),
            ("DELETE FROM used_assertions WHERE expires_at < $1", now.minus(ROW_RETENTION)),
            ("DELETE FROM used_proofs WHERE expires_at < $1", now.minus(ROW_RETENTION)),
            ("DELETE FROM judged_logins WHERE expires_at < $1", now.minus(ROW_RETENTION)),
            ("DELETE FROM revoked_tokens WHERE expires_at < $1", now.minus(ROW_RETENTION)),
            ("DELETE FROM outbox WHERE expires_at < $1", now.minus(ROW_RETENTION)),
            ("DELETE FROM message_limits WHERE next_at < $1", now.minus(ROW_RETENTION)),
            ("DELETE FROM account_codes WHERE expires_at < $1", now.minus(ROW_RETENTION)),
            // A count is reset after 15 minutes without a failure.
            ("DELETE FROM password_failures WHERE last_failure_at < $1", now.minus(ROW_RETENTION)),
            ("DELETE FROM refresh_families WHERE expires_at < $1", now.minus(FAMILY_RETENTION)),
            ("DELETE FROM nodes WHERE seen_at < $1", now.minus(ROW_RETENTION)),
            ("DELETE FROM changes WHERE made_at < $1", now.minus(CHANGE_RETENTION)),
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
