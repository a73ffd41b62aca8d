//! When a session's provider must be asked again, one request of many asks; the others go on, or wait
//! for the same answer.

use crate::base::{Duration, Timestamp};
use crate::broker::Broker;
use crate::catalogue::Current;
use crate::store::{Change, StoreError};
use moka::future::Cache;
use std::sync::Arc;

/// How many renewals are remembered.
const CAPACITY: u64 = 20_000;
/// How long requests wait for one.
const PATIENCE: Duration = Duration::from_secs(12);

/// The renewals of this node.
pub struct Renewals {
    broker: Arc<Broker>,
    catalogue: Arc<Current>,
    /// By the session and the moment at which its tokens were due: whoever comes late with the same
    /// finds the answer, and asks no more.
    done: Cache<(String, i64), Arc<Vec<Change>>>,
}

impl Renewals {
    /// Renewals by `broker`.
    pub fn new(broker: Arc<Broker>, catalogue: Arc<Current>) -> Self {
        Self { broker, catalogue, done: Cache::new(CAPACITY) }
    }

    /// Renews what was due at `due_at`, unless that was done already; answers what changed.
    pub async fn run(&self, session_id: &str, due_at: Timestamp) -> Result<Arc<Vec<Change>>, StoreError> {
        let key = (session_id.to_owned(), due_at.millis());
        let work = async {
            let (broker, catalogue, id) = (self.broker.clone(), self.catalogue.load(), session_id.to_owned());
            // A task of its own: a visitor who goes away must not break it off half-way.
            let renewal = tokio::spawn(async move { broker.renew(&catalogue, &id).await });
            renewal.await.unwrap_or(Err(StoreError::Timeout)).map(Arc::new)
        };
        let waiting = self.done.try_get_with(key, work);
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(done) => done.map_err(|error| Arc::try_unwrap(error).unwrap_or(StoreError::Timeout)),
            Err(_) => Err(StoreError::Timeout),
        }
    }
}
