//! What ends a request from outside of pingora's proxy, which looks at a request only when bytes move:
//! a head that does not come to its end, and a session that is over while its stream lies idle.

use super::proxy::Door;
use crate::base::Duration;
use async_trait::async_trait;
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::ShutdownWatch;
use pingora_proxy::HttpProxy;
use pingora_timeout::fast_timeout::fast_sleep;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// How long a connection may stand idle between requests.
pub const IDLE: Duration = Duration::from_secs(75);
/// How long a request's head may take: the first one's from the connection's beginning, which the listener
/// sees to, a later one's from the longest that the connection may have been idle.
pub const HEAD: Duration = Duration::from_secs(15);
/// How many bytes of frames an HTTP/2 connection may have in flight towards us: enough for a fast upload
/// over a long way.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How many of them may belong to one stream.
const STREAM_WINDOW: u32 = 512 * 1024;
/// How many streams a client may reset before we looked at them (CVE-2023-44487).
const RESETS: usize = 20;

/// pingora's proxy, and what can end its requests from outside.
pub struct Outer {
    proxy: Arc<HttpProxy<Door>>,
    options: HttpServerOptions,
}

/// What the inside of a request tells the outside.
#[derive(Default)]
struct Current {
    head_read: Cell<bool>,
    end: RefCell<Option<oneshot::Receiver<()>>>,
}

tokio::task_local! {
    static CURRENT: Current;
}

/// Says that the current request's head was read.
pub fn head_was_read() {
    // Outside of a connection, as in a test of one filter, there is no deadline either.
    _ = CURRENT.try_with(|current| current.head_read.set(true));
}

/// Ends the current request when `end` says so.
pub fn end_when(end: oneshot::Receiver<()>) {
    _ = CURRENT.try_with(|current| current.end.replace(Some(end)));
}

impl Outer {
    /// The outside of `proxy`.
    pub fn new(proxy: HttpProxy<Door>) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2_idle_timeout = Some(IDLE);
        Self { proxy: Arc::new(proxy), options }
    }
}

impl Current {
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

#[async_trait]
impl HttpServerApp for Outer {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let work = async {
            let mut work = pin!(self.proxy.process_new_http(session, shutdown));
            let mut deadline = None;
            poll_fn(|cx| {
                if let Poll::Ready(reusable) = work.as_mut().poll(cx) {
                    return Poll::Ready(reusable);
                }
                CURRENT.with(|current| {
                    if current.head_read.get() {
                        deadline = None;
                        return current.poll_end(cx).map(|()| None);
                    }
                    let sleep = deadline.get_or_insert_with(|| Box::pin(fast_sleep(IDLE + HEAD)));
                    sleep.as_mut().poll(cx).map(|()| None)
                })
            })
            .await
        };
        CURRENT.scope(Current::default(), work).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options
            .max_header_list_size(u32::try_from(super::incoming::LARGEST_HEAD).unwrap_or(u32::MAX))
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_window_size(STREAM_WINDOW)
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
