//! What the requests on a connection know of it, and it of them.

use crate::base::Duration;
use crate::gateway::connection::proxy_protocol::Told;
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
const AT_FIRST: i64 = 64 * 1024;
/// What a sign of use is worth: a request that began, or a piece of a body, beside its own bytes.
const A_SIGN: i64 = 32 * 1024;
/// What may be saved up.
const AT_MOST: i64 = 1024 * 1024;
/// What is let through of what seems to be of no use, and how often: honest connections send some frames
/// that are no part of a request.
const TRICKLE: (i64, Duration) = (1024, Duration::from_millis(10));

/// A connection, as its requests see it.
#[derive(Debug)]
pub struct Connection {
    /// What a proxy said of it.
    pub told: Option<Told>,
    /// What it may send.
    pub credit: Arc<Credit>,
    /// When it has been idle for too long.
    pub idle: Alarm,
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
    /// Sets whether the gateway has seen the current request. Before that, only the HTTP parser writes.
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

/// One timer for all that is waited for on a connection, one thing after another: to make one for each request costs
/// more than most of what is done for it.
#[derive(Debug, Default)]
pub struct Alarm(Mutex<Option<Pin<Box<Sleep>>>>);

impl Alarm {
    /// Ready at `deadline`, or somewhat later; never, while another waits for it. Deadlines follow one another in time.
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

impl Connection {
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
pub fn is_of_use(session: &Session, bytes: usize) {
    if let Some(connection) = Connection::of(session) {
        connection.credit.earn(bytes);
    }
}

/// Returns the signals of the connection that the request came by.
pub fn signals(session: &Session) -> Option<&Signals> {
    Connection::of(session).map(|connection| &*connection.signals)
}

/// How many bytes a connection may send. Requests and bodies earn more; frames that only make work, such
/// as a flood of PING or SETTINGS, use it up, and then come at a trickle.
#[derive(Debug)]
pub struct Credit {
    left: AtomicI64,
    reader: AtomicWaker,
    used: AtomicBool,
}

impl Credit {
    /// What a connection begins with.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            left: AtomicI64::new(AT_FIRST),
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
        let worth = A_SIGN + i64::try_from(bytes).unwrap_or(AT_MOST);
        let before = self.left.fetch_add(worth, Ordering::Relaxed);
        if before > AT_MOST {
            self.left.fetch_sub(worth, Ordering::Relaxed);
        }
        if before <= 0 {
            self.reader.wake();
        }
    }

    /// How many bytes may be read now; at least one, so that it is never taken for the end.
    pub fn left(&self) -> u64 {
        u64::try_from(self.left.load(Ordering::Relaxed)).unwrap_or(0).max(1)
    }

    /// Notes that `bytes` were read.
    pub fn spend(&self, bytes: usize) {
        self.left.fetch_sub(i64::try_from(bytes).unwrap_or(AT_MOST), Ordering::Relaxed);
    }

    /// Ready as soon as more may be read; `pause` is what it waits on meanwhile.
    pub fn poll(&self, cx: &mut Context<'_>, pause: &mut Option<Pin<Box<Sleep>>>) -> Poll<()> {
        if self.left.load(Ordering::Relaxed) > 0 {
            return Poll::Ready(());
        }
        self.reader.register(cx.waker());
        let (amount, every) = TRICKLE;
        let sleep = pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(every)));
        if sleep.as_mut().poll(cx).is_ready() {
            sleep.as_mut().reset(Instant::now() + every);
            // However deep in debt it is: the trickle is what it gets.
            self.left.store(amount, Ordering::Relaxed);
            return Poll::Ready(());
        }
        match self.left.load(Ordering::Relaxed) > 0 {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}
