//! Metrics of functions.

use crate::base::{Duration, metrics};
use prometheus::{HistogramVec, IntCounterVec};
use std::sync::LazyLock;

/// Upper bounds of durations, in seconds: up to three tries of five seconds.
const BUCKETS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0];

static CALLS: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::TRIGGER_CALLS.counters());
static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| metrics::TRIGGER_DURATION.histograms(&BUCKETS));

/// Counts a call.
pub(super) fn count(trigger: &str, result: &str, duration: Duration) {
    CALLS.with_label_values(&[trigger, result]).inc();
    DURATION.with_label_values(&[trigger]).observe(duration.as_secs_f64());
}
