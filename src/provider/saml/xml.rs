//! XML as SAML messages may bring it, read once and strictly before any other reader sees it: what two
//! readers could take in two ways goes no further.

use crate::provider::ProviderError;
use roxmltree::{Document, Node, NodeType, ParsingOptions};
use std::collections::HashSet;

/// SAML core, section 1.2: the namespace of protocol messages.
pub const SAMLP: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
/// The same, of assertions.
pub const SAML: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
/// SAML metadata, section 1.1.
pub const MD: &str = "urn:oasis:names:tc:SAML:2.0:metadata";
/// XML Signature.
pub const DS: &str = "http://www.w3.org/2000/09/xmldsig#";
/// XML Encryption.
pub const XENC: &str = "http://www.w3.org/2001/04/xmlenc#";
/// XML Encryption 1.1.
pub const XENC11: &str = "http://www.w3.org/2009/xmlenc11#";

/// A message with a thousand groups has some thousand nodes.
const MOST_NODES: u32 = 30_000;
const DEEPEST: usize = 40;

fn wrong(detail: impl std::fmt::Display) -> ProviderError {
    ProviderError::invalid("xml", detail)
}

/// The document of `text`: well-formed to its last byte, without DOCTYPE, comments or processing
/// instructions, and without an id that is there twice.
///
/// # Errors
/// A failed check, `xml` or `id`.
pub fn parse(text: &str) -> Result<Document<'_>, ProviderError> {
    let document = parse_with_comments(text)?;
    for node in document.descendants() {
        match node.node_type() {
            NodeType::PI => return Err(wrong("it holds a processing instruction")),
            NodeType::Comment => return Err(wrong("it holds a comment")),
            NodeType::Root | NodeType::Text | NodeType::Element => {}
        }
    }
    Ok(document)
}

/// The same for what people may have commented on.
///
/// # Errors
/// A failed check, `xml` or `id`.
pub fn parse_with_comments(text: &str) -> Result<Document<'_>, ProviderError> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, ..Default::default() };
    let document = Document::parse_with_options(text, options).map_err(wrong)?;
    let mut ids = HashSet::new();
    for node in document.descendants().filter(|node| node.is_element()) {
        if node.ancestors().take(DEEPEST + 1).count() > DEEPEST {
            return Err(wrong("its elements are too deep"));
        }
        // Signatures are found by id, and readers differ in what they take for one: `ID`, `Id`, `id`,
        // `xml:id`.
        for attribute in node.attributes().filter(|a| a.name().eq_ignore_ascii_case("id")) {
            if !ids.insert(attribute.value().to_owned()) {
                let detail = format!("the id `{}` is there twice", attribute.value());
                return Err(ProviderError::invalid("id", detail));
            }
        }
    }
    Ok(document)
}

/// Whether `node` is the element `name` of the namespace `space`.
pub fn is(node: Node<'_, '_>, space: &str, name: &str) -> bool {
    node.is_element() && node.tag_name().namespace() == Some(space) && node.tag_name().name() == name
}

/// The children of `node` that are elements `name` of `space`.
pub fn children<'a, 'i>(
    node: Node<'a, 'i>,
    space: &'static str,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |child| is(*child, space, name))
}

/// The one child of that name, if there is any.
///
/// # Errors
/// Where there are several.
pub fn at_most_one<'a, 'i>(
    node: Node<'a, 'i>,
    space: &'static str,
    name: &'static str,
) -> Result<Option<Node<'a, 'i>>, ProviderError> {
    let mut all = children(node, space, name);
    match (all.next(), all.next()) {
        (first, None) => Ok(first),
        _ => Err(wrong(format!("there is more than one {name}"))),
    }
}

/// The one child of that name.
///
/// # Errors
/// Where there is none, or several.
pub fn one<'a, 'i>(
    node: Node<'a, 'i>,
    space: &'static str,
    name: &'static str,
) -> Result<Node<'a, 'i>, ProviderError> {
    at_most_one(node, space, name)?.ok_or_else(|| wrong(format!("there is no {name}")))
}

/// The text of an element that holds nothing else.
///
/// # Errors
/// Where it holds elements, or a comment that parts it.
pub fn text<'a>(node: Node<'a, '_>) -> Result<&'a str, ProviderError> {
    if node.children().any(|child| !child.is_text()) {
        return Err(wrong(format!("{} holds more than text", node.tag_name().name())));
    }
    Ok(node.text().unwrap_or_default())
}

/// `text` in an element's text, escaped as canonical XML writes it (Canonical XML 1.1, section 2.3).
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\r', "&#xD;")
}

/// The same for an attribute's value between double quotes.
pub fn escaped_value(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
        .replace('\t', "&#x9;")
        .replace('\n', "&#xA;")
        .replace('\r', "&#xD;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_read_in_two_ways_is_not_read() {
        assert!(parse("<a ID='1'><b ID='2'>text</b></a>").is_ok());
        for bad in [
            "<a>",
            "<a/>junk",
            "<a/><a/>",
            "<!DOCTYPE a><a/>",
            "<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>",
            "<a>&e;</a>",
            "<a>x<!-- c -->y</a>",
            "<!-- c --><a/>",
            "<a>x<?p q?>y</a>",
            "<?p q?><a/>",
            "<a ID='1'><b ID='1'/></a>",
            "<a ID='1'><b Id='1'/></a>",
            "<a ID='1'><b id='1'/></a>",
            "<a ID='1'><b xml:id='1'/></a>",
            "<a x='1' x='2'/>",
            "\0<a/>",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let deep = format!("{}{}", "<a>".repeat(DEEPEST + 1), "</a>".repeat(DEEPEST + 1));
        assert!(parse(&deep).is_err());
    }
}
