//! Shares of the concurrent calls to an introspection endpoint. Anyone can make up tokens, so one
//! client network gets a few calls, and tokens that were active before have calls of their own.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many calls for new tokens are under way.
const MAX_CALLS: usize = 32;
/// How many of them are for the tokens of one client network.
const MAX_CALLS_PER_NETWORK: usize = 8;
/// How many calls for tokens that were active before are under way.
const RESERVED_CALLS: usize = 16;

/// The calls under way.
pub struct CallShares {
    calls: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    /// The networks with calls, waiting ones included.
    networks: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// One call; it ends when this is dropped.
pub struct CallPermit {
    _call: OwnedSemaphorePermit,
    _network: Option<OwnedSemaphorePermit>,
}

impl CallShares {
    pub fn new() -> Self {
        Self {
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
            reserved: Arc::new(Semaphore::new(RESERVED_CALLS)),
            networks: Mutex::default(),
        }
    }

    /// Waits for a call: a reserved one for a token that was active before, else one from the share
    /// of `network`.
    pub async fn acquire(&self, network: Option<IpAddr>, was_active: bool) -> Option<CallPermit> {
        if was_active {
            let call = self.reserved.clone().acquire_owned().await.ok()?;
            return Some(CallPermit { _call: call, _network: None });
        }
        let share = network.map(|network| self.share(network));
        let network = match share {
            Some(share) => Some(share.acquire_owned().await.ok()?),
            None => None,
        };
        let call = self.calls.clone().acquire_owned().await.ok()?;
        Some(CallPermit { _call: call, _network: network })
    }

    /// The share of a network. Shares that no call uses are dropped.
    fn share(&self, network: IpAddr) -> Arc<Semaphore> {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = networks.get(&network) {
            return share.clone();
        }
        // Calls and waiting tokens hold their share.
        networks.retain(|_, share| Arc::strong_count(share) > 1);
        networks.entry(network).or_insert_with(|| Arc::new(Semaphore::new(MAX_CALLS_PER_NETWORK))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn a_network_has_its_share_and_active_tokens_have_calls_of_their_own() {
        let shares = CallShares::new();
        let network = |last| Some(IpAddr::from([192, 0, 2, last]));
        let acquire = |network, was_active| shares.acquire(network, was_active).now_or_never().flatten();
        let first: Vec<_> = (0..MAX_CALLS_PER_NETWORK).map(|_| acquire(network(1), false).unwrap()).collect();
        assert!(acquire(network(1), false).is_none(), "one network takes more than its share");
        let mut others: Vec<_> = (2..5)
            .flat_map(|last| (0..MAX_CALLS_PER_NETWORK).map(move |_| last))
            .map(|last| acquire(network(last), false).unwrap())
            .collect();
        assert!(acquire(network(9), false).is_none() && acquire(None, false).is_none());
        let _reserved: Vec<_> = (0..RESERVED_CALLS).map(|_| acquire(network(1), true).unwrap()).collect();
        others.clear();
        drop(first);
        assert!(acquire(network(1), false).is_some());
        assert!(shares.networks.lock().unwrap().len() <= 5);
    }
}
