//! Time as an argument. Everything that asks "is this over?" is handed a [`Clock`], so that tests
//! decide what time it is and one decision never mixes two readings.
//!
//! # Which clock decides what
//!
//! | Question | Clock |
//! |---|---|
//! | How old is a cached value, a fetched document, the last contact with the database? | monotonic |
//! | How long must a client wait (rate limits), when does a deadline or an interval end? | monotonic |
//! | How long has a session in memory been idle? | monotonic |
//! | Is a time over that another party wrote: `exp`, `nbf`, a certificate, a row of the database? | wall |
//! | What time do we write for others: `iat`, `expires_at`, `Date`? | wall |
//! | Which entries of the change feed are new, which nodes are alive? | the database's own |
//!
//! The wall clock is stepped by administrators, NTP and hypervisors. A duration between two of its readings therefore
//! means nothing, and a wall-clock time is only ever compared with a wall-clock time that somebody else wrote.
//! A cache whose entries depend on the wall clock is read anew after a jump, which [`super::JumpDetector`] reports.
//!
//! The monotonic clock is `CLOCK_BOOTTIME` on Linux, because `CLOCK_MONOTONIC` (`std::time::Instant`) stands still while
//! the machine is suspended: a node that wakes up after a night would take its cache for a second old. Elsewhere it is
//! `std::time::Instant`, and a suspension shows as a jump. Timers of the runtime use `CLOCK_MONOTONIC`; they decide when
//! work is done and never whether something is valid.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub use std::time::Duration;

/// A moment: milliseconds since the Unix epoch, the unit in which the store keeps times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// A moment that does not come.
    pub const NEVER: Self = Self(i64::MAX);

    /// The moment `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// The moment `seconds` seconds after the Unix epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, as JWTs count (RFC 7519, NumericDate).
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment moved into the future, saturating at the end of time.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(clamp(duration)))
    }

    /// This moment moved into the past, saturating at the beginning of time.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(clamp(duration)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn clamp(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A reading of the monotonic clock, in milliseconds since an origin that only this machine knows. It is never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonotonicTime(i64);

impl MonotonicTime {
    /// Before every reading, and longer ago than any limit.
    pub const LONG_AGO: Self = Self(i64::MIN / 2);

    /// The reading `millis` milliseconds after the origin.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the origin.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This reading moved into the future, saturating at the end of time.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(clamp(duration)))
    }

    /// This reading moved into the past, saturating at the beginning of time.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(clamp(duration)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Both clocks, read once for one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Compared with wall-clock times that others wrote.
    pub wall: Timestamp,
    /// Compared with readings of this process.
    pub monotonic: MonotonicTime,
}

/// A source of the current time.
pub trait Clock: Send + Sync + 'static {
    /// The current wall-clock time.
    fn now(&self) -> Timestamp;

    /// The current reading of the monotonic clock.
    fn monotonic(&self) -> MonotonicTime;

    /// Both.
    fn moment(&self) -> Moment {
        Moment { wall: self.now(), monotonic: self.monotonic() }
    }
}

impl<C: Clock> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn monotonic(&self) -> MonotonicTime {
        (**self).monotonic()
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place that reads the wall clock
    fn now(&self) -> Timestamp {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(clamp(since_epoch))
    }

    #[cfg(target_os = "linux")]
    fn monotonic(&self) -> MonotonicTime {
        let at = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        MonotonicTime(at.tv_sec.saturating_mul(1000).saturating_add(at.tv_nsec / 1_000_000))
    }

    #[cfg(not(target_os = "linux"))]
    fn monotonic(&self) -> MonotonicTime {
        static ORIGIN: std::sync::LazyLock<std::time::Instant> =
            std::sync::LazyLock::new(std::time::Instant::now);
        MonotonicTime(clamp(ORIGIN.elapsed()))
    }
}

/// A clock that stands still until it is moved, for tests. Its wall clock can jump, as a real one does.
#[derive(Debug)]
pub struct ManualClock {
    wall: AtomicI64,
    monotonic: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `at`.
    pub fn new(at: Timestamp) -> Self {
        // Of a machine that has just started: nothing may depend on how long ago that was.
        Self { wall: AtomicI64::new(at.millis()), monotonic: AtomicI64::new(0) }
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.wall.fetch_add(clamp(by), Ordering::SeqCst);
        self.monotonic.fetch_add(clamp(by), Ordering::SeqCst);
    }

    /// Steps the wall clock forward; no time passes.
    pub fn jump_forward(&self, by: Duration) {
        self.wall.fetch_add(clamp(by), Ordering::SeqCst);
    }

    /// Steps the wall clock back; no time passes.
    pub fn jump_back(&self, by: Duration) {
        self.wall.fetch_sub(clamp(by), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.wall.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> MonotonicTime {
        MonotonicTime(self.monotonic.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        let end = Timestamp::from_millis(i64::MAX);
        assert_eq!(end.plus(Duration::MAX), end);
        let start = Timestamp::from_millis(i64::MIN);
        assert_eq!(start.minus(Duration::MAX), start);
        assert_eq!(start.since(end), Duration::ZERO);
    }

    #[test]
    fn seconds_round_towards_the_past() {
        assert_eq!(Timestamp::from_millis(1999).seconds(), 1);
        assert_eq!(Timestamp::from_millis(-1).seconds(), -1);
    }

    #[test]
    fn the_machines_monotonic_clock_goes_forward_and_does_not_follow_the_wall_clock() {
        let (one, two) = (SystemClock.monotonic(), SystemClock.monotonic());
        assert!(two >= one);
        let clock = ManualClock::new(Timestamp::from_seconds(1_000_000));
        let before = clock.moment();
        clock.jump_forward(Duration::from_secs(7200));
        clock.jump_back(Duration::from_secs(9000));
        assert_eq!(clock.now(), before.wall.minus(Duration::from_secs(1800)));
        assert_eq!(clock.monotonic(), before.monotonic);
        assert!(before.monotonic.since(MonotonicTime::LONG_AGO) > Duration::from_secs(1 << 40));
    }
}
