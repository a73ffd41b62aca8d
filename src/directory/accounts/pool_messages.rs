//! The texts of a pool's messages: those of the configuration file, or those that the API gave to
//! the pool.

use crate::catalogue::Catalogue;
use crate::config::{Channel, MessageEvent, MessageTemplate, MessageText};
use crate::directory::pools::{EMAIL_MFA, SMS_MFA};
use crate::message::link_templates;
use crate::model::{Members, Pool};
use serde_json::Value;

/// The events whose messages have the texts of `VerificationMessageTemplate`.
const VERIFICATIONS: [MessageEvent; 4] = [
    MessageEvent::SignUp,
    MessageEvent::Resend,
    MessageEvent::ForgotPassword,
    MessageEvent::AttributeVerification,
];

/// The text of a text message with a code of sign-in.
const SMS_TEXT: &str = "SmsAuthenticationMessage";

/// Returns the texts that replace the built-in ones.
pub(super) fn templates(catalogue: &Catalogue, pool: &Pool) -> Vec<MessageTemplate> {
    match catalogue.declared_pool(&pool.id) {
        Some((_, declared)) => declared.messages.clone(),
        None => of_members(&pool.settings.kept),
    }
}

/// Returns the texts in the members of a pool that the API made.
fn of_members(kept: &Members) -> Vec<MessageTemplate> {
    let mut templates = Vec::new();
    let (verification, invitation) =
        (kept.get("VerificationMessageTemplate"), kept.get("InviteMessageTemplate"));
    let by_link = text(verification, "DefaultEmailOption") == Some("CONFIRM_WITH_LINK");
    for event in VERIFICATIONS {
        let (subject, body) = match by_link && event.can_have_link() {
            true => ("EmailSubjectByLink", "EmailMessageByLink"),
            false => ("EmailSubject", "EmailMessage"),
        };
        match html_template(event, text(verification, subject), text(verification, body)) {
            Some(template) => templates.push(template),
            None if by_link && event.can_have_link() => {
                templates.extend(link_templates(event, text(verification, subject)));
            }
            None => {}
        }
        templates.extend(sms_template(event, text(verification, "SmsMessage")));
    }
    let event = MessageEvent::AdminCreateUser;
    templates.extend(html_template(
        event,
        text(invitation, "EmailSubject"),
        text(invitation, "EmailMessage"),
    ));
    templates.extend(sms_template(event, text(invitation, "SMSMessage")));
    let (by_email, by_sms) = (kept.get(EMAIL_MFA), text(kept.get(SMS_MFA), SMS_TEXT));
    templates.extend(html_template(MessageEvent::Mfa, text(by_email, "Subject"), text(by_email, "Message")));
    let authentication = by_sms.or_else(|| kept.get(SMS_TEXT).and_then(Value::as_str));
    templates.extend(sms_template(MessageEvent::Mfa, authentication));
    templates
}

fn text<'v>(of: Option<&'v Value>, member: &str) -> Option<&'v str> {
    of?.get(member)?.as_str()
}

/// Returns the text of an e-mail. Cognito sends it as HTML.
pub fn html_template(
    event: MessageEvent,
    subject: Option<&str>,
    body: Option<&str>,
) -> Option<MessageTemplate> {
    let html = body?;
    Some(MessageTemplate {
        event,
        channel: Channel::Email,
        language: None,
        subject: MessageText::parse(subject.unwrap_or(DEFAULT_SUBJECT)),
        text: MessageText::parse(&without_tags(html)),
        html: Some(MessageText::parse(html)),
    })
}

/// The subject of a text that has none of its own.
const DEFAULT_SUBJECT: &str = "Your account";

/// Returns the text of a text message.
pub fn sms_template(event: MessageEvent, body: Option<&str>) -> Option<MessageTemplate> {
    Some(MessageTemplate {
        event,
        channel: Channel::Sms,
        language: None,
        subject: MessageText(Vec::new()),
        text: MessageText::parse(body?),
        html: None,
    })
}

/// Returns HTML as plain text: tags are removed, and those that end a line become line breaks.
fn without_tags(html: &str) -> String {
    const LINE_ENDS: [&str; 6] = ["br", "br/", "br /", "/p", "/div", "/li"];
    let mut text = String::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let (before, tag) = rest.split_at(start);
        text.push_str(before);
        let is_tag = tag[1..].starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!'));
        let Some(end) = tag.find('>').filter(|_| is_tag) else {
            text.push('<');
            rest = &tag[1..];
            continue;
        };
        if LINE_ENDS.contains(&&*tag[1..end].trim().to_ascii_lowercase()) {
            text.push('\n');
        }
        rest = &tag[end + 1..];
    }
    text.push_str(rest);
    text.replace("&nbsp;", " ").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(kept: Value) -> Vec<MessageTemplate> {
        of_members(kept.as_object().unwrap())
    }

    #[test]
    fn a_pool_of_the_api_has_the_texts_that_it_was_given() {
        assert!(of(json!({})).is_empty());
        let code = json!({ "VerificationMessageTemplate": {
            "EmailMessage": "<p>Code <b>{####}</b></p>", "EmailSubject": "Hello", "SmsMessage": "{####}",
            "DefaultEmailOption": "CONFIRM_WITH_CODE", "EmailMessageByLink": "{##x##}",
        } });
        let templates = of(code);
        assert_eq!(templates.len(), 8);
        assert_eq!(templates[0].subject, MessageText::parse("Hello"));
        assert_eq!(templates[0].text, MessageText::parse("Code {####}\n"));
        assert!(templates.iter().all(|template| template.text.has_code() && !template.text.has_link()));
        let invitation = of(json!({ "InviteMessageTemplate": { "SMSMessage": "{username} {####}" } }));
        assert_eq!((invitation.len(), invitation[0].event), (1, MessageEvent::AdminCreateUser));
    }

    #[test]
    fn links_confirm_sign_ups_alone() {
        for by_link in [json!("Click {##here##}"), Value::Null] {
            let templates = of(json!({ "VerificationMessageTemplate": {
                "DefaultEmailOption": "CONFIRM_WITH_LINK", "EmailMessageByLink": by_link, "EmailMessage": "{####}",
            } }));
            for template in templates {
                assert_eq!(template.text.has_link(), template.event.can_have_link(), "{template:?}");
                assert_ne!(template.text.has_code(), template.text.has_link());
            }
        }
    }

    #[test]
    fn tags_leave_their_text() {
        for (html, plain) in [
            ("a<br>b<BR />c", "a\nb\nc"),
            ("<a href=\"x\">{##Go##}</a>", "{##Go##}"),
            ("1 < 2 <3 <", "1 < 2 <3 <"),
            ("a &amp;lt; b", "a &lt; b"),
        ] {
            assert_eq!(without_tags(html), plain, "{html}");
        }
    }
}
