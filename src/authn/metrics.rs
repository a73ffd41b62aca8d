//! Counters of authentication.

use crate::base::metrics;
use prometheus::{IntCounter, IntCounterVec};
use std::sync::LazyLock;

struct Verified {
    remembered: IntCounter,
    forgotten: IntCounter,
}

static VERIFIED: LazyLock<Verified> = LazyLock::new(|| {
    let family: IntCounterVec = metrics::BEARER_VERIFICATIONS.counters();
    Verified {
        remembered: family.with_label_values(&["true"]),
        forgotten: family.with_label_values(&["false"]),
    }
});

/// Counts a successful verification of a bearer token, by whether the token was then cached. Reads
/// from the cache are not counted.
pub fn verified(remembered: bool) {
    let counter = if remembered { &VERIFIED.remembered } else { &VERIFIED.forgotten };
    counter.inc();
}
