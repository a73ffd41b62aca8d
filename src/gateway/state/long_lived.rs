//! Long-lived requests: WebSockets, event streams, streaming calls, large bodies. Other requests
//! are authorized once, when they begin. Long-lived requests are authorized repeatedly, so that
//! none outlives its session.

use crate::authn::Guest;
use crate::base::Secret;
use crate::gateway::metrics;
use crate::gateway::request::RequestInfo;
use crate::model::CookieScope;
use http::HeaderMap;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The number of requests that are revalidated concurrently.
const CONCURRENCY: usize = 16;

/// The long-lived requests of this node.
#[derive(Default)]
pub struct LongLivedRequests {
    open: Mutex<HashMap<u64, Watched>>,
    next: AtomicU64,
}

/// A long-lived request, with the channel that ends it.
struct Watched {
    request: Arc<LongRequest>,
    end: oneshot::Sender<()>,
}

/// The properties of a long-lived request when it began.
pub struct LongRequest {
    /// Its credential.
    pub credential: Credential,
    /// Its parsed head.
    pub info: RequestInfo,
    /// Its path, unchanged.
    pub path: String,
    /// The headers that policies may evaluate.
    pub headers: HeaderMap,
}

/// The credential of a long-lived request.
pub enum Credential {
    /// None: the route is public.
    None,
    /// A session.
    Session {
        /// The value of its cookie.
        cookie: String,
        /// The scope of the cookie.
        scope: CookieScope,
        /// The id of the cookie's session when the request began.
        id: String,
    },
    /// A bearer token.
    Bearer(Secret),
    /// A guest's identity.
    Guest(Guest),
}

/// A guard that removes a long-lived request when the request ends.
pub struct StreamGuard {
    streams: Arc<LongLivedRequests>,
    id: u64,
    _counted: metrics::GaugeGuard,
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.streams.lock().remove(&self.id);
    }
}

impl LongLivedRequests {
    /// Registers a request for revalidation. The receiver completes when the request must end.
    pub fn watch(self: &Arc<Self>, request: LongRequest) -> (StreamGuard, oneshot::Receiver<()>) {
        let (end, ended) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(id, Watched { request: Arc::new(request), end });
        (StreamGuard { streams: self.clone(), id, _counted: metrics::stream() }, ended)
    }

    /// Returns the open requests in groups that can be revalidated concurrently. Each request may
    /// cost a read of the database.
    pub fn all(&self) -> Vec<Vec<(u64, Arc<LongRequest>)>> {
        let all: Vec<_> = self.lock().iter().map(|(id, watched)| (*id, watched.request.clone())).collect();
        all.chunks(CONCURRENCY).map(<[_]>::to_vec).collect()
    }

    /// Ends a request, and writes the reason to the audit log.
    pub fn end(&self, id: u64, why: &'static str) {
        let Some(Watched { request, end }) = self.lock().remove(&id) else { return };
        let sid = match &request.credential {
            Credential::Session { id, .. } => Some(id.as_str()),
            Credential::None | Credential::Bearer(_) | Credential::Guest(_) => None,
        };
        let request_id = request.info.request_id.as_str();
        tracing::info!(target: "audit", event = "stream_ended", request_id, sid, reason = why);
        // The receiver no longer exists if the request has just ended.
        _ = end.send(());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Watched>> {
        // The map is consistent after every statement, even after a panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
