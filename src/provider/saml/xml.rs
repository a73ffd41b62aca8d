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
    check_declaration(text)?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, ..Default::default() };
    let document = Document::parse_with_options(text, options).map_err(wrong)?;
    let mut ids = HashSet::new();
    for node in document.descendants().filter(|node| node.is_element()) {
        if node.ancestors().take(DEEPEST + 1).count() > DEEPEST {
            return Err(wrong("its elements are too deep"));
        }
        // xmlsec looks an attribute up by its local name alone: `x:URI` would be its `URI`, and a signature's
        // reference, before any key is asked, an address that it fetches.
        let mut locals = HashSet::new();
        if let Some(twice) = node.attributes().find(|attribute| !locals.insert(attribute.name())) {
            return Err(wrong(format!("an element has two attributes that are called {}", twice.name())));
        }
        if node.tag_name().namespace() == Some(DS) && node.attributes().any(|a| a.namespace().is_some()) {
            return Err(wrong("an element of a signature has an attribute of another namespace"));
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

/// A text may begin by saying in which encoding it is, which one reader believes and another one ignores: what
/// is text in UTF-8 can be elements in UTF-7.
fn check_declaration(text: &str) -> Result<(), ProviderError> {
    let text = text.trim_start_matches('\u{feff}');
    let Some(rest) = text.strip_prefix("<?xml") else { return Ok(()) };
    let declaration = rest.split("?>").next().unwrap_or_default().to_ascii_lowercase().replace('\'', "\"");
    let told = |name: &str| {
        declaration.split(name).nth(1).and_then(|rest| rest.split('"').nth(1)).map(str::to_owned)
    };
    let one = |name: &str| declaration.matches(name).count() <= 1;
    let version = told("version").is_some_and(|version| version == "1.0");
    let encoding = told("encoding").is_none_or(|encoding| encoding == "utf-8");
    match version && encoding && one("version") && one("encoding") {
        true => Ok(()),
        false => Err(wrong("it is not XML 1.0 in UTF-8")),
    }
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

/// An element's text that stood at `place`, with the namespaces that it could take for granted there (XML
/// Encryption 1.1, section 4.4: what is encrypted is a part of a document). A signature within covers those
/// that the element uses.
pub fn with_namespaces_of(place: Node<'_, '_>, text: &str) -> String {
    let Some(end) = text.find('>') else { return text.to_owned() };
    let tag = &text[..end];
    let missing: String = place
        .namespaces()
        .filter_map(|namespace| Some((namespace.name()?, namespace.uri())))
        .filter(|(prefix, _)| *prefix != "xml" && !tag.contains(&format!("xmlns:{prefix}=")))
        .map(|(prefix, uri)| format!(" xmlns:{prefix}=\"{}\"", escaped_value(uri)))
        .collect();
    let name = tag.find(|c: char| c.is_whitespace() || c == '/').unwrap_or(end);
    format!("{}{missing}{}", &text[..name], &text[name..])
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
        assert!(parse("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<a/>").is_ok());
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
            "<?xml version='1.0' encoding='UTF-7'?><a>+ADw-b/+AD4-</a>",
            "<?xml version='1.0' encoding='ISO-8859-1'?><a/>",
            "<?xml version='1.1'?><a/>",
            "<a xmlns:x='urn:x' URI='1' x:URI='2'/>",
            "<ds:Reference xmlns:ds='http://www.w3.org/2000/09/xmldsig#' xmlns:x='urn:x' x:URI='2'/>",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let deep = format!("{}{}", "<a>".repeat(DEEPEST + 1), "</a>".repeat(DEEPEST + 1));
        assert!(parse(&deep).is_err());
    }
}
