//! Counts and durations of requests by route. Labels are routes of the configuration, a few methods
//! and known status codes, so that clients cannot create series.

use crate::base::metrics;
use http::Method;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

/// The upper bounds of the histogram's buckets, in seconds.
const BUCKETS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// The methods with a label of their own. Their series are created on first use.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];
/// Status codes that have a label of their own; others have that of their class.
const CODES: [u16; 44] = [
    101, 200, 201, 202, 203, 204, 205, 206, 207, 300, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404,
    405, 406, 408, 409, 410, 411, 412, 413, 414, 415, 416, 422, 423, 429, 431, 499, 500, 501, 502, 503, 504,
    507, 508,
];
/// The labels of the classes; the first is that of a request without a response.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
const SLOTS: usize = CODES.len() + CLASSES.len();

static DURATIONS: LazyLock<HistogramVec> = LazyLock::new(|| metrics::REQUEST_DURATION.histograms(&BUCKETS));

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::ROUTE_REQUESTS.counters());

/// The metrics of one route. Each is looked up by name once, then only updated.
pub struct RouteMetrics {
    route: String,
    duration: Histogram,
    /// By method, then by status code; created on first use.
    counts: [OnceLock<Box<[OnceLock<IntCounter>; SLOTS]>>; METHODS.len()],
}

impl RouteMetrics {
    /// Creates the metrics of the route with this name.
    pub fn new(route: &str) -> Self {
        Self {
            route: route.to_owned(),
            duration: DURATIONS.with_label_values(&[route]),
            counts: Default::default(),
        }
    }

    /// Counts a request and its response; `status` 0 means no response.
    pub fn observe(&self, method: &Method, status: u16, duration: Duration) {
        self.duration.observe(duration.as_secs_f64());
        let others = METHODS.len() - 1;
        let method = METHODS[..others].iter().position(|known| *known == method.as_str()).unwrap_or(others);
        let slot = slot(status);
        let codes = self.counts[method].get_or_init(|| Box::new([const { OnceLock::new() }; SLOTS]));
        let counter = codes[slot].get_or_init(|| {
            let code = CODES.get(slot).map_or_else(|| CLASSES[slot - CODES.len()].to_owned(), u16::to_string);
            REQUESTS.with_label_values(&[&*self.route, METHODS[method], &*code])
        });
        counter.inc();
    }
}

/// Returns the index of a status code's label.
fn slot(status: u16) -> usize {
    CODES.binary_search(&status).unwrap_or_else(|_| {
        let class = usize::from(status / 100);
        CODES.len() + if class < CLASSES.len() { class } else { 0 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_few_whatever_methods_and_codes_there_are() {
        assert!(CODES.is_sorted());
        let metrics = RouteMetrics::new("of the labels");
        let method = |name: &str| Method::from_bytes(name.as_bytes()).unwrap();
        for (name, status) in [
            ("GET", 200),
            ("GET", 200),
            ("BREW", 418),
            ("BREW", 499),
            ("PURGE", 0),
            ("POST", 999),
            ("GET", 599),
        ] {
            metrics.observe(&method(name), status, Duration::from_millis(20));
        }
        let count = |method, code| REQUESTS.with_label_values(&["of the labels", method, code]).get();
        assert_eq!(count("GET", "200"), 2);
        assert_eq!(count("other", "4xx"), 1);
        assert_eq!(count("other", "499"), 1);
        assert_eq!(count("other", "none"), 1);
        assert_eq!(count("POST", "none"), 1);
        assert_eq!(count("GET", "5xx"), 1);
        assert_eq!(metrics.duration.get_sample_count(), 7);
    }
}
