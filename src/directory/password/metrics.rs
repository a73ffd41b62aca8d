//! Metrics of password hashing.

use crate::base::{Duration, metrics};
use prometheus::{HistogramVec, IntCounterVec, IntGauge};
use std::sync::LazyLock;

/// Upper bounds of the histograms, in seconds. One hash takes 0.02 to 0.1 s.
const BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

static QUEUE_LENGTH: LazyLock<IntGauge> = LazyLock::new(|| metrics::PASSWORD_QUEUE_LENGTH.gauge());
static WAIT: LazyLock<HistogramVec> = LazyLock::new(|| metrics::PASSWORD_WAIT.histograms(&BUCKETS));
static WORK: LazyLock<HistogramVec> = LazyLock::new(|| metrics::PASSWORD_WORK.histograms(&BUCKETS));
static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::PASSWORDS_REFUSED.counters());
static BREACH_CHECKS: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::PASSWORD_BREACH_CHECKS.counters());

/// Sets the number of waiting passwords.
pub fn set_queue_length(length: usize) {
    QUEUE_LENGTH.set(i64::try_from(length).unwrap_or(i64::MAX));
}

/// Records the time that a password waited for a thread.
pub fn observe_wait(wait: Duration) {
    WAIT.with_label_values(&[]).observe(wait.as_secs_f64());
}

/// Records the time that a thread worked on a password.
pub fn observe_work(work: Duration) {
    WORK.with_label_values(&[]).observe(work.as_secs_f64());
}

/// Counts a refused password.
pub fn count_refused(reason: &str) {
    REFUSED.with_label_values(&[reason]).inc();
}

/// Counts a lookup of a breached password.
pub fn count_breach_check(result: &str) {
    BREACH_CHECKS.with_label_values(&[result]).inc();
}

/// Returns the number of lookups with this result.
#[cfg(test)]
pub fn breach_checks(result: &str) -> u64 {
    BREACH_CHECKS.with_label_values(&[result]).get()
}

/// Returns the number of refused passwords with this reason.
#[cfg(test)]
pub fn refused(reason: &str) -> u64 {
    REFUSED.with_label_values(&[reason]).get()
}
