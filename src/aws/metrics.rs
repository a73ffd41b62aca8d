//! Metrics of the AWS APIs.

use crate::base::metrics;
use prometheus::IntCounterVec;
use std::sync::LazyLock;

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::API_REQUESTS.counters());

/// Counts a request: `result` is `success` or the name of the exception.
pub fn request(operation: &'static str, result: &'static str) {
    REQUESTS.with_label_values(&[operation, result]).inc();
}
