//! Counts of what it takes to know whom requests speak for.

use prometheus::{IntCounter, IntCounterVec, register_int_counter_vec};
use std::sync::LazyLock;

struct Verified {
    remembered: IntCounter,
    forgotten: IntCounter,
}

static VERIFIED: LazyLock<Verified> = LazyLock::new(|| {
    let family: IntCounterVec = register_int_counter_vec!(
        "narthex_bearer_verifications_total",
        "Bearer tokens that were verified, by whether they are remembered from then on.",
        &["remembered"]
    )
    .expect("invariant: registered once, under a valid name");
    Verified {
        remembered: family.with_label_values(&["true"]),
        forgotten: family.with_label_values(&["false"]),
    }
});

/// Counts a bearer token whose signature and claims were found good. What was remembered before is not verified.
pub fn verified(remembered: bool) {
    let counter = if remembered { &VERIFIED.remembered } else { &VERIFIED.forgotten };
    counter.inc();
}
