//! Lockout after wrong passwords, as a pure state machine. The caller stores the state.

use crate::base::{Duration, Timestamp};
use serde::{Deserialize, Serialize};

/// Wrong passwords before the first lock.
const FREE_FAILURES: u32 = 5;
/// Longest lock.
pub const MAX_LOCK: Duration = Duration::from_mins(15);
/// Time without an attempt, after the end of a lock, that resets the count.
const IDLE_RESET: Duration = Duration::from_mins(15);

/// Failed attempts of one user with one kind of credential. The default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lockout {
    failures: u32,
    last_failure: i64,
    locked_until: i64,
}

/// A refusal of an attempt during a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked {
    /// Time until the lock ends.
    pub remaining: Duration,
}

impl Lockout {
    /// Returns the state of these parts: the failures, the last one, and the end of the lock.
    pub fn from_parts(failures: u32, last_failure: Timestamp, locked_until: Timestamp) -> Self {
        Self { failures, last_failure: last_failure.millis(), locked_until: locked_until.millis() }
    }

    /// Returns the parts of [`Lockout::from_parts`].
    pub fn parts(self) -> (u32, Timestamp, Timestamp) {
        let [last_failure, locked_until] = [self.last_failure, self.locked_until].map(Timestamp::from_millis);
        (self.failures, last_failure, locked_until)
    }

    /// Counts an attempt as failed in advance. Returns the state to store before the password is
    /// verified; after a success the caller stores the default, and after a failure the result of
    /// [`Lockout::fail`]. Parallel attempts thus cannot exceed the limit, if the caller stores by
    /// compare-and-set. From the fifth on one attempt at a time is possible.
    ///
    /// # Errors
    ///
    /// [`Locked`] during a lock. The stored state stays as it is: attempts do not lengthen the
    /// lock.
    pub fn begin_attempt(self, now: Timestamp) -> Result<Self, Locked> {
        if let Some(remaining) = self.remaining(now) {
            return Err(Locked { remaining });
        }
        let idle_since = self.last_failure.max(self.locked_until);
        let is_idle = now.since(Timestamp::from_millis(idle_since)) >= IDLE_RESET;
        let failures = if is_idle { 1 } else { self.failures.saturating_add(1) };
        let begun = Self { failures, last_failure: now.millis(), locked_until: 0 };
        // Locked in advance: the result of an open attempt is not known.
        Ok(begun.fail(now))
    }

    /// Returns the state after an attempt whose password was wrong: from the fifth on there is a
    /// lock.
    #[must_use]
    pub fn fail(self, now: Timestamp) -> Self {
        let lock = lock_after(self.failures);
        let locked_until = if lock.is_zero() { 0 } else { now.plus(lock).millis() };
        Self { locked_until: self.locked_until.max(locked_until), ..self }
    }

    /// Takes back an attempt of [`Lockout::begin_attempt`] whose password was not compared.
    #[must_use]
    pub fn withdraw_attempt(self, now: Timestamp) -> Self {
        let locked_until = self.locked_until.min(now.millis());
        Self { failures: self.failures.saturating_sub(1), locked_until, ..self }
    }

    /// Returns the time until the lock ends; `None` without a lock.
    pub fn remaining(self, now: Timestamp) -> Option<Duration> {
        let (last_failure, end) =
            (Timestamp::from_millis(self.last_failure), Timestamp::from_millis(self.locked_until));
        // A wall clock that was set back by hours must not lock a user for hours.
        if last_failure.since(now) > MAX_LOCK {
            return None;
        }
        let remaining = end.since(now);
        (!remaining.is_zero()).then(|| remaining.min(MAX_LOCK))
    }

    /// Returns the number of attempts that count as failed.
    pub fn failures(self) -> u32 {
        self.failures
    }
}

/// Returns the length of the lock after `failures` wrong passwords: from the fifth on
/// 2^(failures - 5) seconds, at most [`MAX_LOCK`].
fn lock_after(failures: u32) -> Duration {
    match failures.checked_sub(FREE_FAILURES) {
        None => Duration::ZERO,
        Some(exponent) => {
            Duration::from_secs(1_u64.checked_shl(exponent.min(63)).unwrap_or(u64::MAX)).min(MAX_LOCK)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_800_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(START + seconds)
    }

    fn after(failures: u32) -> (Lockout, i64) {
        let (mut state, mut now) = (Lockout::default(), 0);
        for _ in 0..failures {
            now += state.remaining(at(now)).map_or(0, |wait| i64::try_from(wait.as_secs()).unwrap());
            state = state.begin_attempt(at(now)).unwrap().fail(at(now));
        }
        (state, now)
    }

    #[test]
    fn locks_double_from_the_fifth_failure_to_the_maximum() {
        let table = [
            (0, 0),
            (1, 0),
            (4, 0),
            (5, 1),
            (6, 2),
            (7, 4),
            (10, 32),
            (14, 512),
            (15, 900),
            (16, 900),
            (99, 900),
        ];
        for (failures, seconds) in table {
            let (state, now) = after(failures);
            let lock = (seconds > 0).then(|| Duration::from_secs(seconds));
            assert_eq!(state.remaining(at(now)), lock, "{failures} failures");
            assert_eq!(state.failures(), failures);
        }
        assert_eq!(lock_after(u32::MAX), MAX_LOCK);
    }

    #[test]
    fn attempts_during_a_lock_are_refused_and_do_not_lengthen_it() {
        let (state, now) = after(8);
        for second in 0..8 {
            let refused = state.begin_attempt(at(now + second)).unwrap_err();
            assert_eq!(refused.remaining, Duration::from_secs(8 - u64::try_from(second).unwrap()));
        }
        assert_eq!(state.begin_attempt(at(now + 8)).unwrap().failures(), 9);
    }

    #[test]
    fn fifteen_idle_minutes_after_the_lock_reset_the_count() {
        for (failures, lock) in [(3, 0), (8, 8), (20, 900)] {
            let (state, now) = after(failures);
            let end = now + lock;
            assert_eq!(state.begin_attempt(at(end + 899)).unwrap().failures(), failures + 1);
            assert_eq!(state.begin_attempt(at(end + 900)).unwrap().failures(), 1);
        }
    }

    #[test]
    fn a_clock_that_was_set_back_neither_locks_for_hours_nor_unlocks() {
        let (state, now) = after(9);
        assert_eq!(state.remaining(at(now - 1)), Some(Duration::from_secs(17)));
        assert_eq!(state.remaining(at(now - 7200)), None);
        let (state, now) = after(15);
        assert_eq!(state.remaining(at(now - 600)), Some(MAX_LOCK));
    }
}
