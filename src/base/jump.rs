//! Detection of wall-clock jumps, by comparison with the monotonic clock.

use super::clock::{Clock, Duration, Moment, MonotonicTime};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Maximum drift between the clocks that is not a jump. NTP slews by at most 0.5 ms per second, so
/// slewing alone is reported once in hours, at the cost of one re-read of the caches.
const MAX_DRIFT: Duration = Duration::from_secs(5);
/// How long deletion by age is suspended after a jump, because a wrong clock is usually corrected
/// soon.
const STEADY_AFTER: Duration = Duration::from_secs(3600);

/// A detector of wall-clock jumps in either direction.
pub struct JumpDetector {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    /// Wall clock minus monotonic clock, in milliseconds, since the last jump.
    offset: i64,
    jumped_at: Option<MonotonicTime>,
}

impl JumpDetector {
    /// Creates a detector with the current offset as its reference.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = Mutex::new(State { offset: offset(clock.moment()), jumped_at: None });
        Self { clock, state }
    }

    /// Returns the seconds by which the wall clock has jumped since the last call; negative if it
    /// was set back. Returns `None` without a jump.
    pub fn check(&self) -> Option<i64> {
        let now = self.clock.moment();
        let mut state = self.lock();
        let drift = offset(now).saturating_sub(state.offset);
        if u128::from(drift.unsigned_abs()) <= MAX_DRIFT.as_millis() {
            return None;
        }
        *state = State { offset: offset(now), jumped_at: Some(now.monotonic) };
        Some(drift / 1000)
    }

    /// Returns whether the wall clock has not jumped for an hour. Rows deleted by a wrong clock
    /// cannot be restored.
    pub fn is_steady(&self) -> bool {
        let now = self.clock.moment();
        let state = self.lock();
        let drift = offset(now).saturating_sub(state.offset);
        u128::from(drift.unsigned_abs()) <= MAX_DRIFT.as_millis()
            && state.jumped_at.is_none_or(|at| now.monotonic.since(at) >= STEADY_AFTER)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn offset(now: Moment) -> i64 {
    now.wall.millis().saturating_sub(now.monotonic.millis())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ManualClock, Timestamp};

    #[test]
    fn a_jump_is_reported_once_in_either_direction_and_passing_time_is_none() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_800_000_000)));
        let jumps = JumpDetector::new(clock.clone());
        clock.advance(Duration::from_secs(86_400));
        assert_eq!((jumps.check(), jumps.is_steady()), (None, true));
        clock.jump_forward(MAX_DRIFT);
        assert_eq!((jumps.check(), jumps.is_steady()), (None, true));
        clock.jump_forward(Duration::from_secs(7195));
        assert!(!jumps.is_steady(), "also before it is reported");
        assert_eq!((jumps.check(), jumps.check()), (Some(7200), None));
        clock.jump_back(Duration::from_secs(7200));
        assert_eq!((jumps.check(), jumps.check()), (Some(-7200), None));
        clock.advance(STEADY_AFTER - Duration::from_secs(1));
        assert!(!jumps.is_steady());
        clock.advance(Duration::from_secs(1));
        assert!(jumps.is_steady());
    }
}
