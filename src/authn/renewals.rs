//! Renewal of sessions at their providers. Concurrent requests of a session share one renewal: they
//! continue, or wait for its result.

use crate::base::{Duration, Timestamp};
use crate::broker::Broker;
use crate::catalogue::CatalogueCell;
use crate::store::{Change, StoreError};
use moka::future::Cache;
use std::sync::Arc;
use tokio::sync::RwLock;

/// Maximum number of cached results.
const CACHE_CAPACITY: u64 = 20_000;
/// Lifetime of a cached result. Later requests read the renewed session instead.
const RESULT_TTL: Duration = Duration::from_secs(60);
/// Maximum time that a request, or the shutdown, waits for renewals.
const WAIT_TIMEOUT: Duration = Duration::from_secs(12);

/// The renewals of this node.
pub struct Renewals {
    broker: Arc<Broker>,
    catalogue: Arc<CatalogueCell>,
    /// Results by session id and due time of the tokens, in milliseconds. A late request with the
    /// same key uses the result and causes no second renewal.
    done: Cache<(String, i64), Arc<Vec<Change>>>,
    /// Read-locked by every renewal in progress, so that the shutdown can wait for them.
    under_way: Arc<RwLock<()>>,
}

impl Renewals {
    /// Creates the renewals, which `broker` executes.
    pub fn new(broker: Arc<Broker>, catalogue: Arc<CatalogueCell>) -> Self {
        let done = Cache::builder().max_capacity(CACHE_CAPACITY).time_to_live(RESULT_TTL).build();
        Self { broker, catalogue, done, under_way: Arc::default() }
    }

    /// Waits until no renewal is in progress, for at most 12 seconds, and prevents new ones. An
    /// interrupted renewal can lose its session: the old refresh token was used and the new one was
    /// not stored.
    pub async fn drain(&self) {
        let none = tokio::time::timeout(WAIT_TIMEOUT, self.under_way.clone().write_owned());
        match none.await {
            // Never release the lock, because the process is about to exit.
            Ok(guard) => std::mem::forget(guard),
            Err(_) => {
                tracing::warn!("a renewal at a provider was cut off: its session may have to sign in anew")
            }
        }
    }

    /// Renews the tokens that were due at `due_at`, unless another request did; returns the
    /// changes.
    pub async fn run(&self, session_id: &str, due_at: Timestamp) -> Result<Arc<Vec<Change>>, StoreError> {
        let key = (session_id.to_owned(), due_at.millis());
        let work = async {
            let (broker, catalogue, id) = (self.broker.clone(), self.catalogue.load(), session_id.to_owned());
            // A separate task, so that a client that disconnects does not cancel the renewal.
            let Ok(under_way) = self.under_way.clone().try_read_owned() else {
                return Err(StoreError::Timeout);
            };
            let renewal = tokio::spawn(async move {
                let _under_way = under_way;
                broker.renew(&catalogue, &id).await
            });
            renewal.await.unwrap_or(Err(StoreError::Timeout)).map(Arc::new)
        };
        let waiting = self.done.try_get_with(key, work);
        match tokio::time::timeout(WAIT_TIMEOUT, waiting).await {
            Ok(done) => done.map_err(|error| Arc::try_unwrap(error).unwrap_or(StoreError::Timeout)),
            Err(_) => Err(StoreError::Timeout),
        }
    }
}
