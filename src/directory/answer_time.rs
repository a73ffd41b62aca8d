//! The time of answers that must not reveal whether a name has a user.
//!
//! Such calls read and write the same for every name. What is left is the decoding of a row that is
//! found, which many measurements find. The answers therefore wait for the end of an interval.

use crate::base::Duration;
use tokio::time::{Instant, sleep_until};

/// The time of an answer is a multiple of this. It is longer than the work of a call without a
/// password, so that nearly all answers of a kind take the same time.
const INTERVAL: Duration = Duration::from_millis(10);

/// Runs `work`, and returns its output when a whole number of intervals has passed since the call.
pub(super) async fn in_whole_intervals<T>(work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let output = work.await;
    sleep_until(begun + whole_intervals(begun.elapsed())).await;
    output
}

/// Rounds up to a whole number of intervals, at least one.
fn whole_intervals(elapsed: Duration) -> Duration {
    let intervals = elapsed.as_nanos().div_ceil(INTERVAL.as_nanos()).max(1);
    INTERVAL.saturating_mul(u32::try_from(intervals).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_rounded_up_to_whole_intervals() {
        let rounded = |micros| whole_intervals(Duration::from_micros(micros)).as_millis();
        assert_eq!([0, 1, 9_999, 10_000, 10_001, 25_000].map(rounded), [10, 10, 10, 10, 20, 30]);
    }

    #[tokio::test]
    async fn an_answer_waits_for_the_end_of_its_interval() {
        for (work, intervals) in [(0, 1), (1, 1), (15, 2)] {
            let begun = Instant::now();
            in_whole_intervals(tokio::time::sleep(Duration::from_millis(work))).await;
            assert!(begun.elapsed() >= INTERVAL * intervals, "{work} ms of work");
        }
    }
}
