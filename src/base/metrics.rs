//! Declarations of all metrics. Registration and the reference page use this table.

use prometheus::core::Collector;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};
use std::fmt::Write as _;

/// A metric.
pub struct Metric {
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    about: &'static str,
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Requests by origin of the response.
pub const REQUESTS: Metric = Metric {
    name: "narthex_requests_total",
    kind: Kind::Counter,
    labels: &["by", "class"],
    about: "Requests by origin of the response (`narthex` or `upstream`) and class of the status code.",
};
/// Requests by route.
pub const ROUTE_REQUESTS: Metric = Metric {
    name: "narthex_route_requests_total",
    kind: Kind::Counter,
    labels: &["route", "method", "code"],
    about: "Requests by route, method and status code.",
};
/// Durations by route.
pub const REQUEST_DURATION: Metric = Metric {
    name: "narthex_request_duration_seconds",
    kind: Kind::Histogram,
    labels: &["route"],
    about: "Time from the head of the request to the end of the response, by route.",
};
/// Open connections.
pub const CONNECTIONS: Metric =
    Metric { name: "narthex_connections", kind: Kind::Gauge, labels: &[], about: "Open client connections." };
/// Connections closed immediately after they were accepted.
pub const CONNECTIONS_REFUSED: Metric = Metric {
    name: "narthex_connections_refused_total",
    kind: Kind::Counter,
    labels: &["reason"],
    about: "Connections that were closed at once, by reason: `too_many`, `too_many_from_address` or `proxy_header`.",
};
/// Requests refused since too many are in progress.
pub const REQUESTS_REFUSED: Metric = Metric {
    name: "narthex_requests_refused_total",
    kind: Kind::Counter,
    labels: &["reason"],
    about: "Requests that were refused with 503 since too many are in progress, by reason: `too_many` or `too_many_from_address`.",
};
/// Long-lived requests.
pub const STREAMS: Metric = Metric {
    name: "narthex_streams",
    kind: Kind::Gauge,
    labels: &[],
    about: "Open long-lived requests, which end with their session.",
};
/// Requests that policies denied.
pub const ACCESS_DENIED: Metric = Metric {
    name: "narthex_access_denied_total",
    kind: Kind::Counter,
    labels: &["decision"],
    about: "Requests of signed-in users that policies denied, by decision.",
};
/// Sign-ins.
pub const LOGINS: Metric = Metric {
    name: "narthex_logins_total",
    kind: Kind::Counter,
    labels: &["provider", "result"],
    about: "Sign-ins by provider and result: `success`, or the reason of the failure as in the audit log.",
};
/// Requests from app clients.
pub const OAUTH_REQUESTS: Metric = Metric {
    name: "narthex_oauth_requests_total",
    kind: Kind::Counter,
    labels: &["endpoint", "result"],
    about: "Requests of app clients by endpoint and result: `success`, or the error code.",
};
/// Logout tokens for app clients.
pub const CLIENT_LOGOUTS: Metric = Metric {
    name: "narthex_client_logouts_total",
    kind: Kind::Counter,
    labels: &["result"],
    about: "Attempts to notify an app client of the end of a session: `success`, `refused`, `postponed` or `failed`.",
};
/// Requests of the AWS APIs.
pub const API_REQUESTS: Metric = Metric {
    name: "narthex_api_requests_total",
    kind: Kind::Counter,
    labels: &["operation", "result"],
    about: "Requests of the AWS APIs by operation and result: `success`, or the exception.",
};
/// Verified tokens.
pub const BEARER_VERIFICATIONS: Metric = Metric {
    name: "narthex_bearer_verifications_total",
    kind: Kind::Counter,
    labels: &["remembered"],
    about: "Verified bearer tokens, by whether the result is cached. Many with `false` mean programs with a new token for each request.",
};
/// Dropped access log lines.
pub const ACCESS_LOG_DROPPED: Metric = Metric {
    name: "narthex_access_log_dropped_total",
    kind: Kind::Counter,
    labels: &[],
    about: "Lines of the access log that were dropped because its destination is too slow or fails.",
};
/// Nodes with a different configuration.
pub const NODES_DIFFERING: Metric = Metric {
    name: "narthex_nodes_differing",
    kind: Kind::Gauge,
    labels: &[],
    about: "Other nodes whose configuration differs from this node's.",
};
/// Expiry of the SAML certificate.
pub const SAML_CERTIFICATE_EXPIRY: Metric = Metric {
    name: "narthex_saml_certificate_expires_in_seconds",
    kind: Kind::Gauge,
    labels: &[],
    about: "Seconds until the signing SAML certificate expires.",
};
/// Passwords that wait for a hashing thread.
pub const PASSWORD_QUEUE_LENGTH: Metric = Metric {
    name: "narthex_password_queue_length",
    kind: Kind::Gauge,
    labels: &[],
    about: "Passwords that wait for a hashing thread.",
};
/// Time that passwords wait for a hashing thread.
pub const PASSWORD_WAIT: Metric = Metric {
    name: "narthex_password_wait_seconds",
    kind: Kind::Histogram,
    labels: &[],
    about: "Time that a password waited for a hashing thread.",
};
/// Time that a hashing thread works on a password.
pub const PASSWORD_WORK: Metric = Metric {
    name: "narthex_password_work_seconds",
    kind: Kind::Histogram,
    labels: &[],
    about: "Time that a hashing thread worked on a password.",
};
/// Passwords rejected under load.
pub const PASSWORDS_REFUSED: Metric = Metric {
    name: "narthex_passwords_refused_total",
    kind: Kind::Counter,
    labels: &["reason"],
    about: "Passwords that were not hashed since the threads are busy, by reason: `busy` on arrival, `displaced` by another client's, or `expired` in the queue.",
};
/// Lookups of breached passwords.
pub const PASSWORD_BREACH_CHECKS: Metric = Metric {
    name: "narthex_password_breach_checks_total",
    kind: Kind::Counter,
    labels: &["result"],
    about: "Lookups of new passwords in the breached-password service, by result: `clean`, `breached`, or `unavailable`, which accepts the password.",
};

/// Messages by outcome.
pub const MESSAGES: Metric = Metric {
    name: "narthex_messages_total",
    kind: Kind::Counter,
    labels: &["channel", "event", "result"],
    about: "Attempts to send a message by channel (`email` or `sms`), event and result: `sent`, `postponed`, `doubtful` (the \
            outcome is unknown), `dead` (refused for good) or `expired` (not sent before its code expired).",
};
/// Messages that a limit refused.
pub const MESSAGES_REFUSED: Metric = Metric {
    name: "narthex_messages_refused_total",
    kind: Kind::Counter,
    labels: &["channel", "limit"],
    about: "Messages that a limit of `[messages]` refused, by channel and limit.",
};
/// Age of the oldest pending message.
pub const MESSAGES_OLDEST: Metric = Metric {
    name: "narthex_messages_oldest_pending_seconds",
    kind: Kind::Gauge,
    labels: &["channel"],
    about: "Age of the oldest message that waits, by channel; 0 without one.",
};
/// Text messages by country code.
pub const SMS_SENT: Metric = Metric {
    name: "narthex_sms_sent_total",
    kind: Kind::Counter,
    labels: &["prefix"],
    about: "Text messages that were sent, by country code.",
};
/// Codes from text messages that users entered.
pub const SMS_CODES_USED: Metric = Metric {
    name: "narthex_sms_codes_used_total",
    kind: Kind::Counter,
    labels: &["prefix"],
    about: "Codes from text messages that users entered, by country code. Much less than `narthex_sms_sent_total` is a sign \
            of SMS pumping.",
};

/// Calls of functions.
pub const TRIGGER_CALLS: Metric = Metric {
    name: "narthex_trigger_calls_total",
    kind: Kind::Counter,
    labels: &["trigger", "result"],
    about: "Calls of a `[[trigger]]` by result: `success`, `denied`, `timeout`, `unavailable`, `invalid` (the answer), `busy` (too many calls) or `undeclared`.",
};
/// Durations of calls of functions.
pub const TRIGGER_DURATION: Metric = Metric {
    name: "narthex_trigger_duration_seconds",
    kind: Kind::Histogram,
    labels: &["trigger"],
    about: "Time of a call of a `[[trigger]]`, with all its tries.",
};

/// All metrics, in the order of the reference page.
const METRICS: [&Metric; 28] = [
    &REQUESTS,
    &ROUTE_REQUESTS,
    &REQUEST_DURATION,
    &CONNECTIONS,
    &CONNECTIONS_REFUSED,
    &REQUESTS_REFUSED,
    &STREAMS,
    &ACCESS_DENIED,
    &LOGINS,
    &OAUTH_REQUESTS,
    &CLIENT_LOGOUTS,
    &API_REQUESTS,
    &BEARER_VERIFICATIONS,
    &ACCESS_LOG_DROPPED,
    &NODES_DIFFERING,
    &SAML_CERTIFICATE_EXPIRY,
    &PASSWORD_QUEUE_LENGTH,
    &PASSWORD_WAIT,
    &PASSWORD_WORK,
    &PASSWORDS_REFUSED,
    &PASSWORD_BREACH_CHECKS,
    &MESSAGES,
    &MESSAGES_REFUSED,
    &MESSAGES_OLDEST,
    &SMS_SENT,
    &SMS_CODES_USED,
    &TRIGGER_CALLS,
    &TRIGGER_DURATION,
];

impl Metric {
    /// Registers a counter without labels.
    pub fn counter(&self) -> IntCounter {
        self.register(IntCounter::with_opts(self.options()))
    }

    /// Registers a counter for each combination of labels.
    pub fn counters(&self) -> IntCounterVec {
        self.register(IntCounterVec::new(self.options(), self.labels))
    }

    /// Registers a gauge without labels.
    pub fn gauge(&self) -> IntGauge {
        self.register(IntGauge::with_opts(self.options()))
    }

    /// Registers a gauge for each combination of labels.
    pub fn gauges(&self) -> IntGaugeVec {
        self.register(IntGaugeVec::new(self.options(), self.labels))
    }

    /// Registers a histogram for each combination of labels, with these upper bounds.
    pub fn histograms(&self, buckets: &[f64]) -> HistogramVec {
        let options = HistogramOpts::from(self.options()).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, self.labels))
    }

    fn options(&self) -> Opts {
        Opts::new(self.name, self.about)
    }

    /// Registers `metric`. The caller keeps the result in a static, so each metric is registered
    /// once.
    fn register<T: Collector + Clone + 'static>(&self, metric: prometheus::Result<T>) -> T {
        debug_assert!(METRICS.iter().any(|known| known.name == self.name), "{} is not listed", self.name);
        let metric = metric.expect("invariant: the name is valid");
        prometheus::register(Box::new(metric.clone())).expect("invariant: registered once");
        metric
    }
}

const HEAD: &str = "# Metrics

<!-- Generated by: narthex reference metrics -->

`/metrics` on the `admin` address serves metrics in the text format of Prometheus. Metrics of a process that has not used
them yet are absent.

| Metric | Type | Labels | Description |
|---|---|---|---|
";

/// Returns the reference page of metrics, in Markdown.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(page, "| `{}` | {kind} | {} | {} |", metric.name, labels.join(", "), metric.about);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_with_their_kind_or_unit() {
        for metric in METRICS {
            let suffix = match metric.kind {
                Kind::Counter => metric.name.ends_with("_total"),
                Kind::Gauge => !metric.name.ends_with("_total"),
                Kind::Histogram => metric.name.ends_with("_seconds"),
            };
            assert!(suffix && metric.name.starts_with("narthex"), "{}", metric.name);
            assert!(metric.about.ends_with('.') && !metric.about.contains('|'), "{}", metric.about);
        }
    }
}
