//! The state that a request's filters set for the deadlines around pingora's proxy, and for the
//! access log.

use crate::base::{Duration, MonotonicTime};
use crate::gateway::access_log::AccessRecord;
use crate::gateway::state::routes::RouteEntry;
use crate::gateway::upstream::connection::ConnectionMark;
use crate::gateway::upstream::silence::{UpstreamSilence, Verdict};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// The event to which the current deadline applies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// The end of the request's head.
    #[default]
    RequestHead,
    /// Activity of the upstream, which must not be silent for longer than its route's timeout.
    Upstream,
    /// No event: no deadline applies.
    NoDeadline,
}

/// The state of a request that its filters set and its deadlines read.
#[derive(Default)]
pub struct RequestState {
    /// The current phase, which determines the deadline.
    pub phase: Cell<Phase>,
    /// The limit on the upstream's silence.
    pub silence: RefCell<Option<UpstreamSilence>>,
    /// The signal that ends the request.
    pub end: RefCell<Option<oneshot::Receiver<()>>>,
    /// The time at which the request's head was read.
    pub started_at: Cell<Option<MonotonicTime>>,
    /// The route of the request.
    pub route: RefCell<Option<Arc<RouteEntry>>>,
    /// The record of the request for the access log.
    pub record: RefCell<Option<Box<AccessRecord>>>,
}

tokio::task_local! {
    /// The state of the current request.
    pub static CURRENT: RequestState;
}

/// Records that the current request's head was read.
pub fn on_request_head() {
    // Outside of a connection, as in a test of one filter, there is no state and no deadline.
    _ = CURRENT.try_with(|current| current.phase.set(Phase::NoDeadline));
}

/// Limits the silence of the current request's upstream. Only the response head shows whether the
/// upstream may be silent for longer, and then pingora's read timeout cannot be changed any more.
///
/// `connection` is the upstream's connection if it carries no other request. After the timeout it
/// is shut down, and pingora responds with 502. Without it, the request itself is ended.
pub fn limit_silence(timeout: Duration, connection: Option<ConnectionMark>) {
    _ = CURRENT.try_with(|current| {
        current.silence.replace(Some(UpstreamSilence::new(timeout, connection)));
        current.phase.set(Phase::Upstream);
    });
}

/// Records that a body chunk was transferred in either direction.
pub fn record_upstream_activity() {
    _ = CURRENT.try_with(|current| {
        if let Some(silence) = &mut *current.silence.borrow_mut() {
            silence.interrupt();
        }
    });
}

/// Records that the upstream's response began.
pub fn on_response_head() {
    _ = CURRENT.try_with(|current| {
        if let Some(silence) = &mut *current.silence.borrow_mut() {
            silence.on_response_head();
        }
    });
}

/// Lifts the limit on the upstream's silence.
pub fn allow_silence() {
    _ = CURRENT.try_with(|current| {
        current.silence.replace(None);
        current.phase.set(Phase::NoDeadline);
    });
}

/// Ends the current request when a message arrives on `end`.
pub fn cancel_on(end: oneshot::Receiver<()>) {
    _ = CURRENT.try_with(|current| current.end.replace(Some(end)));
}

/// Records the time at which the current request's head was read.
pub fn set_started_at(at: MonotonicTime) {
    _ = CURRENT.try_with(|current| current.started_at.set(Some(at)));
}

/// Records the route of the current request.
pub fn set_route(entry: &Arc<RouteEntry>) {
    _ = CURRENT.try_with(|current| current.route.replace(Some(entry.clone())));
}

/// Returns the time at which the current request's head was read, and takes its route.
pub fn started_at_and_route() -> (Option<MonotonicTime>, Option<Arc<RouteEntry>>) {
    CURRENT.try_with(|current| (current.started_at.get(), current.route.take())).unwrap_or_default()
}

/// Begins the record of the current request.
pub fn set_record(record: Box<AccessRecord>) {
    _ = CURRENT.try_with(|current| current.record.replace(Some(record)));
}

/// Changes the record of the current request, if it has one.
pub fn with_record(change: impl FnOnce(&mut AccessRecord)) {
    _ = CURRENT.try_with(|current| current.record.borrow_mut().as_deref_mut().map(change));
}

/// Takes the record of the current request.
pub fn take_record() -> Option<Box<AccessRecord>> {
    CURRENT.try_with(|current| current.record.take()).ok().flatten()
}

impl RequestState {
    /// Completes when the upstream was silent for too long and the request must end.
    pub fn poll_silence(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut silence = self.silence.borrow_mut();
        let Some(current) = &mut *silence else { return Poll::Pending };
        match current.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(verdict) => {
                *silence = None;
                self.phase.set(Phase::NoDeadline);
                if verdict == Verdict::EndRequest { Poll::Ready(()) } else { Poll::Pending }
            }
        }
    }

    /// Completes when the request is ended through [`cancel_on`].
    pub fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut end = self.end.borrow_mut();
        let Some(receiver) = &mut *end else { return Poll::Pending };
        match Pin::new(receiver).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            // The sender was dropped, so the request can no longer be ended.
            Poll::Ready(Err(_)) => {
                *end = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
