//! What a request's filters leave for the deadlines around pingora's proxy, and for the access log.

use crate::base::{Duration, MonotonicTime};
use crate::gateway::access_log::Record;
use crate::gateway::state::routes::Entry;
use crate::gateway::upstream::connection::Mark;
use crate::gateway::upstream::silence::{Silence, Verdict};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// What the outside of a request waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// The end of the client's head.
    #[default]
    Head,
    /// The upstream, which must not be silent for longer than its route's timeout.
    Upstream,
    /// Nothing that has a deadline here.
    Nothing,
}

/// What the inside of a request tells the outside.
#[derive(Default)]
pub struct Current {
    /// The deadline that applies now.
    pub wait: Cell<Wait>,
    /// The limit on the upstream's silence.
    pub silence: RefCell<Option<Silence>>,
    /// Ends the request.
    pub end: RefCell<Option<oneshot::Receiver<()>>>,
    /// When the request's head was read.
    pub begun: Cell<Option<MonotonicTime>>,
    /// The route of the request.
    pub route: RefCell<Option<Arc<Entry>>>,
    /// What the access log is to hold of the request.
    pub record: RefCell<Option<Box<Record>>>,
}

tokio::task_local! {
    /// The state of the current request.
    pub static CURRENT: Current;
}

/// Says that the current request's head was read.
pub fn head_was_read() {
    // Outside of a connection, as in a test of one filter, there is no deadline either.
    _ = CURRENT.try_with(|current| current.wait.set(Wait::Nothing));
}

/// Limits how long the upstream of the current request may be silent. Only the head of its response tells whether it may be
/// silent for longer, and pingora's own read timeout cannot be changed by then.
///
/// `connection` is the upstream's connection where it carries no other request: it is ended, and pingora answers 502.
/// Without one the request itself is ended.
pub fn limit_silence(timeout: Duration, connection: Option<Mark>) {
    _ = CURRENT.try_with(|current| {
        current.silence.replace(Some(Silence::new(timeout, connection)));
        current.wait.set(Wait::Upstream);
    });
}

/// Notes that a piece of a body passed in either direction.
pub fn upstream_is_active() {
    _ = CURRENT.try_with(|current| {
        if let Some(silence) = &mut *current.silence.borrow_mut() {
            silence.interrupt();
        }
    });
}

/// Notes that the upstream's response began.
pub fn response_begins() {
    _ = CURRENT.try_with(|current| {
        if let Some(silence) = &mut *current.silence.borrow_mut() {
            silence.response_begins();
        }
    });
}

/// Lifts the limit on the upstream's silence.
pub fn allow_silence() {
    _ = CURRENT.try_with(|current| {
        current.silence.replace(None);
        current.wait.set(Wait::Nothing);
    });
}

/// Ends the current request when `end` says so.
pub fn end_when(end: oneshot::Receiver<()>) {
    _ = CURRENT.try_with(|current| current.end.replace(Some(end)));
}

/// Notes when the current request's head was read.
pub fn note_begun(at: MonotonicTime) {
    _ = CURRENT.try_with(|current| current.begun.set(Some(at)));
}

/// Notes the route of the current request.
pub fn note_route(entry: &Arc<Entry>) {
    _ = CURRENT.try_with(|current| current.route.replace(Some(entry.clone())));
}

/// When the current request's head was read, and its route.
pub fn begun_and_route() -> (Option<MonotonicTime>, Option<Arc<Entry>>) {
    CURRENT.try_with(|current| (current.begun.get(), current.route.take())).unwrap_or_default()
}

/// Begins the record of the current request.
pub fn set_record(record: Box<Record>) {
    _ = CURRENT.try_with(|current| current.record.replace(Some(record)));
}

/// Changes the record of the current request, where there is one.
pub fn with_record(change: impl FnOnce(&mut Record)) {
    _ = CURRENT.try_with(|current| current.record.borrow_mut().as_deref_mut().map(change));
}

/// Takes the record of the current request.
pub fn take_record() -> Option<Box<Record>> {
    CURRENT.try_with(|current| current.record.take()).ok().flatten()
}

impl Current {
    /// Ready where the upstream was silent for too long and the request must end.
    pub fn poll_silence(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut silence = self.silence.borrow_mut();
        let Some(current) = &mut *silence else { return Poll::Pending };
        match current.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(verdict) => {
                *silence = None;
                self.wait.set(Wait::Nothing);
                if verdict == Verdict::EndRequest { Poll::Ready(()) } else { Poll::Pending }
            }
        }
    }

    /// Ready where the request was ended by [`end_when`].
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
