//! Metrics of logins and OAuth requests.

use crate::base::metrics;
use prometheus::IntCounterVec;
use std::sync::LazyLock;

static LOGINS: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::LOGINS.counters());

static OAUTH: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::OAUTH_REQUESTS.counters());

/// Counts a request of an app client.
pub fn oauth(endpoint: &'static str, result: &'static str) {
    OAUTH.with_label_values(&[endpoint, result]).inc();
}

/// Counts a login: `result` is `success`, or the audited reason of the refusal.
pub fn login(provider: &str, result: &str) {
    LOGINS.with_label_values(&[provider, result]).inc();
}
