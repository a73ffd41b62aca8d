//! When a session's provider must be asked again, one request of many asks; the others go on, or
//! wait for the same answer.

use crate::base::{Duration, Timestamp};
use crate::broker::Broker;
use crate::catalogue::CatalogueCell;
use crate::store::{Change, StoreError};
use moka::future::Cache;
use std::sync::Arc;
use tokio::sync::RwLock;

/// How many renewals are remembered.
const CACHE_CAPACITY: u64 = 20_000;
/// How long a result is cached: later requests find it in the session itself.
const RESULT_TTL: Duration = Duration::from_secs(60);
/// How long requests wait for one.
const WAIT_TIMEOUT: Duration = Duration::from_secs(12);

/// The renewals of this node.
pub struct Renewals {
    broker: Arc<Broker>,
    catalogue: Arc<CatalogueCell>,
    /// By the session and the moment at which its tokens were due: a late request with the same
    /// finds the answer, and asks no more.
    done: Cache<(String, i64), Arc<Vec<Change>>>,
    /// Held by every renewal that is under way, so that the end can wait for them.
    under_way: Arc<RwLock<()>>,
}

impl Renewals {
    /// Renewals by `broker`.
    pub fn new(broker: Arc<Broker>, catalogue: Arc<CatalogueCell>) -> Self {
        let done = Cache::builder().max_capacity(CACHE_CAPACITY).time_to_live(RESULT_TTL).build();
        Self { broker, catalogue, done, under_way: Arc::default() }
    }

    /// Waits until no renewal is under way, and lets none begin: a refresh token that was used and
    /// not replaced would be lost.
    pub async fn drain(&self) {
        let none = tokio::time::timeout(WAIT_TIMEOUT, self.under_way.clone().write_owned());
        match none.await {
            // Held for ever: the process ends.
            Ok(guard) => std::mem::forget(guard),
            Err(_) => {
                tracing::warn!("a renewal at a provider was cut off: its session may have to sign in anew")
            }
        }
    }

    /// Renews what was due at `due_at`, unless that was done already; answers what changed.
    pub async fn run(&self, session_id: &str, due_at: Timestamp) -> Result<Arc<Vec<Change>>, StoreError> {
        let key = (session_id.to_owned(), due_at.millis());
        let work = async {
            let (broker, catalogue, id) = (self.broker.clone(), self.catalogue.load(), session_id.to_owned());
            // A task of its own: a visitor who goes away must not break it off half-way.
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
