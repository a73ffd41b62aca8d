//! Limits the requests in progress at upstreams. An HTTP/2 connection carries many requests, and
//! each uses up to two open files.

use crate::authn::rate_limit_key;
use crate::config::Listen;
use crate::gateway::metrics;
use foldhash::quality::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of counters by address. Addresses with the same counter share its limit. The hash has
/// a random key, so clients cannot choose addresses with the same counter.
const SLOTS: usize = 1 << 16;

/// The counters of requests in progress. They have no lock, because every request takes a permit.
pub struct RequestLimiter {
    all: AtomicUsize,
    by_address: Box<[AtomicUsize]>,
    hasher: RandomState,
}

/// The permit of one request; dropping it releases the permit.
pub struct RequestPermit {
    limiter: Arc<RequestLimiter>,
    slot: Option<usize>,
}

impl RequestLimiter {
    /// Creates a limiter without requests.
    pub fn new() -> Self {
        let by_address = std::iter::repeat_with(AtomicUsize::default).take(SLOTS).collect();
        Self { all: AtomicUsize::new(0), by_address, hasher: RandomState::default() }
    }

    /// Acquires a permit for a request from `address`, if the address is known. The total limit and
    /// the limit per address are those of connections.
    ///
    /// # Errors
    /// The exceeded limit, for logs and metrics.
    pub fn try_acquire(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        listen: &Listen,
    ) -> Result<RequestPermit, &'static str> {
        let slot = address.map(|address| {
            usize::try_from(self.hasher.hash_one(rate_limit_key(address))).unwrap_or_default() % SLOTS
        });
        let permit = RequestPermit { limiter: self.clone(), slot };
        let all = self.all.fetch_add(1, Ordering::Relaxed);
        let of_address = permit.counter().map_or(0, |counter| counter.fetch_add(1, Ordering::Relaxed));
        let reason = match (all >= listen.connections, of_address >= listen.max_per_address()) {
            (true, _) => "too_many",
            (_, true) => "too_many_from_address",
            _ => return Ok(permit),
        };
        metrics::refused_request(reason);
        Err(reason)
    }
}

impl RequestPermit {
    fn counter(&self) -> Option<&AtomicUsize> {
        self.limiter.by_address.get(self.slot?)
    }
}

impl Drop for RequestPermit {
    fn drop(&mut self) {
        self.limiter.all.fetch_sub(1, Ordering::Relaxed);
        if let Some(counter) = self.counter() {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_limited_by_address_and_altogether_and_given_back() {
        let text = "public_url = \"https://auth.example.com\"";
        let config = crate::config::Config::parse(text, "narthex.toml", std::path::Path::new("."), &|_| None);
        let mut listen = config.unwrap().listen;
        (listen.connections, listen.connections_per_address) = (3, 2);
        let limiter = Arc::new(RequestLimiter::new());
        let acquire = |address: &str| limiter.try_acquire(Some(address.parse().unwrap()), &listen);
        let one = acquire("2001:db8::1").ok().unwrap();
        let two = acquire("2001:db8::2").ok().unwrap();
        assert_eq!(acquire("2001:db8::3").err(), Some("too_many_from_address"), "the same /64");
        let unknown = limiter.try_acquire(None, &listen).ok().unwrap();
        assert_eq!(limiter.try_acquire(None, &listen).err(), Some("too_many"));
        drop(one);
        assert!(acquire("2001:db8::3").is_ok());
        drop((two, unknown));
        assert_eq!(limiter.all.load(Ordering::Relaxed), 0);
        assert!(limiter.by_address.iter().all(|counter| counter.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn one_address_never_takes_every_share_whatever_its_own_limit() {
        let text = "public_url = \"https://auth.example.com\"";
        let config = crate::config::Config::parse(text, "narthex.toml", std::path::Path::new("."), &|_| None);
        let mut listen = config.unwrap().listen;
        (listen.connections, listen.connections_per_address) = (20, 1000);
        let limiter = Arc::new(RequestLimiter::new());
        let acquire = |address: &str| limiter.try_acquire(Some(address.parse().unwrap()), &listen);
        let held: Vec<_> = std::iter::from_fn(|| acquire("192.0.2.1").ok()).take(100).collect();
        assert_eq!(held.len(), 18);
        assert!(acquire("192.0.2.2").is_ok());
    }
}
