//! The public keys of app clients that authenticate with a key.

use crate::base::Clock;
use crate::catalogue::AppClient;
use crate::provider::{IssuerKeys, ProviderHttpClient};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The keys of app clients, fetched when a client first authenticates.
pub struct ClientKeys {
    outbound: ProviderHttpClient,
    clock: Arc<dyn Clock>,
    /// By client id. Only clients of the configuration have keys.
    known: Mutex<HashMap<String, Arc<IssuerKeys>>>,
}

impl ClientKeys {
    /// Creates an empty cache.
    pub fn new(outbound: ProviderHttpClient, clock: Arc<dyn Clock>) -> Self {
        Self { outbound, clock, known: Mutex::default() }
    }

    /// Returns the keys of `client`, if it has any. A change of their source drops the cached keys.
    pub fn of(&self, client: &AppClient) -> Option<Arc<IssuerKeys>> {
        let source = client.keys.as_ref()?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = known.get(&client.id).filter(|keys| keys.issuer() == source) {
            return Some(keys.clone());
        }
        let keys = IssuerKeys::new(source.clone(), self.outbound.clone(), self.clock.clone());
        let keys = Arc::new(keys);
        known.insert(client.id.clone(), keys.clone());
        Some(keys)
    }
}
