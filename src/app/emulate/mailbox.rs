//! The emulator's messages: printed on the terminal, and kept for tests to read.

use crate::app::output::{on_one_line, say};
use crate::base::{Clock as _, SystemClock};
use crate::message::{DeliveredMessage, MessageSink};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Maximum number of kept messages; the oldest ones are dropped.
const MAX_MESSAGES: usize = 10_000;
/// The digits of a code.
const CODE_DIGITS: usize = 6;

/// The messages to users.
#[derive(Default)]
pub struct Mailbox(Mutex<VecDeque<Value>>);

impl Mailbox {
    /// Returns the messages in the order of their delivery; those to one recipient if named.
    pub fn messages(&self, to: Option<&str>) -> Vec<Value> {
        let messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        messages.iter().filter(|message| to.is_none_or(|to| message["to"] == to)).cloned().collect()
    }
}

impl MessageSink for Mailbox {
    fn deliver(&self, message: &DeliveredMessage<'_>) {
        let DeliveredMessage { channel, pool, event, to, subject, text } = message;
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        say!("  {} to {} ({event}): {}", channel.name(), on_one_line(to), on_one_line(&line));
        let entry = json!({
            "channel": channel.name(),
            "event": event,
            "pool": pool,
            "to": to,
            "subject": subject,
            "text": text,
            "code": code_in(text),
            "sent_at": SystemClock.now().seconds(),
        });
        let mut messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() >= MAX_MESSAGES {
            messages.pop_front();
        }
        messages.push_back(entry);
    }
}

/// Returns the first number of six digits in a text.
fn code_in(text: &str) -> Option<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .find(|word| word.len() == CODE_DIGITS && word.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_word_of_six_digits() {
        assert_eq!(code_in("Your code is 012345."), Some("012345"));
        assert_eq!(code_in("Your password is 1234567, or a123456"), None);
    }
}
