//! A receiver of messages in the place of the mail server and the SMS service.

use super::content::Content;
use crate::config::Channel;
use crate::store::ClaimedMessage;

/// A receiver of messages, which are sent nowhere else.
pub trait MessageSink: Send + Sync {
    /// Takes a message.
    fn deliver(&self, message: &DeliveredMessage<'_>);
}

/// A message as its recipient would read it.
#[derive(Clone, Copy)]
pub struct DeliveredMessage<'a> {
    /// The channel.
    pub channel: Channel,
    /// The user pool's id.
    pub pool: &'a str,
    /// The event's name.
    pub event: &'a str,
    /// The e-mail address or the telephone number.
    pub to: &'a str,
    /// The subject of an e-mail; empty for a text message.
    pub subject: &'a str,
    /// The plain text, with the code.
    pub text: &'a str,
}

impl<'a> DeliveredMessage<'a> {
    /// Returns a message of the outbox.
    pub(super) fn new(channel: Channel, message: &'a ClaimedMessage, content: &'a Content) -> Self {
        let Content { to, subject, text, .. } = content;
        Self { channel, pool: &message.pool, event: &message.event, to, subject, text }
    }
}
