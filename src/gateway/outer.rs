//! What ends a request from outside of pingora's proxy, which looks at a request only when bytes move:
//! a head that does not come to its end, and a session that is over while its stream lies idle.

use super::access_log::Record;
use super::connection::Connection;
use super::core::Gateway;
use super::proxy::Door;
use super::silence::{Silence, Verdict};
use super::table::Entry;
use super::upstream_connection::Mark;
use crate::base::{Duration, MonotonicTime};
use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Maximum size of a request head that the h2 crate passes on. It answers a larger one with an empty 431. This limit is
/// above `MAX_HEAD_BYTES`, so that a browser whose cookies slowly grow too large gets a page.
const MAX_H2_HEAD_BYTES: u32 = 64 * 1024;

/// How long a connection may stand between requests: until the next one's head is there in whole.
pub const IDLE: Duration = Duration::from_secs(75);
/// How long the first request's head may take, from the connection's beginning, which the listener sees to.
pub const HEAD: Duration = Duration::from_secs(15);
/// How many bytes of frames an HTTP/2 connection may have in flight towards us: enough for a fast upload
/// over a long way.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How many of them may belong to one stream.
const STREAM_WINDOW: u32 = 512 * 1024;
/// How many bytes of a response wait for a client that does not read.
const SEND_BUFFER: usize = 32 * 1024;
/// How many streams a client may reset before we looked at them (CVE-2023-44487).
const RESETS: usize = 20;

/// pingora's proxy, and what can end its requests from outside.
pub struct Outer {
    proxy: Arc<HttpProxy<Door>>,
    gateway: Arc<Gateway>,
    options: HttpServerOptions,
}

/// What the outside of a request waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wait {
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
struct Current {
    wait: Cell<Wait>,
    silence: RefCell<Option<Silence>>,
    end: RefCell<Option<oneshot::Receiver<()>>>,
    /// When the request's head was read, and the route that it is for.
    begun: Cell<Option<MonotonicTime>>,
    route: RefCell<Option<Arc<Entry>>>,
    /// What the access log is to hold of the request.
    record: RefCell<Option<Box<Record>>>,
}

tokio::task_local! {
    static CURRENT: Current;
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

impl Outer {
    /// The outside of `proxy`.
    pub fn new(proxy: HttpProxy<Door>, gateway: Arc<Gateway>) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(IDLE);
        Self { proxy: Arc::new(proxy), gateway, options }
    }
}

impl Current {
    /// Ready where the upstream was silent for too long and the request must end.
    fn poll_silence(&self, cx: &mut Context<'_>) -> Poll<()> {
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

    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<()> {
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

/// When what is waited for must have come.
struct Deadline {
    wait: Wait,
    /// For the head, by the connection's own timer.
    digest: Option<Arc<ProxyDigest>>,
    head: Option<Instant>,
}

impl Deadline {
    fn new(session: &ServerSession) -> Self {
        let digest = session.digest().and_then(|digest| digest.proxy_digest.clone());
        if let Some(connection) = digest.as_deref().and_then(Connection::in_digest) {
            connection.signals.set_seen(false);
        }
        Self { wait: Wait::Nothing, digest, head: None }
    }

    fn poll(&mut self, current: &Current, cx: &mut Context<'_>) -> Poll<()> {
        let wait = current.wait.get();
        if self.wait != wait {
            self.wait = wait;
            self.head = (wait == Wait::Head).then(|| Instant::now() + IDLE);
        }
        let connection = || self.digest.as_deref().and_then(Connection::in_digest);
        if let Some(deadline) = self.head {
            // Every connection of ours has one; without, nothing is waited for.
            return connection().map_or(Poll::Ready(()), |connection| connection.idle.poll(deadline, cx));
        }
        match wait {
            Wait::Upstream => current.poll_silence(cx),
            Wait::Head | Wait::Nothing => Poll::Pending,
        }
    }
}

#[async_trait]
impl HttpServerApp for Outer {
    // In the form that the attribute gives an `async fn`, which would take the session along in a future of its own: it is
    // large, and moves once for this.
    fn process_new_http<'this, 'watch, 'all>(
        self: &'this Arc<Self>,
        session: ServerSession,
        shutdown: &'watch ShutdownWatch,
    ) -> Pin<Box<dyn Future<Output = Option<ReusedHttpStream>> + Send + 'all>>
    where
        'this: 'all,
        'watch: 'all,
    {
        let mut deadline = Deadline::new(&session);
        let gateway = &self.gateway;
        let mut work = self.proxy.process_new_http(session, shutdown);
        let watched = poll_fn(move |cx| {
            if let Poll::Ready(reusable) = work.as_mut().poll(cx) {
                return Poll::Ready(reusable);
            }
            CURRENT.with(|current| match (deadline.poll(current, cx), current.poll_end(cx)) {
                (Poll::Pending, Poll::Pending) => Poll::Pending,
                _ => {
                    gateway.record_cut(current.record.take(), current.begun.get(), current.route.take());
                    Poll::Ready(None)
                }
            })
        });
        Box::pin(CURRENT.scope(Current::default(), watched))
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options
            .max_header_list_size(MAX_H2_HEAD_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_window_size(STREAM_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(RESETS);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}
