//! Metrics of logins and OAuth requests.

use crate::base::metrics;
use prometheus::IntCounterVec;
use std::sync::LazyLock;

static LOGINS: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::LOGINS.counters());

static OAUTH: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::OAUTH_REQUESTS.counters());

static CLIENT_LOGOUTS: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::CLIENT_LOGOUTS.counters());

/// Counts an attempt to notify an app client of the end of a session.
pub fn client_logout(result: &'static str) {
    CLIENT_LOGOUTS.with_label_values(&[result]).inc();
}

/// Counts a request of an app client.
pub fn oauth(endpoint: &'static str, result: &'static str) {
    OAUTH.with_label_values(&[endpoint, result]).inc();
}

/// Counts a login: `result` is `success`, or the audited reason of the refusal.
pub fn login(provider: &str, result: &str) {
    LOGINS.with_label_values(&[provider, result]).inc();
}
