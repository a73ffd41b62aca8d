//! `[route.headers]`: headers for the upstream, made from claims.

use super::reader::{Item, Wrong};
use http::HeaderName;

/// A header for the upstream, made from claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderTemplate {
    /// The header's name.
    pub name: HeaderName,
    /// Its value, piece by piece.
    pub value: Vec<Piece>,
}

/// A piece of a header's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Stands as it is.
    Text(String),
    /// `${claim}`: the value of this claim, or nothing.
    Claim(String),
}

pub(super) fn header_templates(item: Item<'_>) -> Vec<HeaderTemplate> {
    let Some(table) = item.table("[route.headers]") else { return Vec::new() };
    let header = |item: Item<'_>| {
        let Ok(name) = HeaderName::from_bytes(item.key.as_bytes()) else {
            item.wrong(format!("`{}` is not a header's name", item.key), "use letters, digits and -");
            return None;
        };
        const OWN: [&str; 9] = [
            "host",
            "connection",
            "content-length",
            "transfer-encoding",
            "upgrade",
            "te",
            "trailer",
            "cookie",
            "keep-alive",
        ];
        if OWN.contains(&name.as_str()) {
            item.wrong(format!("`{}` belongs to HTTP itself", item.key), "choose another header");
            return None;
        }
        item.parse(template).map(|value| HeaderTemplate { name, value })
    };
    table.all().into_iter().filter_map(header).collect()
}

fn template(text: &str) -> Result<Vec<Piece>, Wrong> {
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
