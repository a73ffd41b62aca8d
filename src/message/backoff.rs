//! Intervals between attempts to send messages.

use crate::base::{Duration, Entropy};

/// The interval after the first failure of a message. It doubles with each failure.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// The maximum interval between two attempts for a message.
const MAX_RETRY: Duration = Duration::from_secs(15 * 60);
/// The pause after the server was unavailable. It doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The maximum pause after the server was unavailable.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Returns the interval before the next attempt for a message, of which `failures` attempts failed.
pub(super) fn before_retry(failures: u32, entropy: &dyn Entropy) -> Duration {
    jittered(exponential(FIRST_RETRY, failures, MAX_RETRY), entropy)
}

/// Returns the pause after the server was unavailable for `failures` attempts in a row.
pub(super) fn before_reconnect(failures: u32, entropy: &dyn Entropy) -> Duration {
    jittered(exponential(FIRST_PAUSE, failures, MAX_PAUSE), entropy)
}

fn exponential(first: Duration, failures: u32, limit: Duration) -> Duration {
    first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(limit)
}

/// Returns a random duration between three quarters and all of `interval`, so that nodes and
/// messages do not retry simultaneously.
fn jittered(interval: Duration, entropy: &dyn Entropy) -> Duration {
    let mut byte = [0];
    entropy.fill(&mut byte);
    interval.mul_f64(f64::from(byte[0]).mul_add(0.25 / 255.0, 0.75))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    #[test]
    fn intervals_double_up_to_a_limit() {
        for (failures, seconds) in [(1, 5), (2, 10), (3, 20), (8, 640), (9, 900), (u32::MAX, 900)] {
            let limit = Duration::from_secs(seconds);
            let interval = before_retry(failures, &SystemEntropy);
            assert!(interval <= limit && interval >= limit.mul_f64(0.74), "{failures}: {interval:?}");
        }
        assert!(before_reconnect(1, &SystemEntropy) <= Duration::from_secs(1));
        assert!(before_reconnect(30, &SystemEntropy) <= Duration::from_secs(60));
    }
}
