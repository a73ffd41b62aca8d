//! Rejections of messages, and failures to send them.

use super::limits::Limit;
use crate::base::{Duration, escape_deceptive};
use crate::config::Channel;
use std::fmt;

/// The maximum length of a server's reply in logs and in the store, in characters.
const MAX_ANSWER: usize = 300;

/// The reason why a message was not added to the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnqueueError {
    /// The channel is not configured.
    NotConfigured(Channel),
    /// The recipient is not valid, for this reason.
    Recipient(&'static str),
    /// Text messages to this country code are not allowed.
    CountryNotAllowed(&'static str),
    /// The limit is reached. Contains the wait until the next message is possible.
    TooMany(Limit, Duration),
    /// The text contains a link, but the event provides no URL for it.
    NoLink,
}

impl EnqueueError {
    /// Returns the limit that was reached.
    pub(super) fn limit(&self) -> Option<Limit> {
        match self {
            Self::TooMany(limit, _) => Some(*limit),
            _ => None,
        }
    }
}

impl fmt::Display for EnqueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConfigured(Channel::Email) => {
                f.write_str("there is no [mail]; help: add it to send e-mail")
            }
            Self::NotConfigured(Channel::Sms) => {
                f.write_str("there is no [sms]; help: add it to send text messages")
            }
            Self::Recipient(why) => write!(f, "the recipient {why}"),
            Self::CountryNotAllowed(prefix) => write!(
                f,
                "no text messages are sent to the country code {prefix}; help: add it to `allowed_prefixes` in [sms]"
            ),
            Self::TooMany(limit, wait) => {
                write!(
                    f,
                    "the limit `{}` is reached; the next message is possible in {} s",
                    limit.key(),
                    wait.as_secs()
                )
            }
            Self::NoLink => f.write_str("the text of the message has a link, and the event has none"),
        }
    }
}

impl std::error::Error for EnqueueError {}

/// The reason why a message was not sent, or may not have been sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The server is unavailable: it would accept no message.
    Unavailable(String),
    /// The server rejected this message temporarily.
    Postponed(String),
    /// The server rejected this message permanently.
    Rejected(String),
    /// The text was transmitted, and the outcome is unknown.
    Doubtful(String),
    /// Another node has the lease of the message.
    LeaseLost,
}

impl SendError {
    /// Returns the error for a server that did not respond in time.
    pub(super) fn timeout(limit: Duration) -> Self {
        Self::Unavailable(format!("no answer within {} s", limit.as_secs()))
    }

    /// Returns the error with the server's reply sanitized: without the recipient and control
    /// characters, and with limited length.
    pub(super) fn without(self, recipient: &str) -> Self {
        let clean = |text: String| clean(&text, recipient);
        match self {
            Self::Unavailable(text) => Self::Unavailable(clean(text)),
            Self::Postponed(text) => Self::Postponed(clean(text)),
            Self::Rejected(text) => Self::Rejected(clean(text)),
            Self::Doubtful(text) => Self::Doubtful(clean(text)),
            Self::LeaseLost => Self::LeaseLost,
        }
    }
}

/// Returns `text` on one line, with limited length, and without the recipient or the part before
/// its `@`.
fn clean(text: &str, recipient: &str) -> String {
    let mut text = escape_deceptive(text, |_| false);
    let local = recipient.split_once('@').map_or(recipient, |(local, _)| local);
    let digits = recipient.trim_start_matches('+');
    for part in [recipient, digits, local].into_iter().filter(|part| part.len() > 2) {
        while let Some(at) = text.to_ascii_lowercase().find(&part.to_ascii_lowercase()) {
            text.replace_range(at..at + part.len(), "…");
        }
    }
    text.chars().take(MAX_ANSWER).collect()
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(text) | Self::Postponed(text) | Self::Rejected(text) => f.write_str(text),
            Self::Doubtful(text) => write!(f, "{text}, after the text was transmitted"),
            Self::LeaseLost => f.write_str("another node has claimed the message"),
        }
    }
}

impl std::error::Error for SendError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_stored_without_the_recipient() {
        let answer = "550 5.1.1 <Ada.L@example.com>: Recipient address rejected\r\nada.l unknown";
        let shown = clean(answer, "ada.l@example.com");
        assert_eq!(shown, "550 5.1.1 <…>: Recipient address rejected\\u000d\\u000a… unknown");
        assert_eq!(clean("4915112345678 is invalid", "+4915112345678"), "… is invalid");
        assert_eq!(clean(&"x".repeat(1000), "a@b").len(), MAX_ANSWER);
    }
}
