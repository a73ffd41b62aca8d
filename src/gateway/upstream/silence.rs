//! The limit on the silence of an upstream.

use crate::base::Duration;
use crate::gateway::upstream::connection::ConnectionMark;
use pingora_timeout::fast_timeout::fast_sleep;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// The minimum limit after a response has begun, because a slow client then looks like a silent
/// upstream.
const MIN_RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// A timer that limits the silence of an upstream.
pub struct UpstreamSilence {
    timeout: Duration,
    since: Instant,
    connection: Option<ConnectionMark>,
    sleep: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

/// The consequence of an exceeded limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// None, because the upstream's connection was shut down.
    ConnectionEnded,
    /// The request must end.
    EndRequest,
}

impl UpstreamSilence {
    /// Starts a timer of `timeout`.
    pub fn new(timeout: Duration, connection: Option<ConnectionMark>) -> Self {
        Self { timeout, since: Instant::now(), connection, sleep: None }
    }

    /// Restarts the timer after a body chunk was forwarded.
    pub fn interrupt(&mut self) {
        self.since = Instant::now();
    }

    /// Restarts the timer after the response head. Without a handle of the connection, raises the
    /// limit to `MIN_RESPONSE_TIMEOUT`.
    pub fn on_response_head(&mut self) {
        self.interrupt();
        if self.connection.is_none() {
            self.timeout = self.timeout.max(MIN_RESPONSE_TIMEOUT);
        }
    }

    /// Completes when the limit is exceeded.
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
                // The timer was restarted in the meantime.
                continue;
            }
            let Some(connection) = &self.connection else {
                tracing::warn!(timeout = ?self.timeout, "an upstream was silent for longer than its route's timeout");
                return Poll::Ready(Verdict::EndRequest);
            };
            // Unread bytes mean that the client reads slowly, not that the upstream is silent.
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
