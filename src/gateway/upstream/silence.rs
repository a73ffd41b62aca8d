//! The limit on how long an upstream may be silent.

use crate::base::Duration;
use crate::gateway::upstream::connection::ConnectionMark;
use pingora_timeout::fast_timeout::fast_sleep;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// The least limit once a response has begun, where a slow client looks like a silent upstream.
const MIN_RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long an upstream may be silent, and since when it is.
pub struct UpstreamSilence {
    timeout: Duration,
    since: Instant,
    connection: Option<ConnectionMark>,
    sleep: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

/// What follows where the limit is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing more: the upstream's connection was ended.
    ConnectionEnded,
    /// The request must end.
    EndRequest,
}

impl UpstreamSilence {
    /// A limit of `timeout` from now on.
    pub fn new(timeout: Duration, connection: Option<ConnectionMark>) -> Self {
        Self { timeout, since: Instant::now(), connection, sleep: None }
    }

    /// Restarts the time: a piece of a body passed.
    pub fn interrupt(&mut self) {
        self.since = Instant::now();
    }

    /// Restarts the time: the head of the response is there, and its body is handed on.
    pub fn on_response_head(&mut self) {
        self.interrupt();
        if self.connection.is_none() {
            self.timeout = self.timeout.max(MIN_RESPONSE_TIMEOUT);
        }
    }

    /// Ready once the limit is exceeded.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Verdict> {
        loop {
            let (now, end) = (Instant::now(), self.since + self.timeout);
            let sleep =
                self.sleep.get_or_insert_with(|| Box::pin(fast_sleep(end.saturating_duration_since(now))));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.sleep = None;
            if Instant::now() < end {
                // Something passed while the timer ran.
                continue;
            }
            let Some(connection) = &self.connection else {
                tracing::warn!(timeout = ?self.timeout, "an upstream was silent for longer than its route's timeout");
                return Poll::Ready(Verdict::EndRequest);
            };
            // What waits to be read is waiting for a client that reads slowly.
            if connection.has_unread() {
                self.since = Instant::now();
                continue;
            }
            tracing::warn!(timeout = ?self.timeout, "an upstream was silent for longer than its route's timeout");
            connection.end_silent();
            return Poll::Ready(Verdict::ConnectionEnded);
        }
    }
}
