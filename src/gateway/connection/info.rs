//! What the requests on a connection know of it, and it of them.

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

/// What a connection may send before a request begins on it.
const INITIAL_BUDGET: i64 = 64 * 1024;
/// What a sign of use is worth: a request that began, or a piece of a body, beside its own bytes.
const REQUEST_BONUS: i64 = 32 * 1024;
/// What may be saved up.
const MAX_BUDGET: i64 = 1024 * 1024;
/// What is let through of what seems to be of no use, and how often: honest connections send some
/// frames that are no part of a request.
const TRICKLE_RATE: (i64, Duration) = (1024, Duration::from_millis(10));

/// A connection, as its requests see it.
#[derive(Debug)]
pub struct ConnectionInfo {
    /// What a proxy said of it.
    pub proxy_header: Option<ProxyHeader>,
    /// What it may send.
    pub budget: Arc<ReadBudget>,
    /// When it has been idle for too long.
    pub idle: SharedTimer,
    /// What is signalled between its requests and the stream that checks them.
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

    /// Notes that the connection speaks another protocol from now on.
    pub fn set_upgraded(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
    }

    /// Returns whether the connection speaks another protocol.
    pub fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Relaxed)
    }

    /// Notes that the current request's body is malformed.
    pub fn set_malformed(&self) {
        self.malformed.store(true, Ordering::Relaxed);
    }

    /// Returns whether the current request's body is malformed.
    pub fn is_malformed(&self) -> bool {
        self.malformed.load(Ordering::Relaxed)
    }
}

/// One timer for all that is waited for on a connection, one thing after another: to make one for
/// each request costs more than most of what is done for it.
#[derive(Debug, Default)]
pub struct SharedTimer(Mutex<Option<Pin<Box<Sleep>>>>);

impl SharedTimer {
    /// Ready at `deadline`, or somewhat later; never, while another waits for it. Deadlines follow
    /// one another in time.
    pub fn poll(&self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let Ok(mut sleep) = self.0.try_lock() else { return Poll::Pending };
        let sleep = sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        while sleep.as_mut().poll(cx).is_ready() {
            if deadline <= Instant::now() {
                return Poll::Ready(());
            }
            // It was set for something that has come since.
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl ConnectionInfo {
    /// The form in which pingora carries it from the connection to each request.
    pub fn into_digest(self) -> Option<ProxyDigest> {
        let nothing = ResponseHeader::build(200, None).ok()?;
        Some(ProxyDigest::new(Box::new(nothing), Some(Box::new(self))))
    }

    /// The connection that a request came by.
    pub fn of(session: &Session) -> Option<&Self> {
        Self::in_digest(session.digest()?.proxy_digest.as_ref()?)
    }

    /// The connection in the form in which pingora carries it.
    pub fn in_digest(digest: &ProxyDigest) -> Option<&Self> {
        digest.user_data.as_ref()?.downcast_ref()
    }
}

/// Notes that the connection is of use: a request began, or `bytes` of a body went either way.
pub fn record_activity(session: &Session, bytes: usize) {
    if let Some(connection) = ConnectionInfo::of(session) {
        connection.budget.earn(bytes);
    }
}

/// Returns the signals of the connection that the request came by.
pub fn signals(session: &Session) -> Option<&Signals> {
    ConnectionInfo::of(session).map(|connection| &*connection.signals)
}

/// How many bytes a connection may send. Requests and bodies earn more; frames that only make work,
/// such as a flood of PING or SETTINGS, use it up, and then come at a trickle.
#[derive(Debug)]
pub struct ReadBudget {
    remaining: AtomicI64,
    reader: AtomicWaker,
    used: AtomicBool,
}

impl ReadBudget {
    /// What a connection begins with.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            remaining: AtomicI64::new(INITIAL_BUDGET),
            reader: AtomicWaker::new(),
            used: AtomicBool::new(false),
        })
    }

    /// Ready if nothing has been of use within `time`; never, if something was.
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

    /// How many bytes may be read now; at least one, so that it is never taken for the end.
    pub fn remaining(&self) -> u64 {
        u64::try_from(self.remaining.load(Ordering::Relaxed)).unwrap_or(0).max(1)
    }

    /// Notes that `bytes` were read.
    pub fn spend(&self, bytes: usize) {
        self.remaining.fetch_sub(i64::try_from(bytes).unwrap_or(MAX_BUDGET), Ordering::Relaxed);
    }

    /// Ready as soon as more may be read; `pause` is what it waits on meanwhile.
    pub fn poll(&self, cx: &mut Context<'_>, pause: &mut Option<Pin<Box<Sleep>>>) -> Poll<()> {
        if self.remaining.load(Ordering::Relaxed) > 0 {
            return Poll::Ready(());
        }
        self.reader.register(cx.waker());
        let (amount, every) = TRICKLE_RATE;
        let sleep = pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(every)));
        if sleep.as_mut().poll(cx).is_ready() {
            sleep.as_mut().reset(Instant::now() + every);
            // However deep in debt it is: the trickle is what it gets.
            self.remaining.store(amount, Ordering::Relaxed);
            return Poll::Ready(());
        }
        match self.remaining.load(Ordering::Relaxed) > 0 {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}
