//! Rate limit by key: a burst of events, then one event per interval.

use crate::base::{Clock, Duration, MonotonicTime};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Maximum number of keys with recent events. Events of further keys are not recorded, so those
/// keys are not limited.
const MAX_ENTRIES: usize = 100_000;

/// The longest wait: who causes many events at once must not lock out everybody behind the same
/// address for hours.
const MAX_WAIT: Duration = Duration::from_mins(5);

/// A rate limiter by key, commonly a [`rate_limit_key`] (the generic cell rate algorithm of ITU-T
/// I.371).
pub struct RateLimiter<Who> {
    clock: Arc<dyn Clock>,
    interval: Duration,
    burst: u32,
    /// The theoretical arrival time of each key: when its recorded events no longer limit it.
    arrival_times: Mutex<HashMap<Who, MonotonicTime>>,
}

impl<Who: Eq + Hash> RateLimiter<Who> {
    /// Creates a limiter that allows each key `burst` events at once, then one per `interval`.
    pub fn new(clock: Arc<dyn Clock>, burst: u32, interval: Duration) -> Self {
        Self { clock, interval, burst, arrival_times: Mutex::default() }
    }

    /// Checks that the key `who` may cause another event. Without a key, there is no limit.
    ///
    /// # Errors
    /// Returns the time to wait if the limit is exceeded.
    pub fn check(&self, who: Option<&Who>) -> Result<(), Duration> {
        let Some(paid_off) = who.and_then(|who| self.lock().get(who).copied()) else { return Ok(()) };
        let owed = paid_off.since(self.clock.monotonic());
        match (owed + self.interval).saturating_sub(self.interval * self.burst) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }

    /// Records an event of the key `who`.
    pub fn record(&self, who: Option<Who>) {
        let Some(who) = who else { return };
        let now = self.clock.monotonic();
        let mut paid_off = self.lock();
        if paid_off.len() >= MAX_ENTRIES && !paid_off.contains_key(&who) {
            paid_off.retain(|_, at| *at > now);
            if paid_off.len() >= MAX_ENTRIES {
                return;
            }
        }
        let at = paid_off.entry(who).or_insert(now);
        let latest = now.plus(self.interval * self.burst).plus(MAX_WAIT);
        *at = (*at).max(now).plus(self.interval).min(latest);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Who, MonotonicTime>> {
        // The map is consistent after every statement, so a poisoned lock is usable.
        self.arrival_times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the rate-limit key of an address: an IPv4 address, or the /64 of an IPv6 address. A
/// single IPv6 host commonly has a whole /64 (RFC 6177).
pub fn rate_limit_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ManualClock, Timestamp};

    #[test]
    fn an_address_fails_some_times_at_once_and_then_one_in_every_so_often() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_000)));
        let throttle = RateLimiter::new(clock.clone(), 3, Duration::from_secs(10));
        let address = |text: &str| rate_limit_key(text.parse().unwrap());
        let allows = |text: &str| throttle.check(Some(&address(text)));
        for _ in 0..3 {
            assert_eq!(allows("2001:db8::1"), Ok(()));
            throttle.record(Some(address("2001:db8::1")));
        }
        assert_eq!(allows("2001:db8::2"), Err(Duration::from_secs(10)));
        assert_eq!(allows("192.0.2.1"), Ok(()));
        clock.advance(Duration::from_secs(10));
        assert_eq!(allows("2001:db8::1"), Ok(()));
        throttle.record(Some(address("2001:db8::1")));
        assert_eq!(allows("2001:db8::1"), Err(Duration::from_secs(10)));
    }

    #[test]
    fn a_wait_is_bounded() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_000)));
        let throttle = RateLimiter::new(clock.clone(), 3, Duration::from_secs(10));
        (0..10_000).for_each(|_| throttle.record(Some("one")));
        let wait = throttle.check(Some(&"one")).unwrap_err();
        assert_eq!(wait, MAX_WAIT + Duration::from_secs(10));
        clock.advance(wait);
        assert_eq!(throttle.check(Some(&"one")), Ok(()));
    }

    #[test]
    fn a_jump_of_the_wall_clock_neither_shuts_out_nor_lets_in() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_000_000)));
        let throttle = RateLimiter::new(clock.clone(), 3, Duration::from_secs(10));
        (0..3).for_each(|_| throttle.record(Some("one")));
        assert_eq!(throttle.check(Some(&"one")), Err(Duration::from_secs(10)));
        clock.jump_forward(Duration::from_secs(7200));
        assert_eq!(throttle.check(Some(&"one")), Err(Duration::from_secs(10)));
        throttle.record(Some("one"));
        clock.jump_back(Duration::from_secs(14_400));
        assert_eq!(throttle.check(Some(&"one")), Err(Duration::from_secs(20)));
        clock.advance(Duration::from_secs(20));
        assert_eq!(throttle.check(Some(&"one")), Ok(()));
    }
}
