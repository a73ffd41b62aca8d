//! `[[user_pool.message]]`: texts of messages; `[messages]`: limits on their number.

use super::key::{Key, Section, Shape, Type};
use super::message_template::MessageText;
use super::reader::{Invalid, Table};
use super::types::{COUNT, TEXT};
use crate::base::is_control;

/// The maximum lengths of Cognito, in characters (`EmailVerificationSubjectType`,
/// `EmailVerificationMessageType`, `SmsVerificationMessageType`).
const MAX_SUBJECT: usize = 140;
const MAX_EMAIL: usize = 20_000;
const MAX_SMS: usize = 140;

/// The events for which messages are sent, with their names in the file.
pub const MESSAGE_EVENTS: [(&str, MessageEvent); 6] = [
    ("sign_up", MessageEvent::SignUp),
    ("resend", MessageEvent::Resend),
    ("forgot_password", MessageEvent::ForgotPassword),
    ("attribute_verification", MessageEvent::AttributeVerification),
    ("admin_create_user", MessageEvent::AdminCreateUser),
    ("mfa", MessageEvent::Mfa),
];
/// The channels, with their names in the file and in the store.
pub const CHANNELS: [(&str, Channel); 2] = [("email", Channel::Email), ("sms", Channel::Sms)];

pub(super) const SECTION: Section = Section {
    header: "[[user_pool.message]]",
    about: "Texts of messages, in the place of the built-in ones. `{####}` is the code or temporary password, `{username}` \
            the user name, `{##text##}` a link that confirms without a code.",
    keys: &[&EVENT, &CHANNEL, &LANGUAGE, &SUBJECT, &TEXT_KEY, &HTML],
};
const EVENT: Key<MessageEvent> =
    Key::new("event", Type::ProviderChoice(&MESSAGE_EVENTS), "Event on which the message is sent.")
        .required("")
        .example("\"sign_up\"");
const CHANNEL: Key<Channel> =
    Key::new("channel", Type::ProviderChoice(&CHANNELS), "Kind of the message.").default("\"email\"");
const LANGUAGE: Key<String> = Key::new(
    "language",
    Type::Read(Shape::Text, |item| item.parse(language)),
    "Language of the user, as in `\"de\"` or `\"pt-br\"`.",
)
.computed("every language without a text of its own")
.example("\"de\"");
const SUBJECT: Key<String> = Key::new("subject", TEXT, "Subject of an e-mail.")
    .required_if("`channel` is `\"email\"`")
    .example("\"Your code\"");
const TEXT_KEY: Key<String> =
    Key::new("text", TEXT, "Plain text.").required("").example("\"Your code is {####}.\"");
const HTML: Key<String> = Key::new("html", TEXT, "HTML of an e-mail, beside the text. Values are escaped.")
    .example("{ file = \"mail.html\" }");

pub(super) const LIMITS: Section = Section {
    header: "[messages]",
    about: "Limits on messages of all nodes together. A request above a limit is refused, and nothing is sent.",
    keys: &[&PER_USER, &PER_ADDRESS, &PER_PREFIX],
};
const PER_USER: Key<usize> =
    Key::new("per_user", COUNT, "Maximum number of messages per user and hour.").default("10");
const PER_ADDRESS: Key<usize> =
    Key::new("per_address", COUNT, "Maximum number of messages per client address and hour.").default("60");
const PER_PREFIX: Key<usize> =
    Key::new("per_prefix", COUNT, "Maximum number of text messages per country code and hour.")
        .default("200");

/// The event for which a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageEvent {
    /// A user signed up and must confirm.
    SignUp,
    /// The user requested the code again.
    Resend,
    /// A user forgot the password.
    ForgotPassword,
    /// An attribute must be verified.
    AttributeVerification,
    /// An administrator created the user, who gets a temporary password.
    AdminCreateUser,
    /// A code is the second factor of a sign-in.
    Mfa,
}

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// E-mail.
    Email,
    /// A text message.
    Sms,
}

/// A template for messages of a user pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageTemplate {
    /// The event.
    pub event: MessageEvent,
    /// The kind of the message.
    pub channel: Channel,
    /// The language in lower case; every language if absent.
    pub language: Option<String>,
    /// The subject of an e-mail; empty for a text message.
    pub subject: MessageText,
    /// The plain text.
    pub text: MessageText,
    /// The HTML of an e-mail.
    pub html: Option<MessageText>,
}

/// The maximum number of messages per hour, for all nodes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimits {
    /// Per user.
    pub per_user: u32,
    /// Per client address.
    pub per_address: u32,
    /// Text messages per country code.
    pub per_prefix: u32,
}

impl MessageEvent {
    /// Returns the name in the file, in logs and in the store.
    pub fn name(self) -> &'static str {
        MESSAGE_EVENTS.iter().find(|(_, event)| *event == self).map_or("", |(name, _)| name)
    }

    /// Returns the event with this name.
    pub fn of(name: &str) -> Option<Self> {
        MESSAGE_EVENTS.iter().find(|(known, _)| *known == name).map(|(_, event)| *event)
    }

    /// Returns whether a link can replace the code (Cognito's `DefaultEmailOption`).
    pub fn can_have_link(self) -> bool {
        matches!(self, Self::SignUp | Self::Resend)
    }
}

impl Channel {
    /// Returns the name in the file, in logs and in the store.
    pub fn name(self) -> &'static str {
        CHANNELS.iter().find(|(_, channel)| *channel == self).map_or("", |(name, _)| name)
    }

    /// Returns the channel with this name.
    pub fn of(name: &str) -> Option<Self> {
        CHANNELS.iter().find(|(known, _)| *known == name).map(|(_, channel)| *channel)
    }
}

impl MessageLimits {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let limits = [&PER_USER, &PER_ADDRESS, &PER_PREFIX].map(|key| table.read(key));
        table.finish();
        let limit = |limit: Option<usize>| Some(u32::try_from(limit?).unwrap_or(u32::MAX));
        let [per_user, per_address, per_prefix] = limits.map(limit);
        Some(Self { per_user: per_user?, per_address: per_address?, per_prefix: per_prefix? })
    }
}

impl MessageTemplate {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let (event, channel, language) = (table.read(&EVENT), table.read(&CHANNEL), table.read(&LANGUAGE));
        let (subject, text, html) = (table.read(&SUBJECT), table.read(&TEXT_KEY), table.read(&HTML));
        table.finish();
        let (event, channel, text) = (event?, channel?, text?);
        for (key, value, limit) in [
            ("subject", &subject, MAX_SUBJECT),
            ("text", &Some(text.clone()), if channel == Channel::Sms { MAX_SMS } else { MAX_EMAIL }),
            ("html", &html, MAX_EMAIL),
        ] {
            if value.as_ref().is_some_and(|value| value.chars().count() > limit) {
                table.report(
                    format!("`{key}` is longer than {limit} characters"),
                    format!("write at most {limit}, as Cognito allows"),
                );
            }
        }
        if subject.as_ref().is_some_and(|subject| subject.chars().any(is_control)) {
            table.report("`subject` has a line break or another control character", "write it on one line");
        }
        match channel {
            Channel::Email if subject.is_none() => {
                table.report("`subject` is missing in [[user_pool.message]]", "add subject = \"Your code\"");
            }
            Channel::Sms if subject.is_some() || html.is_some() => {
                table.report(
                    "a text message has no `subject` and no `html`",
                    "remove them, or name channel = \"email\"",
                );
            }
            _ => {}
        }
        let parse = |text: Option<String>| text.map(|text| MessageText::parse(&text));
        let subject = parse(subject).unwrap_or(MessageText(Vec::new()));
        let template =
            Self { event, channel, language, subject, text: MessageText::parse(&text), html: parse(html) };
        template.report_placeholders(table);
        Some(template)
    }

    /// Reports missing placeholders, and placeholders without a value.
    fn report_placeholders(&self, table: &Table<'_>) {
        let event = self.event.name();
        for (key, body) in [("text", Some(&self.text)), ("html", self.html.as_ref())] {
            let Some(body) = body else { continue };
            if body.has_link() && !(self.event.can_have_link() && self.channel == Channel::Email) {
                table.report(
                    format!("`{key}` of `{event}` has a link `{{##…##}}`, which it cannot have"),
                    "write {####}: links are for e-mails of sign_up and resend",
                );
            } else if !body.has_code() && !body.has_link() {
                table.report(
                    format!("`{key}` of `{event}` has no `{{####}}`: the recipient would get no code"),
                    "write {####} where the code shall be",
                );
            }
            if self.event == MessageEvent::AdminCreateUser && !body.has_username() {
                table.report(
                    format!("`{key}` of `{event}` has no `{{username}}`"),
                    "write {username} where the user name shall be: the new user does not know it",
                );
            }
        }
        if self.subject.has_link() {
            table.report("`subject` has a link", "write it in `text` or `html`");
        }
        if self.html.as_ref().is_some_and(|html| html.has_link() != self.text.has_link()) {
            table.report(
                "one of `text` and `html` has a link, and the other a code",
                "write the same in both",
            );
        }
    }
}

/// Reads a language tag (RFC 5646, section 2.1). Returns it in lower case.
fn language(text: &str) -> Result<String, Invalid> {
    let is_part =
        |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let first = text.split('-').next().unwrap_or_default();
    let is_first = (2..=3).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_alphabetic());
    match is_first && text.len() <= 35 && text.split('-').all(is_part) {
        true => Ok(text.to_ascii_lowercase()),
        false => {
            Err((format!("\"{text}\" is not a language"), "write it like \"de\" or \"pt-BR\"".to_owned()))
        }
    }
}
