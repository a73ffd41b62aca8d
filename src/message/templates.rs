//! Built-in texts, selection of a text, and replacement of placeholders.

use super::Message;
use super::content::Content;
use super::errors::EnqueueError;
use crate::base::is_deceptive;
use crate::config::{Channel, MessageEvent, MessageTemplate, MessageText, TextPiece};

/// The maximum length of a subject after replacement of placeholders, in characters.
const MAX_SUBJECT: usize = 200;
/// The language for users without a language, or with a language for which there is no text.
const DEFAULT_LANGUAGE: &str = "en";

/// A built-in text: language, event, subject, text of an e-mail, and text message.
type BuiltIn = (&'static str, MessageEvent, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const BUILT_IN: [BuiltIn; 12] = [
    ("en", MessageEvent::SignUp, "Your confirmation code",
        "Your confirmation code is {####}.\n\nIf you did not sign up, ignore this message.\n",
        "Your confirmation code is {####}."),
    ("en", MessageEvent::Resend, "Your confirmation code",
        "Your new confirmation code is {####}.\n\nIf you did not ask for it, ignore this message.\n",
        "Your new confirmation code is {####}."),
    ("en", MessageEvent::ForgotPassword, "Code to reset your password",
        "Your code to reset the password is {####}.\n\nIf you did not ask for it, ignore this message: your password stays.\n",
        "Your code to reset the password is {####}."),
    ("en", MessageEvent::AttributeVerification, "Your verification code",
        "Your verification code is {####}.\n\nIf you did not ask for it, ignore this message.\n",
        "Your verification code is {####}."),
    ("en", MessageEvent::AdminCreateUser, "Your temporary password",
        "Your user name is {username}, and your temporary password is:\n\n{####}\n\nYou choose your own at the first sign-in.\n",
        "Your user name is {username}, and your temporary password is {####}"),
    ("en", MessageEvent::Mfa, "Your sign-in code",
        "Your sign-in code is {####}.\n\nIf you are not signing in, somebody knows your password: change it.\n",
        "Your sign-in code is {####}."),
    ("de", MessageEvent::SignUp, "Ihr Bestätigungscode",
        "Ihr Bestätigungscode lautet {####}.\n\nFalls Sie sich nicht registriert haben, ignorieren Sie diese Nachricht.\n",
        "Ihr Bestätigungscode lautet {####}."),
    ("de", MessageEvent::Resend, "Ihr Bestätigungscode",
        "Ihr neuer Bestätigungscode lautet {####}.\n\nFalls Sie ihn nicht angefordert haben, ignorieren Sie diese Nachricht.\n",
        "Ihr neuer Bestätigungscode lautet {####}."),
    ("de", MessageEvent::ForgotPassword, "Code zum Zurücksetzen Ihres Passworts",
        "Ihr Code zum Zurücksetzen des Passworts lautet {####}.\n\nFalls Sie ihn nicht angefordert haben, ignorieren Sie diese Nachricht: Ihr Passwort bleibt unverändert.\n",
        "Ihr Code zum Zurücksetzen des Passworts lautet {####}."),
    ("de", MessageEvent::AttributeVerification, "Ihr Prüfcode",
        "Ihr Prüfcode lautet {####}.\n\nFalls Sie ihn nicht angefordert haben, ignorieren Sie diese Nachricht.\n",
        "Ihr Prüfcode lautet {####}."),
    ("de", MessageEvent::AdminCreateUser, "Ihr vorläufiges Passwort",
        "Ihr Benutzername ist {username}, Ihr vorläufiges Passwort lautet:\n\n{####}\n\nBei der ersten Anmeldung wählen Sie ein eigenes.\n",
        "Ihr Benutzername ist {username}, Ihr vorläufiges Passwort lautet {####}"),
    ("de", MessageEvent::Mfa, "Ihr Anmeldecode",
        "Ihr Anmeldecode lautet {####}.\n\nFalls Sie sich nicht gerade anmelden, kennt jemand Ihr Passwort: Ändern Sie es.\n",
        "Ihr Anmeldecode lautet {####}."),
];

/// The built-in texts of an e-mail with a link: language, subject, text.
#[rustfmt::skip]
const LINKS: [(&str, &str, &str); 2] = [
    ("en", "Confirm your account",
        "{##Confirm your account##}\n\nIf you did not sign up, ignore this message.\n"),
    ("de", "Bestätigen Sie Ihr Konto",
        "{##Konto bestätigen##}\n\nFalls Sie sich nicht registriert haben, ignorieren Sie diese Nachricht.\n"),
];

/// The format of the text into which values are inserted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Subject,
    Plain,
    Html,
}

/// Composes the content of `message` for the validated recipient `to`.
///
/// # Errors
/// Returns an error if the text contains a link, but the message has none.
pub(super) fn write(
    templates: &[MessageTemplate],
    message: &Message<'_>,
    to: String,
) -> Result<Content, EnqueueError> {
    let built_in;
    let template = match choose(templates, message.event, message.channel, message.language) {
        Some(template) => template,
        None => {
            built_in = built_in_text(message.event, message.channel, message.language);
            &built_in
        }
    };
    if template.text.has_link() && message.link.is_none() {
        return Err(EnqueueError::NoLink);
    }
    let subject = fill(&template.subject, message, Format::Subject);
    Ok(Content {
        to,
        subject: subject.chars().take(MAX_SUBJECT).collect(),
        text: fill(&template.text, message, Format::Plain),
        html: template.html.as_ref().map(|html| fill(html, message, Format::Html)),
    })
}

/// Returns the built-in texts of an e-mail with a link in the place of a code. `subject` replaces
/// theirs.
pub fn link_templates(event: MessageEvent, subject: Option<&str>) -> Vec<MessageTemplate> {
    let template = |(language, own, text): &(&str, &str, &str)| MessageTemplate {
        event,
        channel: Channel::Email,
        language: Some((*language).to_owned()),
        subject: MessageText::parse(subject.unwrap_or(own)),
        text: MessageText::parse(text),
        html: None,
    };
    LINKS.iter().map(template).collect()
}

/// Returns whether an e-mail with the text that these templates give has a link and no code.
pub fn is_link_alone(templates: &[MessageTemplate], event: MessageEvent, language: Option<&str>) -> bool {
    let chosen = choose(templates, event, Channel::Email, language);
    chosen.is_some_and(|template| template.text.has_link() && !template.text.has_code())
}

/// Returns the pool's template in the user's language, or else the one for every language. Without
/// both, returns the pool's English template, unless there is a built-in text in the user's
/// language.
fn choose<'t>(
    templates: &'t [MessageTemplate],
    event: MessageEvent,
    channel: Channel,
    language: Option<&str>,
) -> Option<&'t MessageTemplate> {
    let of_event = |template: &&MessageTemplate| template.event == event && template.channel == channel;
    let in_language = |language: Option<&str>| {
        templates.iter().filter(of_event).find(|template| template.language.as_deref() == language)
    };
    let languages = language.map(ranges).unwrap_or_default();
    let exact = languages.iter().find_map(|language| in_language(Some(language.as_str())));
    exact.or_else(|| in_language(None)).or_else(|| {
        let has_built_in = languages.iter().any(|language| is_built_in(language));
        if has_built_in { None } else { in_language(Some(DEFAULT_LANGUAGE)) }
    })
}

/// Returns a language tag and its prefixes (RFC 4647, section 3.4), in lower case.
fn ranges(language: &str) -> Vec<String> {
    let mut language = language.to_ascii_lowercase().replace('_', "-");
    let mut ranges = vec![language.clone()];
    while let Some(at) = language.rfind('-') {
        language.truncate(at);
        ranges.push(language.clone());
    }
    ranges
}

fn is_built_in(language: &str) -> bool {
    BUILT_IN.iter().any(|(known, ..)| *known == language)
}

/// Returns the built-in text in the user's language, or else in English.
fn built_in_text(event: MessageEvent, channel: Channel, language: Option<&str>) -> MessageTemplate {
    let languages = language.map(ranges).unwrap_or_default();
    let language =
        languages.iter().find(|language| is_built_in(language)).map_or(DEFAULT_LANGUAGE, String::as_str);
    let text = BUILT_IN.iter().find(|(known, of, ..)| *known == language && *of == event);
    let (_, _, subject, email, sms) = text.expect("invariant: each language has a text for each event");
    let (subject, text) = match channel {
        Channel::Email => (*subject, *email),
        Channel::Sms => ("", *sms),
    };
    MessageTemplate {
        event,
        channel,
        language: None,
        subject: MessageText::parse(subject),
        text: MessageText::parse(text),
        html: None,
    }
}

/// Replaces the placeholders of `text`.
fn fill(text: &MessageText, message: &Message<'_>, format: Format) -> String {
    let mut filled = String::new();
    for piece in &text.0 {
        match piece {
            TextPiece::Text(text) => filled.push_str(text),
            TextPiece::Code => push(&mut filled, message.code.expose(), format),
            TextPiece::Username => push(&mut filled, message.username, format),
            TextPiece::Link(text) => push_link(&mut filled, text, message.link.unwrap_or_default(), format),
        }
    }
    filled
}

/// Appends a value. It is escaped for HTML, and line breaks and direction controls are removed.
fn push(filled: &mut String, value: &str, format: Format) {
    for c in value.chars().filter(|c| !is_deceptive(*c)) {
        match (format, c) {
            (Format::Html, '&') => filled.push_str("&amp;"),
            (Format::Html, '<') => filled.push_str("&lt;"),
            (Format::Html, '>') => filled.push_str("&gt;"),
            (Format::Html, '"') => filled.push_str("&quot;"),
            (Format::Html, '\'') => filled.push_str("&#39;"),
            (_, c) => filled.push(c),
        }
    }
}

fn push_link(filled: &mut String, text: &str, link: &str, format: Format) {
    match format {
        Format::Html => {
            filled.push_str("<a href=\"");
            push(filled, link, format);
            filled.push_str("\">");
            // The link's text is written by the operator and may contain markup.
            filled.push_str(text);
            filled.push_str("</a>");
        }
        Format::Subject | Format::Plain => {
            filled.push_str(text);
            filled.push_str(": ");
            push(filled, link, format);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Secret, Timestamp};
    use crate::config::MESSAGE_EVENTS;

    fn message<'a>(code: &'a Secret, username: &'a str, language: Option<&'a str>) -> Message<'a> {
        Message {
            key: "key",
            pool: "pool",
            event: MessageEvent::SignUp,
            channel: Channel::Email,
            recipient: "ada@example.com",
            language,
            user: "sub",
            user_no: 0,
            is_simulated: false,
            username,
            code,
            link: None,
            follows_first_factor: false,
            client: None,
            expires_at: Timestamp::NEVER,
        }
    }

    fn template(language: Option<&str>, subject: &str, text: &str, html: Option<&str>) -> MessageTemplate {
        MessageTemplate {
            event: MessageEvent::SignUp,
            channel: Channel::Email,
            language: language.map(str::to_owned),
            subject: MessageText::parse(subject),
            text: MessageText::parse(text),
            html: html.map(MessageText::parse),
        }
    }

    fn content(templates: &[MessageTemplate], message: &Message<'_>) -> Content {
        write(templates, message, message.recipient.to_owned()).unwrap()
    }

    #[test]
    fn each_language_has_a_text_with_the_code_for_each_event() {
        for language in ["en", "de"] {
            for (name, event) in MESSAGE_EVENTS {
                let email = built_in_text(event, Channel::Email, Some(language));
                let sms = built_in_text(event, Channel::Sms, Some(language));
                assert!(
                    email.text.has_code() && sms.text.has_code() && !email.subject.0.is_empty(),
                    "{name}"
                );
                assert!(sms.subject.0.is_empty());
                let is_new = event == MessageEvent::AdminCreateUser;
                assert_eq!((email.text.has_username(), sms.text.has_username()), (is_new, is_new));
            }
        }
    }

    #[test]
    fn the_text_is_the_closest_in_language() {
        let code = Secret::new("123456");
        let subject = |templates: &[MessageTemplate], language| {
            content(templates, &message(&code, "ada", language)).subject.clone()
        };
        assert_eq!(subject(&[], None), "Your confirmation code");
        assert_eq!(subject(&[], Some("de-CH")), "Ihr Bestätigungscode");
        assert_eq!(subject(&[], Some("DE_at")), "Ihr Bestätigungscode");
        assert_eq!(subject(&[], Some("fr")), "Your confirmation code");
        let english = template(Some("en"), "Own", "{####}", None);
        assert_eq!(subject(std::slice::from_ref(&english), None), "Own");
        assert_eq!(subject(std::slice::from_ref(&english), Some("fr")), "Own");
        assert_eq!(subject(std::slice::from_ref(&english), Some("de")), "Ihr Bestätigungscode");
        let (every, swiss) =
            (template(None, "All", "{####}", None), template(Some("de-ch"), "CH", "{####}", None));
        assert_eq!(subject(&[english.clone(), every.clone(), swiss.clone()], Some("de-CH")), "CH");
        assert_eq!(subject(&[english, every, swiss], Some("de")), "All");
    }

    #[test]
    fn values_cannot_leave_their_place() {
        let code = Secret::new("1<b>&\"'2");
        let name = "eve\r\nBcc: x@example.com\u{202e}<script>";
        let templates =
            [template(None, "For {username}", "{username} {####}", Some("<p title='{username}'>{####}</p>"))];
        let content = content(&templates, &message(&code, name, None));
        assert_eq!(content.subject, "For eveBcc: x@example.com<script>");
        assert_eq!(content.text, "eveBcc: x@example.com<script> 1<b>&\"'2");
        assert_eq!(
            content.html.as_deref(),
            Some("<p title='eveBcc: x@example.com&lt;script&gt;'>1&lt;b&gt;&amp;&quot;&#39;2</p>")
        );
    }

    #[test]
    fn a_link_is_written_in_both_forms_and_must_exist() {
        let code = Secret::new("1");
        let templates = [template(None, "s", "{##Confirm##}", Some("<b>{##Confirm##}</b>"))];
        let without = message(&code, "ada", None);
        assert_eq!(write(&templates, &without, String::new()).err(), Some(EnqueueError::NoLink));
        let with = Message { link: Some("https://a.example/c?a=1&b=\"2"), ..without };
        let content = content(&templates, &with);
        assert_eq!(content.text, "Confirm: https://a.example/c?a=1&b=\"2");
        assert_eq!(
            content.html.as_deref(),
            Some("<b><a href=\"https://a.example/c?a=1&amp;b=&quot;2\">Confirm</a></b>")
        );
    }
}
