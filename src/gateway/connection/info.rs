//! Data that a connection and its requests share.

use crate::base::Duration;
use crate::gateway::connection::proxy_protocol::ProxyHeader;
use futures_util::task::AtomicWaker;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep};

/// The initial read budget of a connection in bytes.
const INITIAL_BUDGET: i64 = 64 * 1024;
/// The bytes that each activity adds to the budget, beside its own bytes: a request that began, or
/// a body chunk.
const REQUEST_BONUS: i64 = 32 * 1024;
/// The budget in bytes above which activity adds nothing.
const MAX_BUDGET: i64 = 1024 * 1024;
/// The number of bytes per interval that a connection without budget may send. Legitimate
/// connections also send some frames that belong to no request.
const TRICKLE_RATE: (i64, Duration) = (1024, Duration::from_millis(10));

/// The data of a connection that its requests use.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// The PROXY header of the connection.
    pub proxy_header: Option<ProxyHeader>,
    /// The read budget.
    pub budget: Arc<ReadBudget>,
    /// The timer of the idle timeout.
    pub idle: SharedTimer,
    /// The signals between its requests and the stream that checks them.
    pub signals: Arc<Signals>,
}

/// Signals between the requests of an HTTP/1.1 connection and the stream that checks their framing.
#[derive(Debug, Default)]
pub struct Signals {
    seen: AtomicBool,
    upgraded: AtomicBool,
    malformed: AtomicBool,
}

impl Signals {
    /// Sets whether the gateway has seen the current request. Before that, only the HTTP parser
    /// writes.
    pub fn set_seen(&self, seen: bool) {
        self.seen.store(seen, Ordering::Relaxed);
    }

    /// Returns whether the gateway has seen the current request.
    pub fn is_seen(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }

    /// Records that the connection uses another protocol from now on.
    pub fn set_upgraded(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    /// Returns whether the connection uses another protocol.
    pub fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Relaxed)
    }

    /// Records that the current request's body is malformed.
    pub fn set_malformed(&self) {
        self.malformed.store(true, Ordering::Relaxed);
    }

    /// Returns whether the current request's body is malformed.
    pub fn is_malformed(&self) -> bool {
        self.malformed.load(Ordering::Relaxed)
    }
}

/// A timer that consecutive waits on a connection share. Creating a timer for each request would
/// cost more than most of its other steps.
#[derive(Debug, Default)]
pub struct SharedTimer(Mutex<Option<Pin<Box<Sleep>>>>);

impl SharedTimer {
    /// Completes at `deadline` or somewhat later; never while another task polls the timer.
    /// Consecutive deadlines must not decrease.
    pub fn poll(&self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let Ok(mut sleep) = self.0.try_lock() else { return Poll::Pending };
        let sleep = sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        while sleep.as_mut().poll(cx).is_ready() {
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            // The timer was set for an earlier deadline.
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl ConnectionInfo {
    /// Returns the form in which pingora carries the data from the connection to each request.
    pub fn into_digest(self) -> Option<ProxyDigest> {
        let nothing = ResponseHeader::build(200, None).ok()?;
        Some(ProxyDigest::new(Box::new(nothing), Some(Box::new(self))))
    }

    /// Returns the data of a request's connection.
    pub fn of(session: &Session) -> Option<&Self> {
        Self::in_digest(session.digest()?.proxy_digest.as_ref()?)
    }

    /// Returns the data from the form in which pingora carries it.
    pub fn in_digest(digest: &ProxyDigest) -> Option<&Self> {
        digest.user_data.as_ref()?.downcast_ref()
    }
}

/// Records activity on the connection: a request began, or `bytes` of a body were transferred in
/// either direction.
pub fn record_activity(session: &Session, bytes: usize) {
    if let Some(connection) = ConnectionInfo::of(session) {
        connection.budget.earn(bytes);
    }
}

/// Returns the signals of the request's connection.
pub fn signals(session: &Session) -> Option<&Signals> {
    ConnectionInfo::of(session).map(|connection| &*connection.signals)
}

/// The number of bytes that may be read from a connection. Requests and bodies increase it. Frames
/// that only cause work, such as a flood of PING or SETTINGS, use it up; then the connection is
/// read at `TRICKLE_RATE`.
#[derive(Debug)]
pub struct ReadBudget {
    remaining: AtomicI64,
    reader: AtomicWaker,
    used: AtomicBool,
}

impl ReadBudget {
    /// Returns the budget of a new connection.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            remaining: AtomicI64::new(INITIAL_BUDGET),
            reader: AtomicWaker::new(),
            used: AtomicBool::new(false),
        })
    }

    /// Completes if there was no activity within `time`; never completes otherwise.
    pub async fn unused_for(&self, time: Duration) {
        let mut sleep = pin!(tokio::time::sleep(time));
        poll_fn(|cx| match self.used.load(Ordering::Relaxed) {
            true => Poll::Pending,
            false => sleep.as_mut().poll(cx),
        })
        .await;
    }

    fn earn(&self, bytes: usize) {
        self.used.store(true, Ordering::Relaxed);
        let worth = REQUEST_BONUS + i64::try_from(bytes).unwrap_or(MAX_BUDGET);
        let before = self.remaining.fetch_add(worth, Ordering::Relaxed);
        if before > MAX_BUDGET {
            self.remaining.fetch_sub(worth, Ordering::Relaxed);
        }
        if before <= 0 {
            self.reader.wake();
        }
    }

    /// Returns the number of bytes that may be read now. The result is at least one, because a read
    /// of zero bytes means the end of the stream.
    pub fn remaining(&self) -> u64 {
        u64::try_from(self.remaining.load(Ordering::Relaxed)).unwrap_or(0).max(1)
    }

    /// Subtracts `bytes` that were read.
    pub fn spend(&self, bytes: usize) {
        self.remaining.fetch_sub(i64::try_from(bytes).unwrap_or(MAX_BUDGET), Ordering::Relaxed);
    }

    /// Completes when more may be read. `pause` stores the timer of the wait.
    pub fn poll(&self, cx: &mut Context<'_>, pause: &mut Option<Pin<Box<Sleep>>>) -> Poll<()> {
        if self.remaining.load(Ordering::Relaxed) > 0 {
            return Poll::Ready(());
        }
        self.reader.register(cx.waker());
        let (amount, every) = TRICKLE_RATE;
        let sleep = pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(every)));
        if sleep.as_mut().poll(cx).is_ready() {
            sleep.as_mut().reset(Instant::now() + every);
            // A negative budget is reset to the trickle, however large the excess is.
            self.remaining.store(amount, Ordering::Relaxed);
            return Poll::Ready(());
        }
        match self.remaining.load(Ordering::Relaxed) > 0 {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}
