//! Clocks, passed as arguments. Code that checks expiry takes a [`Clock`], so that tests control
//! the time and one decision never mixes two readings.
//!
//! # Choice of the clock
//!
//! | Value | Clock |
//! |---|---|
//! | age of a cached value, a fetched document, the last contact with the database | monotonic |
//! | rate limits, deadlines, intervals | monotonic |
//! | idle time of a session in memory | monotonic |
//! | expiry times from others: `exp`, `nbf`, certificates, rows of the database | wall |
//! | times written for others: `iat`, `expires_at`, `Date` | wall |
//! | new entries of the change feed, live nodes | the database's own |
//!
//! Administrators, NTP and hypervisors step the wall clock. The difference of two wall-clock
//! readings is therefore meaningless: a wall-clock time is compared only with a wall-clock time
//! from elsewhere. Caches that depend on the wall clock are reread after a jump, which
//! [`super::JumpDetector`] reports.
//!
//! The monotonic clock is `CLOCK_BOOTTIME` on Linux, because `CLOCK_MONOTONIC`
//! (`std::time::Instant`) stops during suspension: a node that wakes up after a night would
//! consider its cache fresh. On other systems it is `std::time::Instant`, and a suspension appears
//! as a jump. Timers of the runtime use `CLOCK_MONOTONIC`; they schedule work and never decide
//! validity.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

pub use std::time::Duration;

/// A point in time: milliseconds since the Unix epoch, the store's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// A time in the infinite future.
    pub const NEVER: Self = Self(i64::MAX);

    /// Returns the time `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the time `seconds` seconds after the Unix epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Returns the milliseconds since the Unix epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Returns the whole seconds since the Unix epoch, JWT's NumericDate (RFC 7519).
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Adds `duration`; saturates.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(clamp(duration)))
    }

    /// Subtracts `duration`; saturates.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(clamp(duration)))
    }

    /// Returns the duration since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn clamp(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A reading of the monotonic clock, in milliseconds since a machine-specific origin. It is never
/// stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonotonicTime(i64);

impl MonotonicTime {
    /// A time before every reading, longer ago than any limit.
    pub const LONG_AGO: Self = Self(i64::MIN / 2);

    /// Returns the reading `millis` milliseconds after the origin.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the origin.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Adds `duration`; saturates.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(clamp(duration)))
    }

    /// Subtracts `duration`; saturates.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(clamp(duration)))
    }

    /// Returns the duration since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Both clocks, read once for one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Compared with wall-clock times from others.
    pub wall: Timestamp,
    /// Compared with readings of this process.
    pub monotonic: MonotonicTime,
}

/// A source of the current time.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current wall-clock time.
    fn now(&self) -> Timestamp;

    /// Returns the current reading of the monotonic clock.
    fn monotonic(&self) -> MonotonicTime;

    /// Returns the readings of both clocks.
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
    #[allow(clippy::disallowed_methods)] // the only reading of the wall clock
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

/// A clock for tests that advances only explicitly. Its wall clock can jump, as a real
/// one can.
#[derive(Debug)]
pub struct ManualClock {
    wall: AtomicI64,
    monotonic: AtomicI64,
}

impl ManualClock {
    /// Creates a clock that reads `at`.
    pub fn new(at: Timestamp) -> Self {
        // The origin is that of a machine that has just started: no code may depend on it.
        Self { wall: AtomicI64::new(at.millis()), monotonic: AtomicI64::new(0) }
    }

    /// Advances both clocks.
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
