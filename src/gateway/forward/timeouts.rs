//! What ends a request from outside of pingora's proxy, which looks at a request only when bytes
//! move: a head that does not come to its end, and a session that is over while its stream lies
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

/// Maximum size of a request head that the h2 crate passes on. It answers a larger one with an
/// empty 431. This limit is above `MAX_HEAD_BYTES`, so that a browser whose cookies slowly grow too
/// large gets a page.
const MAX_H2_HEAD_BYTES: u32 = 64 * 1024;

/// How long a connection may stand between requests: until the next one's head is there in whole.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long the first request's head may take, from the connection's beginning, which the listener
/// sees to.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How many bytes of frames an HTTP/2 connection may have in flight towards us: enough for a fast
/// upload over a long way.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How many of them may belong to one stream.
const STREAM_WINDOW: u32 = 512 * 1024;
/// How many bytes of a response wait for a client that does not read.
const SEND_BUFFER: usize = 32 * 1024;
/// How many streams a client may reset before we looked at them (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;

/// pingora's proxy, and what can end its requests from outside.
pub struct RequestTimeouts<P> {
    proxy: Arc<HttpProxy<P>>,
    gateway: Arc<Gateway>,
    options: HttpServerOptions,
}

impl<P> RequestTimeouts<P> {
    /// The outside of `proxy`.
    pub fn new(proxy: HttpProxy<P>, gateway: Arc<Gateway>) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(KEEPALIVE_TIMEOUT);
        Self { proxy: Arc::new(proxy), gateway, options }
    }
}

/// When what is waited for must have come.
struct Deadline {
    wait: Phase,
    /// For the head, by the connection's own timer.
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
            // Every connection of ours has one; without, nothing is waited for.
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
    // In the form that the attribute gives an `async fn`, which would take the session along in a
    // future of its own: it is large, and moves once for this.
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
