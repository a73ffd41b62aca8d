//! Metrics of messages.

use super::limits::Limit;
use super::recipient::sms_prefix;
use crate::base::{Duration, metrics};
use crate::config::Channel;
use prometheus::{IntCounterVec, IntGaugeVec};
use std::sync::LazyLock;

static MESSAGES: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::MESSAGES.counters());
static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::MESSAGES_REFUSED.counters());
static OLDEST: LazyLock<IntGaugeVec> = LazyLock::new(|| metrics::MESSAGES_OLDEST.gauges());
static SMS_SENT: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::SMS_SENT.counters());
static SMS_CODES_USED: LazyLock<IntCounterVec> = LazyLock::new(|| metrics::SMS_CODES_USED.counters());

/// The result of an attempt, for the metric's label.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    Sent,
    Postponed,
    Doubtful,
    Dead,
    Expired,
}

impl Outcome {
    fn label(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Postponed => "postponed",
            Self::Doubtful => "doubtful",
            Self::Dead => "dead",
            Self::Expired => "expired",
        }
    }
}

/// Counts the result of an attempt to send a message.
pub(super) fn count(channel: &str, event: &str, outcome: Outcome) {
    MESSAGES.with_label_values(&[channel, event, outcome.label()]).inc();
}

/// Counts a message that a limit rejected.
pub(super) fn count_refusal(channel: Channel, limit: Option<Limit>) {
    let limit = limit.map_or("none", Limit::key);
    REFUSED.with_label_values(&[channel.name(), limit]).inc();
}

/// Sets the age of the oldest pending message.
pub(super) fn set_oldest(channel: Channel, age: Duration) {
    OLDEST.with_label_values(&[channel.name()]).set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
}

/// Counts a text message that was sent.
pub(super) fn count_sms(number: &str) {
    SMS_SENT.with_label_values(&[sms_prefix(number)]).inc();
}

/// Counts a code from a text message to `number` that a user entered. Many messages to a country
/// code without used codes are a sign of SMS pumping.
pub fn count_used_code(number: &str) {
    SMS_CODES_USED.with_label_values(&[sms_prefix(number)]).inc();
}
