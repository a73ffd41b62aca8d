//! The message rate of each channel, shared by all nodes: the generic cell rate algorithm on one
//! row.

use super::{Result, Store, within_deadline};
use crate::base::Timestamp;

/// Maximum burst, in microseconds: unused capacity older than one second is lost.
const BURST_MICROS: i64 = 1_000_000;
/// Maximum attempts to update the row while other nodes change it.
const MAX_ATTEMPTS: u32 = 5;

/// Returns how many messages may be sent at `now`, at most `wanted`, and the new value of `next_at`
/// in microseconds.
fn grant(next_at: i64, wanted: u32, per_second: u32, now: Timestamp) -> (u32, i64) {
    let interval = (1_000_000 / i64::from(per_second.max(1))).max(1);
    let now = now.millis().saturating_mul(1000);
    // A time further ahead was stored by a node whose clock was ahead.
    let next_at = next_at.clamp(now - BURST_MICROS, now + BURST_MICROS);
    let free = u32::try_from((now - next_at).max(0) / interval).unwrap_or(u32::MAX);
    let granted = free.min(wanted);
    (granted, next_at + interval * i64::from(granted))
}

impl Store {
    /// Reserves up to `wanted` messages of `channel` at a rate of `per_second`. Returns how many
    /// may be sent now.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn reserve_messages(
        &self,
        channel: &str,
        wanted: u32,
        per_second: u32,
        now: Timestamp,
    ) -> Result<u32> {
        const READ: &str = "SELECT next_at FROM outbox_rates WHERE channel = $1";
        const SWAP: &str = "UPDATE outbox_rates SET next_at = $1 WHERE channel = $2 AND next_at = $3";
        within_deadline(async {
            for _ in 0..MAX_ATTEMPTS {
                let stored: i64 = sqlx::query_scalar(READ).bind(channel).fetch_one(&self.pool).await?;
                let (granted, next_at) = grant(stored, wanted, per_second, now);
                if granted == 0 {
                    return Ok(0);
                }
                let swap = sqlx::query(SWAP).bind(next_at).bind(channel).bind(stored);
                if swap.execute(&self.pool).await?.rows_affected() == 1 {
                    return Ok(granted);
                }
            }
            Ok(0)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_granted_at_the_rate_and_an_unused_second_at_most() {
        let at = Timestamp::from_millis;
        let (granted, next_at) = grant(0, 50, 10, at(1_000_000));
        assert_eq!(granted, 10);
        assert_eq!(grant(next_at, 50, 10, at(1_000_000)).0, 0);
        assert_eq!(grant(next_at, 50, 10, at(1_000_099)).0, 0);
        assert_eq!(grant(next_at, 50, 10, at(1_000_100)).0, 1);
        assert_eq!(grant(next_at, 3, 10, at(1_000_500)).0, 3);
        assert_eq!(grant(next_at, 50, 10, at(9_000_000)).0, 10);
        // The clock was set back by an hour: one second later messages are granted again.
        assert_eq!(grant(next_at, 50, 10, at(1_000_000 - 3_600_000)).0, 0);
        assert_eq!(grant(1_000_000_000, 50, 10_000, at(1_001_000)).0, 50);
    }
}
