//! Limits on the number of connections. The total limit protects the process's resources; the limit
//! per address prevents a client from using all connections.

use crate::authn::rate_limit_key;
use crate::config::Listen;
use crate::gateway::metrics;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The counters of open connections.
#[derive(Default)]
pub struct ConnectionLimiter {
    all: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// The permit of an open connection; dropping it releases the permit.
pub struct ConnectionPermit {
    limiter: Arc<ConnectionLimiter>,
    /// The address whose share it uses; `None` while the address is unknown, and for trusted
    /// proxies.
    address: Option<IpAddr>,
    _counted: metrics::GaugeGuard,
}

impl ConnectionLimiter {
    /// Acquires a permit within the total limit; `None` if the limit is reached.
    pub fn try_acquire(self: &Arc<Self>, listen: &Listen) -> Option<ConnectionPermit> {
        let before = self.all.fetch_add(1, Ordering::Relaxed);
        let place =
            ConnectionPermit { limiter: self.clone(), address: None, _counted: metrics::connection() };
        if before >= listen.connections {
            metrics::refused_connection("too_many");
            return None;
        }
        Some(place)
    }
}

impl ConnectionPermit {
    /// Binds the permit to `address`; `None` if the limit of the address is reached.
    pub fn bind_to_address(mut self, address: IpAddr, listen: &Listen) -> Option<Self> {
        let address = rate_limit_key(address);
        let mut open = self.limiter.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= listen.max_per_address() {
            metrics::refused_connection("too_many_from_address");
            return None;
        }
        *count += 1;
        drop(open);
        self.address = Some(address);
        Some(self)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.limiter.all.fetch_sub(1, Ordering::Relaxed);
        let Some(address) = self.address else { return };
        let mut open = self.limiter.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_by_address_and_given_back() {
        let text = "public_url = \"https://auth.example.com\"";
        let config = crate::config::Config::parse(text, "narthex.toml", std::path::Path::new("."), &|_| None);
        let mut listen = config.unwrap().listen;
        (listen.connections, listen.connections_per_address) = (3, 2);
        let admission = Arc::new(ConnectionLimiter::default());
        let enter = |address: &str| {
            admission.try_acquire(&listen)?.bind_to_address(address.parse().unwrap(), &listen)
        };
        let one = enter("2001:db8::1").unwrap();
        let two = enter("2001:db8::2").unwrap();
        assert!(enter("2001:db8::3").is_none(), "the same /64");
        let other = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.9").is_none(), "no place at all");
        drop(one);
        assert!(enter("2001:db8::3").is_some());
        drop((two, other));
        assert_eq!(admission.all.load(Ordering::Relaxed), 0);
        assert!(admission.by_address.lock().unwrap().is_empty());
    }
}
