//! Counts of logins, and of what programs ask for.

use prometheus::{IntCounterVec, register_int_counter_vec};
use std::sync::LazyLock;

static LOGINS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "narthex_logins_total",
        "Logins that came back from a provider, by what came of them.",
        &["provider", "result"]
    )
    .expect("invariant: registered once, under a valid name")
});

static OAUTH: LazyLock<IntCounterVec> = LazyLock::new(|| {
    register_int_counter_vec!(
        "narthex_oauth_requests_total",
        "Requests of app clients, by what came of them: success, or the error's code.",
        &["endpoint", "result"]
    )
    .expect("invariant: registered once, under a valid name")
});

/// Counts a request of an app client.
pub fn oauth(endpoint: &'static str, result: &'static str) {
    OAUTH.with_label_values(&[endpoint, result]).inc();
}

/// Counts a login: `result` is `success`, or the reason of the refusal as the audit has it.
pub fn login(provider: &str, result: &str) {
    LOGINS.with_label_values(&[provider, result]).inc();
}
