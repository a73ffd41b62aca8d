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

/// Counts a bearer token whose signature and claims were found good. What was remembered before is
/// not verified.
pub fn verified(remembered: bool) {
    let counter = if remembered { &VERIFIED.remembered } else { &VERIFIED.forgotten };
    counter.inc();
}
