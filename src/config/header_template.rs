//! `[route.headers]`: request headers for the upstream, with fixed values or values from claims.

use super::item::Item;
use super::reader::Invalid;
use super::reserved_name::{Meaning, meaning_of};
use http::{HeaderName, HeaderValue};
use std::borrow::Cow;

/// A request header for the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderTemplate {
    /// The header's name.
    pub name: HeaderName,
    /// Its value.
    pub value: HeaderText,
}

/// The value of a header for the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderText {
    /// The same value in every request. A secret value is marked as sensitive.
    Fixed(HeaderValue),
    /// A template of claims and text.
    Claims(Vec<Piece>),
}

impl HeaderText {
    /// Returns the pieces of a template; empty for a fixed value.
    pub fn pieces(&self) -> &[Piece] {
        match self {
            Self::Fixed(_) => &[],
            Self::Claims(pieces) => pieces,
        }
    }
}

/// A piece of a header's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Literal text.
    Text(String),
    /// `${claim}`: the value of the claim, or nothing.
    Claim(String),
}

/// Reads the headers.
pub(super) fn header_templates(item: &Item<'_>) -> Vec<HeaderTemplate> {
    let header = |item: Item<'_>| {
        let Ok(name) = HeaderName::from_bytes(item.key.as_bytes()) else {
            item.report(format!("`{}` is not a header name", item.key), "use letters, digits and -");
            return None;
        };
        if let Some((message, help)) = unusable(&name) {
            item.report(format!("`{}` {message}", item.key), help);
            return None;
        }
        header_text(&item).map(|value| HeaderTemplate { name, value })
    };
    item.entries().into_iter().filter_map(header).collect()
}

fn header_text(item: &Item<'_>) -> Option<HeaderText> {
    // A secret may contain `${…}` at random.
    let pieces = if item.is_literal() { item.parse_template(template)? } else { Vec::new() };
    match pieces.iter().any(|piece| matches!(piece, Piece::Claim(_))) {
        true => Some(HeaderText::Claims(pieces)),
        false => fixed_value(item).map(HeaderText::Fixed),
    }
}

/// Reads a fixed value: the string itself, `{ env = "NAME" }` or `{ file = "path" }`.
pub(super) fn fixed_value(item: &Item<'_>) -> Option<HeaderValue> {
    let secret = item.secret()?;
    let Ok(mut value) = HeaderValue::from_bytes(secret.expose().as_bytes()) else {
        item.report(
            format!("the value of `{}` is no header value: it holds a control character", item.key),
            "write one line of text",
        );
        return None;
    };
    value.set_sensitive(!item.is_literal());
    Some(value)
}

/// Headers that frame a message or concern one connection (RFC 9110, section 7.6.1), and headers
/// that the gateway changes.
pub(super) const PROTOCOL_HEADERS: &[&str] = &[
    "close",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Returns the reason why a route must not set this header, and the remedy.
fn unusable(name: &HeaderName) -> Option<(&'static str, &'static str)> {
    let name = normalize_name(name.as_str());
    if PROTOCOL_HEADERS.contains(&&*name) || name.starts_with("proxy-") {
        return Some(("belongs to HTTP itself", "choose another header"));
    }
    match meaning_of(&name)? {
        Meaning::User => None,
        Meaning::Gateway => Some((
            "is set by Narthex itself",
            "choose another header, or remove it: the assertion has the claims",
        )),
        Meaning::Client | Meaning::Host | Meaning::Scheme | Meaning::Path | Meaning::Environment => Some((
            "is read by servers as client, host, scheme or path",
            "choose a header for claims, such as X-Remote-User",
        )),
    }
}

/// Returns a header's name with every character except letters, digits and `-` replaced by `-`.
/// Servers that pass headers in environment variables do not distinguish these characters (RFC
/// 3875, section 4.1.18).
pub fn normalize_name(name: &str) -> Cow<'_, str> {
    let odd = |byte: u8| !(byte.is_ascii_alphanumeric() || byte == b'-');
    match name.bytes().any(odd) {
        false => Cow::Borrowed(name),
        true => name.bytes().map(|byte| if odd(byte) { '-' } else { char::from(byte) }).collect(),
    }
}

fn template(text: &str) -> Result<Vec<Piece>, Invalid> {
    let wrong =
        |why: &str| (format!("\"{text}\" {why}"), "write text and claims such as \"${email}\"".into());
    if text.chars().any(char::is_control) {
        return Err(wrong("holds a control character"));
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if at > 0 {
            pieces.push(Piece::Text(rest[..at].to_owned()));
        }
        let (claim, after) = rest[at + 2..].split_once('}').ok_or_else(|| wrong("has a ${ without its }"))?;
        if claim.is_empty() {
            return Err(wrong("has an empty ${}"));
        }
        pieces.push(Piece::Claim(claim.to_owned()));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}
