//! Requests that go on for long: WebSockets, event streams, calls that stream, large bodies. A session
//! is judged when a request begins; these are judged again and again, so that none outlives it.

use super::metrics;
use crate::access::{Sessions, SignedIn};
use crate::model::CookieScope;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// How many sessions are looked at side by side: each may cost a read of the store.
const SIDE_BY_SIDE: usize = 16;

/// The long requests of this node that speak for somebody.
#[derive(Default)]
pub struct Streams {
    open: Mutex<HashMap<u64, Watched>>,
    next: AtomicU64,
}

/// A long request.
struct Watched {
    credential: Credential,
    request_id: String,
    end: oneshot::Sender<()>,
}

/// What a long request speaks with.
#[derive(Clone)]
pub struct Credential {
    /// The text of the session's cookie.
    pub cookie: String,
    /// Where it counts.
    pub scope: CookieScope,
    /// The session that it stood for when the request began.
    pub session: String,
}

/// A long request, as long as it lives.
pub struct Open {
    streams: Arc<Streams>,
    id: u64,
    _counted: metrics::Counted,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.streams.lock().remove(&self.id);
    }
}

impl Streams {
    /// Watches over a request that speaks with `credential`. The receiver says when it must end.
    pub fn watch(
        self: &Arc<Self>,
        credential: Credential,
        request_id: &str,
    ) -> (Open, oneshot::Receiver<()>) {
        let (end, ended) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(id, Watched { credential, request_id: request_id.to_owned(), end });
        (Open { streams: self.clone(), id, _counted: metrics::stream() }, ended)
    }

    /// Ends every request whose session does not stand any more. Where that cannot be known, since the
    /// store was silent too long, it ends too, as a new request would be refused.
    pub async fn end_those_over(&self, sessions: &Arc<Sessions>) {
        let all: Vec<(u64, Credential)> =
            self.lock().iter().map(|(id, watched)| (*id, watched.credential.clone())).collect();
        for some in all.chunks(SIDE_BY_SIDE) {
            let judged = some.iter().map(|(id, credential)| async move {
                let stands = sessions.still(&credential.cookie, &credential.scope).await;
                let same = |principal: &SignedIn| principal.session().id == credential.session;
                (*id, stands.is_ok_and(|principal| principal.as_ref().is_some_and(same)))
            });
            for (id, stands) in futures_util::future::join_all(judged).await {
                if !stands && let Some(watched) = self.lock().remove(&id) {
                    tracing::info!(
                        target: "audit",
                        event = "stream_ended",
                        request_id = watched.request_id,
                        sid = watched.credential.session,
                        "its session is over"
                    );
                    // Nobody listens where it ended by itself just now.
                    _ = watched.end.send(());
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Watched>> {
        // What this lock guards is whole after every statement.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
