//! Requests that go on for long: WebSockets, event streams, calls that stream, large bodies. A
//! session is judged when a request begins; these are judged again and again, so that none outlives
//! it.

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

/// How many requests are looked at side by side.
const CONCURRENCY: usize = 16;

/// The long requests of this node that speak for somebody.
#[derive(Default)]
pub struct LongLivedRequests {
    open: Mutex<HashMap<u64, Watched>>,
    next: AtomicU64,
}

/// A long request.
struct Watched {
    request: Arc<LongRequest>,
    end: oneshot::Sender<()>,
}

/// What a long request was when it began.
pub struct LongRequest {
    /// What it speaks with.
    pub credential: Credential,
    /// Its head, as it was read.
    pub info: RequestInfo,
    /// Its path, as it came.
    pub path: String,
    /// Those of its headers that policies may ask for.
    pub headers: HeaderMap,
}

/// What a long request speaks with.
pub enum Credential {
    /// None: the route is public.
    None,
    /// A session.
    Session {
        /// The text of its cookie.
        cookie: String,
        /// Where that is valid.
        scope: CookieScope,
        /// The session that it stood for when the request began.
        id: String,
    },
    /// A bearer token.
    Bearer(Secret),
    /// A guest's identity.
    Guest(Guest),
}

/// A long request, as long as it lives.
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
    /// Watches over a request. The receiver says when it must end.
    pub fn watch(self: &Arc<Self>, request: LongRequest) -> (StreamGuard, oneshot::Receiver<()>) {
        let (end, ended) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(id, Watched { request: Arc::new(request), end });
        (StreamGuard { streams: self.clone(), id, _counted: metrics::stream() }, ended)
    }

    /// Those that are open, in parts that can be looked at side by side: each may cost a read of
    /// the store.
    pub fn all(&self) -> Vec<Vec<(u64, Arc<LongRequest>)>> {
        let all: Vec<_> = self.lock().iter().map(|(id, watched)| (*id, watched.request.clone())).collect();
        all.chunks(CONCURRENCY).map(<[_]>::to_vec).collect()
    }

    /// Ends one of them.
    pub fn end(&self, id: u64, why: &'static str) {
        let Some(Watched { request, end }) = self.lock().remove(&id) else { return };
        let sid = match &request.credential {
            Credential::Session { id, .. } => Some(id.as_str()),
            Credential::None | Credential::Bearer(_) | Credential::Guest(_) => None,
        };
        let request_id = request.info.request_id.as_str();
        tracing::info!(target: "audit", event = "stream_ended", request_id, sid, reason = why);
        // Nobody listens where it ended by itself just now.
        _ = end.send(());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Watched>> {
        // What this lock guards is whole after every statement.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
