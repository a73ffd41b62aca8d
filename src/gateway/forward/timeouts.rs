//! Deadlines and cancellation around pingora's proxy, whose filters run only on I/O. They end
//! requests with an incomplete head, a silent upstream, or a session that ends while the stream is
//! idle.

use crate::base::Duration;
use crate::gateway::connection::ConnectionInfo;
use crate::gateway::state::gateway::Gateway;
use crate::gateway::state::request_state::{CURRENT, Phase, RequestState};
use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::server::ShutdownWatch;
use pingora_proxy::{HttpProxy, ProxyHttp};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// Maximum size of a request head in bytes that the h2 crate passes on. The crate responds to a
/// larger one with an empty 431. This limit is above `MAX_HEAD_BYTES`, so that a browser with too
/// large cookies gets a page.
const MAX_H2_HEAD_BYTES: u32 = 64 * 1024;

/// The timeout of an idle connection, until the head of the next request is complete.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(75);
/// The timeout for the head of the first request, after the TLS handshake. The listener enforces
/// it.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// The HTTP/2 flow-control window of a connection in bytes: enough for a fast upload over a
/// connection with high latency.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// The flow-control window of a stream in bytes.
const STREAM_WINDOW: u32 = 512 * 1024;
/// The maximum number of buffered response bytes of a stream whose client does not read.
const SEND_BUFFER: usize = 32 * 1024;
/// The maximum number of streams that a client may reset before they are accepted (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;

/// pingora's proxy with deadlines and cancellation.
pub struct RequestTimeouts<P> {
    proxy: Arc<HttpProxy<P>>,
    gateway: Arc<Gateway>,
    options: HttpServerOptions,
}

impl<P> RequestTimeouts<P> {
    /// Adds deadlines and cancellation to `proxy`.
    pub fn new(proxy: HttpProxy<P>, gateway: Arc<Gateway>) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(KEEPALIVE_TIMEOUT);
        Self { proxy: Arc::new(proxy), gateway, options }
    }
}

/// The current deadline of a request.
struct Deadline {
    wait: Phase,
    /// The connection's data, with the timer for request heads.
    digest: Option<Arc<ProxyDigest>>,
    head: Option<Instant>,
}

impl Deadline {
    fn new(session: &ServerSession) -> Self {
        let digest = session.digest().and_then(|digest| digest.proxy_digest.clone());
        if let Some(connection) = digest.as_deref().and_then(ConnectionInfo::in_digest) {
            connection.signals.set_seen(false);
        }
        Self { wait: Phase::NoDeadline, digest, head: None }
    }

    fn poll(&mut self, current: &RequestState, cx: &mut Context<'_>) -> Poll<()> {
        let wait = current.phase.get();
        if self.wait != wait {
            self.wait = wait;
            self.head = (wait == Phase::RequestHead).then(|| Instant::now() + KEEPALIVE_TIMEOUT);
        }
        let connection = || self.digest.as_deref().and_then(ConnectionInfo::in_digest);
        if let Some(deadline) = self.head {
            // Every connection of Narthex's listeners has a timer. Without one, the deadline is
            // exceeded at once.
            return connection().map_or(Poll::Ready(()), |connection| connection.idle.poll(deadline, cx));
        }
        match wait {
            Phase::Upstream => current.poll_silence(cx),
            Phase::RequestHead | Phase::NoDeadline => Poll::Pending,
        }
    }
}

#[async_trait]
impl<P> HttpServerApp for RequestTimeouts<P>
where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync,
{
    // This is the expanded form of an `async fn`. An `async fn` would move the session into a
    // future of its own, and the session is large. Here it moves once.
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
                    gateway.record_cut(current.record.take(), current.started_at.get(), current.route.take());
                    Poll::Ready(None)
                }
            })
        });
        Box::pin(CURRENT.scope(RequestState::default(), watched))
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options
            .max_header_list_size(MAX_H2_HEAD_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_window_size(STREAM_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }

    async fn http_cleanup(&self) {
        self.proxy.http_cleanup().await;
    }
}
