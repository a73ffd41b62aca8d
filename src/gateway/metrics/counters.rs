//! Counters of the request path: taken once by name, then only added to.

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

/// Counts a request that policies did not let pass.
pub fn denied(decision: &str) {
    DENIED.with_label_values(&[decision]).inc();
}

/// Counts a connection that was closed unheard.
pub fn refused_connection(reason: &str) {
    REFUSED.with_label_values(&[reason]).inc();
}

/// Counts a request that was refused since too many are in progress.
pub fn refused_request(reason: &str) {
    REQUESTS_REFUSED.with_label_values(&[reason]).inc();
}

/// Counts an answer; `status` 0 is none.
pub fn response(proxied: bool, status: u16) {
    let of = if proxied { &RESPONSES.proxied } else { &RESPONSES.own };
    if let Some(counter) = of.get(usize::from(status / 100)) {
        counter.inc();
    }
}

/// Something that is counted as long as it lives.
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

/// Counts a connection.
pub fn connection() -> GaugeGuard {
    GaugeGuard::new(&CONNECTIONS)
}

/// Counts a request that goes on for long.
pub fn stream() -> GaugeGuard {
    GaugeGuard::new(&STREAMS)
}
