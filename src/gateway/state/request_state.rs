//! What a request's filters leave for the deadlines around pingora's proxy, and for the access log.

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

/// What the outside of a request waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// The end of the client's head.
    #[default]
    RequestHead,
    /// The upstream, which must not be silent for longer than its route's timeout.
    Upstream,
    /// Nothing that has a deadline here.
    NoDeadline,
}

/// The state of a request that its filters set and its deadlines read.
#[derive(Default)]
pub struct RequestState {
    /// The deadline that applies now.
    pub phase: Cell<Phase>,
    /// The limit on the upstream's silence.
    pub silence: RefCell<Option<UpstreamSilence>>,
    /// Ends the request.
    pub end: RefCell<Option<oneshot::Receiver<()>>>,
    /// When the request's head was read.
    pub started_at: Cell<Option<MonotonicTime>>,
    /// The route of the request.
    pub route: RefCell<Option<Arc<RouteEntry>>>,
    /// What the access log is to hold of the request.
    pub record: RefCell<Option<Box<AccessRecord>>>,
}

tokio::task_local! {
    /// The state of the current request.
    pub static CURRENT: RequestState;
}

/// Says that the current request's head was read.
pub fn on_request_head() {
    // Outside of a connection, as in a test of one filter, there is no deadline either.
    _ = CURRENT.try_with(|current| current.phase.set(Phase::NoDeadline));
}

/// Limits how long the upstream of the current request may be silent. Only the head of its response
/// shows whether it may be silent for longer, and pingora's own read timeout cannot be changed by
/// then.
///
/// `connection` is the upstream's connection where it carries no other request: it is ended, and
/// pingora answers 502. Without one the request itself is ended.
pub fn limit_silence(timeout: Duration, connection: Option<ConnectionMark>) {
    _ = CURRENT.try_with(|current| {
        current.silence.replace(Some(UpstreamSilence::new(timeout, connection)));
        current.phase.set(Phase::Upstream);
    });
}

/// Notes that a piece of a body passed in either direction.
pub fn record_upstream_activity() {
    _ = CURRENT.try_with(|current| {
        if let Some(silence) = &mut *current.silence.borrow_mut() {
            silence.interrupt();
        }
    });
}

/// Notes that the upstream's response began.
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

/// Ends the current request when `end` says so.
pub fn cancel_on(end: oneshot::Receiver<()>) {
    _ = CURRENT.try_with(|current| current.end.replace(Some(end)));
}

/// Notes when the current request's head was read.
pub fn set_started_at(at: MonotonicTime) {
    _ = CURRENT.try_with(|current| current.started_at.set(Some(at)));
}

/// Notes the route of the current request.
pub fn set_route(entry: &Arc<RouteEntry>) {
    _ = CURRENT.try_with(|current| current.route.replace(Some(entry.clone())));
}

/// When the current request's head was read, and its route.
pub fn started_at_and_route() -> (Option<MonotonicTime>, Option<Arc<RouteEntry>>) {
    CURRENT.try_with(|current| (current.started_at.get(), current.route.take())).unwrap_or_default()
}

/// Begins the record of the current request.
pub fn set_record(record: Box<AccessRecord>) {
    _ = CURRENT.try_with(|current| current.record.replace(Some(record)));
}

/// Changes the record of the current request, where there is one.
pub fn with_record(change: impl FnOnce(&mut AccessRecord)) {
    _ = CURRENT.try_with(|current| current.record.borrow_mut().as_deref_mut().map(change));
}

/// Takes the record of the current request.
pub fn take_record() -> Option<Box<AccessRecord>> {
    CURRENT.try_with(|current| current.record.take()).ok().flatten()
}

impl RequestState {
    /// Ready where the upstream was silent for too long and the request must end.
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

    /// Ready where the request was ended by [`cancel_on`].
    pub fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut end = self.end.borrow_mut();
        let Some(receiver) = &mut *end else { return Poll::Pending };
        match Pin::new(receiver).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(()),
            // Nobody is left who could end it.
            Poll::Ready(Err(_)) => {
                *end = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
