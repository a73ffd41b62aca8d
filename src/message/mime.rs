//! The MIME form of an e-mail (RFC 5322, RFC 2045).

use super::content::Content;
use super::errors::SendError;
use crate::base::Timestamp;
use crate::config::{self, Mail, mail_address};
use lettre::Address;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use std::time::{Duration, SystemTime};

/// Formats the message with the key `id`, which is the stable part of its Message-ID.
pub(super) fn format(mail: &Mail, id: &str, content: &Content, now: Timestamp) -> Result<Vec<u8>, SendError> {
    let invalid = |why: String| SendError::Rejected(format!("the message cannot be written: {why}"));
    let to = mail_address(&content.to).map_err(|why| invalid(format!("the address {why}")))?;
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(now.seconds()).unwrap_or_default());
    let mut builder = lettre::Message::builder()
        .from(mailbox(&mail.from)?)
        .to(Mailbox::new(None, address(&to)?))
        .subject(content.subject.as_str())
        .date(date)
        .message_id(Some(format!("<{id}@{}>", mail.from.address.domain)))
        // RFC 3834, section 5: this prevents automatic responses.
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".into(),
        ));
    if let Some(reply_to) = &mail.reply_to {
        builder = builder.reply_to(mailbox(reply_to)?);
    }
    let part = |kind: ContentType, text: &str| {
        SinglePart::builder()
            .header(kind)
            .header(ContentTransferEncoding::QuotedPrintable)
            .body(text.to_owned())
    };
    let plain = part(ContentType::TEXT_PLAIN, &content.text);
    let message = match &content.html {
        Some(html) => {
            let html = part(ContentType::TEXT_HTML, html);
            builder.multipart(MultiPart::alternative().singlepart(plain).singlepart(html))
        }
        None => builder.singlepart(plain),
    };
    Ok(message.map_err(|error| invalid(error.to_string()))?.formatted())
}

fn mailbox(mailbox: &config::Mailbox) -> Result<Mailbox, SendError> {
    Ok(Mailbox::new(mailbox.name.clone(), address(&mailbox.address)?))
}

/// Converts the address to lettre's type.
pub(super) fn address(address: &config::MailAddress) -> Result<Address, SendError> {
    Address::new(&address.local, &address.domain)
        .map_err(|error| SendError::Rejected(format!("the address cannot be used: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> Mail {
        let text = "public_url = \"https://a.localhost\"\n[mail]\nsmtp = \"log\"\nfrom = \"Zoë <a@example.com>\"\n\
                    reply_to = \"b@example.com\"";
        let config = crate::config::Config::parse(text, "test", std::path::Path::new("."), &|_| None);
        config.unwrap().mail.unwrap()
    }

    fn formatted(subject: &str, text: &str, html: Option<&str>) -> String {
        let html = html.map(str::to_owned);
        let content =
            Content { to: "c@example.org".into(), subject: subject.into(), text: text.into(), html };
        let bytes = format(&mail(), "key", &content, Timestamp::from_seconds(1_800_000_000)).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_message_is_ascii_and_has_one_header_of_each_name() {
        let text = formatted("Prüfcode", "Zahl: 1\n.\nEnde", Some("<p>ü</p>"));
        assert!(text.is_ascii(), "{text}");
        let head = text.split("\r\n\r\n").next().unwrap();
        for line in [
            "From: =?utf-8?b?Wm/Dqw==?= <a@example.com>",
            "To: c@example.org",
            "Reply-To: b@example.com",
            "Message-ID: <key@example.com>",
            "Date: Fri, 15 Jan 2027 08:00:00 +0000",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
        ] {
            assert_eq!(head.matches(line).count(), 1, "{line} in {head}");
        }
        assert!(text.contains("multipart/alternative") && text.contains("<p>=C3=BC</p>"), "{text}");
    }

    #[test]
    fn a_subject_with_a_line_break_adds_no_header() {
        let text = formatted("a\r\nBcc: eve@example.com\r\n\r\nbody", "t", None);
        let head = text.split("\r\n\r\n").next().unwrap();
        assert!(!head.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc")), "{head}");
        assert!(head.contains("Subject:") && text.matches("\r\n\r\n").count() == 1, "{text}");
    }
}
