//! Counters of the request path. Each is looked up by name once, then only incremented.

use crate::base::metrics;
use prometheus::{IntCounter, IntCounterVec, IntGauge};
use std::sync::LazyLock;

struct ResponseCounters {
    proxied: [IntCounter; 6],
    own: [IntCounter; 6],
}

static RESPONSES: LazyLock<ResponseCounters> = LazyLock::new(|| {
    let family: IntCounterVec = metrics::REQUESTS.counters();
    let classes = |by: &str| {
        ["none", "1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| family.with_label_values(&[by, class]))
    };
    ResponseCounters { proxied: classes("upstream"), own: classes("narthex") }
});

static CONNECTIONS: LazyLock<IntGauge> = LazyLock::new(|| metrics::CONNECTIONS.gauge());

static STREAMS: LazyLock<IntGauge> = LazyLock::new(|| metrics::STREAMS.gauge());

static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::CONNECTIONS_REFUSED.counters());

static REQUESTS_REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::REQUESTS_REFUSED.counters());
static DENIED: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::ACCESS_DENIED.counters());

/// Counts a request that a policy or an allow list denied.
pub fn denied(decision: &str) {
    DENIED.with_label_values(&[decision]).inc();
}

/// Counts a connection that was closed before its first request.
pub fn refused_connection(reason: &str) {
    REFUSED.with_label_values(&[reason]).inc();
}

/// Counts a request that was refused because too many are in progress.
pub fn refused_request(reason: &str) {
    REQUESTS_REFUSED.with_label_values(&[reason]).inc();
}

/// Counts a response; `status` 0 means no response.
pub fn response(proxied: bool, status: u16) {
    let of = if proxied { &RESPONSES.proxied } else { &RESPONSES.own };
    if let Some(counter) = of.get(usize::from(status / 100)) {
        counter.inc();
    }
}

/// A guard that decrements a gauge when it is dropped.
pub struct GaugeGuard(&'static IntGauge);

impl GaugeGuard {
    fn new(gauge: &'static IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts an open connection until the guard is dropped.
pub fn connection() -> GaugeGuard {
    GaugeGuard::new(&CONNECTIONS)
}

/// Counts a long-lived request until the guard is dropped.
pub fn stream() -> GaugeGuard {
    GaugeGuard::new(&STREAMS)
}
