//! E-mail and text messages to users: texts, limits, the outbox and its delivery.
//!
//! [`enqueue`] adds a message in the caller's transaction, so that the message exists exactly if
//! the reported change does. [`Delivery`] sends it afterwards.
//!
//! # Duplicates
//!
//! One node at a time has the lease of a message, and the row is deleted once the server has
//! accepted it. The outcome is unknown if the connection or the node fails after the text was
//! transmitted and before the acceptance was stored.
//!
//! An e-mail is then sent again (at least once), because a lost code would prevent the sign-in. The
//! second copy has the same code and the same Message-ID, so that servers can drop it. A text
//! message is not sent again (at most once): each one costs money, and the user can request another
//! code.

mod backoff;
mod content;
mod delivery;
mod errors;
mod limits;
mod metrics;
mod mime;
mod recipient;
mod sink;
mod sms;
mod sms_requests;
mod smtp;
mod smtp_stream;
mod templates;

pub use delivery::Delivery;
pub use errors::{EnqueueError, SendError};
pub use limits::Limit;
pub use metrics::count_used_code;
pub use recipient::{mask, sms_prefix};
pub use sink::{DeliveredMessage, MessageSink};
pub use smtp::verify_server;
pub use templates::{is_link_alone, link_templates};

use crate::base::{Entropy, Secret, Timestamp, base64url_encode, sha256};
use crate::config::{
    Channel, Config, Mail, MailTransport, MessageEvent, MessageLimits, MessageTemplate, Sms, mail_address,
};
use crate::store::{self, NewOutboxMessage, Tx};
use content::Content;
use std::net::IpAddr;

/// The settings of a deployment and a user pool for messages.
#[derive(Clone, Copy)]
pub struct MessageSettings<'a> {
    /// The settings for e-mail.
    pub mail: Option<&'a Mail>,
    /// The settings for text messages.
    pub sms: Option<&'a Sms>,
    /// The limits.
    pub limits: MessageLimits,
    /// The pool's templates, which replace the built-in texts.
    pub templates: &'a [MessageTemplate],
}

impl<'a> MessageSettings<'a> {
    /// Returns the settings in `config` for messages to users of a pool with these templates.
    pub fn of(config: &'a Config, templates: &'a [MessageTemplate]) -> Self {
        Self {
            mail: config.mail.as_ref(),
            sms: config.sms.as_ref(),
            limits: config.message_limits,
            templates,
        }
    }
}

/// A message to a user.
pub struct Message<'a> {
    /// The deduplication key, chosen outside of the transaction. A second message with the same key
    /// is not added.
    pub key: &'a str,
    /// The user pool's id.
    pub pool: &'a str,
    /// The event.
    pub event: MessageEvent,
    /// The channel.
    pub channel: Channel,
    /// The e-mail address, or the telephone number in the form of E.164 with a `+`.
    pub recipient: &'a str,
    /// The user's language, as in `de-CH`.
    pub language: Option<&'a str>,
    /// The user's `sub`, to which the limit applies. Without a user, a text derived from the
    /// requested name.
    pub user: &'a str,
    /// The user's number: the message is removed with the user.
    pub user_no: i64,
    /// Whether the user does not exist. Then the limits and the work are the same, but nothing is
    /// sent. So neither the response nor its time reveals whether a user exists.
    pub is_simulated: bool,
    /// The user name, which the text may contain.
    pub username: &'a str,
    /// The code or the temporary password.
    pub code: &'a Secret,
    /// The URL that confirms without a code.
    pub link: Option<&'a str>,
    /// Whether the code is a second factor, which follows a right first one.
    pub follows_first_factor: bool,
    /// The address of the client that caused the message; `None` for an administrator.
    pub client: Option<IpAddr>,
    /// When the code expires.
    pub expires_at: Timestamp,
}

/// Adds a message to the outbox in the caller's transaction. Returns the masked recipient, for
/// Cognito's `CodeDeliveryDetails`.
///
/// A retry of the transaction with the same key adds nothing. But if the message was sent in the
/// meantime, its row was deleted, and the retry adds the message again.
///
/// # Errors
/// The inner error is a rejection, after which nothing was written. The outer error is the
/// database's.
pub async fn enqueue(
    tx: &mut Tx<'_>,
    settings: MessageSettings<'_>,
    message: &Message<'_>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> store::Result<Result<String, EnqueueError>> {
    let content = match prepare(settings, message) {
        Ok(content) => content,
        Err(error) => return Ok(Err(error)),
    };
    if let Err(error) = limits::take(tx, settings.limits, message, now).await? {
        metrics::count_refusal(message.channel, error.limit());
        return Ok(Err(error));
    }
    let id = outbox_id(message.pool, message.key);
    let row = NewOutboxMessage {
        id: &id,
        pool: message.pool,
        user_no: message.user_no,
        channel: if message.is_simulated { store::NO_CHANNEL } else { message.channel.name() },
        event: message.event.name(),
        content: &content.to_json(),
        expires_at: message.expires_at,
    };
    tx.add_to_outbox(&row, now, entropy).await?;
    Ok(Ok(mask(message.channel, &content.to)))
}

/// Checks the recipient and composes the text.
fn prepare(settings: MessageSettings<'_>, message: &Message<'_>) -> Result<Content, EnqueueError> {
    let to = match message.channel {
        Channel::Email if settings.mail.is_none() => return Err(EnqueueError::NotConfigured(Channel::Email)),
        Channel::Email => mail_address(message.recipient).map_err(EnqueueError::Recipient)?.to_string(),
        Channel::Sms => {
            let sms = settings.sms.ok_or(EnqueueError::NotConfigured(Channel::Sms))?;
            let number = recipient::phone_number(message.recipient).map_err(EnqueueError::Recipient)?;
            if !sms.allows(number) {
                return Err(EnqueueError::CountryNotAllowed(sms_prefix(number)));
            }
            number.to_owned()
        }
    };
    templates::write(settings.templates, message, to)
}

/// Returns the message's key in the store, which is also part of the Message-ID.
fn outbox_id(pool: &str, key: &str) -> String {
    base64url_encode(&sha256(format!("{pool}\0{key}"))[..18])
}

/// Sends a test message to `to` immediately, without the outbox. Returns `false` if messages are
/// printed in the log.
///
/// # Errors
/// Returns an error if the address is invalid, or the server does not accept the message.
pub async fn send_test(
    mail: &Mail,
    to: &str,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<bool, SendError> {
    let to = mail_address(to).map_err(|why| SendError::Rejected(format!("the address {why}")))?.to_string();
    let content = Content {
        to,
        subject: "Test message of Narthex".to_owned(),
        text: "This message shows that Narthex can send e-mail.\n".to_owned(),
        html: None,
    };
    let id = outbox_id("test", &crate::base::uuid(entropy));
    let MailTransport::Smtp(server) = &mail.transport else {
        content.log();
        return Ok(false);
    };
    let work = async {
        let mut connection = smtp::Connection::open(server).await?;
        connection.begin(mail, &content.to).await?;
        connection.transmit(&mime::format(mail, &id, &content, now)?).await?;
        connection.close().await;
        Ok(true)
    };
    tokio::time::timeout(mail.timeout, work).await.unwrap_or_else(|_| Err(SendError::timeout(mail.timeout)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Duration;

    const LIMITS: MessageLimits = MessageLimits { per_user: 5, per_address: 5, per_prefix: 5 };

    fn settings() -> Config {
        let text = r#"
            public_url = "https://auth.localhost"
            [mail]
            smtp = "log"
            from = "no-reply@example.com"
            [sms]
            shape = "vonage"
            account = "a"
            secret = "b"
            from = "Example"
            allowed_prefixes = ["+49", "+43"]
        "#;
        Config::parse(text, "test", std::path::Path::new("."), &|_| None).unwrap()
    }

    fn message<'a>(channel: Channel, recipient: &'a str, code: &'a Secret) -> Message<'a> {
        Message {
            key: "key",
            pool: "pool",
            event: MessageEvent::SignUp,
            channel,
            recipient,
            language: None,
            user: "sub",
            user_no: 0,
            is_simulated: false,
            username: "ada",
            code,
            link: None,
            follows_first_factor: false,
            client: None,
            expires_at: Timestamp::from_seconds(0).plus(Duration::from_secs(60)),
        }
    }

    #[test]
    fn recipients_are_checked_before_anything_is_written() {
        let (config, code) = (settings(), Secret::new("123456"));
        let all = MessageSettings { limits: LIMITS, ..MessageSettings::of(&config, &[]) };
        let none = MessageSettings { mail: None, sms: None, ..all };
        let result = |settings, channel, to| {
            prepare(settings, &message(channel, to, &code))
                .map(|content| content.to.clone())
                .map_err(|e| e.to_string())
        };
        assert_eq!(result(all, Channel::Email, "Ada@EXAMPLE.com"), Ok("Ada@example.com".to_owned()));
        assert_eq!(result(all, Channel::Sms, "+4915112345678"), Ok("+4915112345678".to_owned()));
        for (settings, channel, to, why) in [
            (none, Channel::Email, "ada@example.com", "no [mail]"),
            (none, Channel::Sms, "+4915112345678", "no [sms]"),
            (all, Channel::Email, "ada@example.com\r\nBcc: eve@example.com", "two `@`"),
            (all, Channel::Sms, "+881234567890", "country code +881"),
            (all, Channel::Sms, "015112345678", "E.164"),
        ] {
            let error = result(settings, channel, to).unwrap_err();
            assert!(error.contains(why), "{to}: {error}");
        }
    }

    #[test]
    fn the_id_depends_on_pool_and_key() {
        assert_eq!(outbox_id("a", "b"), outbox_id("a", "b"));
        assert_ne!(outbox_id("a", "b"), outbox_id("ab", ""));
        assert_eq!(outbox_id("a", "b").len(), 24);
    }
}
