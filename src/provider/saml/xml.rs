//! XML of SAML messages and metadata: one strict parser, whose tree is both what is verified and
//! what is read.

use super::bounds;
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
/// Exclusive XML Canonicalization: the algorithm, and the namespace of its parameter.
pub const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
/// XML Encryption.
pub const XENC: &str = "http://www.w3.org/2001/04/xmlenc#";
/// XML Encryption 1.1.
pub const XENC11: &str = "http://www.w3.org/2009/xmlenc11#";

/// Bytes of a name. The parser keeps lengths of names in 16 bits.
const MAX_NAME: usize = 512;

fn invalid(detail: impl std::fmt::Display) -> ProviderError {
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
            NodeType::PI => return Err(invalid("it holds a processing instruction")),
            NodeType::Comment => return Err(invalid("it holds a comment")),
            NodeType::Root | NodeType::Text | NodeType::Element => {}
        }
    }
    Ok(document)
}

/// Parses XML that may hold comments and processing instructions.
///
/// # Errors
/// A failed check, `xml` or `id`.
pub fn parse_with_comments(text: &str) -> Result<Document<'_>, ProviderError> {
    bounds::check(text).map_err(invalid)?;
    check_declaration(text)?;
    // Namespaces in XML 1.0, section 3: `xmlns` is no prefix's local name, nor a prefix that is
    // declared. The parser takes `p:xmlns` for a declaration of the default namespace.
    if text.contains(":xmlns") {
        return Err(invalid("it has a qualified name whose local part is `xmlns`"));
    }
    check_references(text)?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: bounds::MAX_NODES, ..Default::default() };
    let document = Document::parse_with_options(text, options).map_err(invalid)?;
    let mut ids = HashSet::new();
    for node in document.descendants().filter(Node::is_element) {
        if node.ancestors().take(bounds::MAX_DEPTH + 1).count() > bounds::MAX_DEPTH {
            return Err(invalid("its elements are too deep"));
        }
        check_names(node)?;
        // Signatures refer to an element by its id, and readers differ in what they take for one:
        // `ID`, `Id`, `id`, `xml:id`.
        for attribute in node.attributes().filter(|a| a.name().eq_ignore_ascii_case("id")) {
            if !ids.insert(attribute.value().to_owned()) {
                let detail = format!("the id `{}` is there twice", attribute.value());
                return Err(ProviderError::invalid("id", detail));
            }
        }
    }
    Ok(document)
}

/// Refuses names of an element that readers of XML could resolve differently.
fn check_names(element: Node<'_, '_>) -> Result<(), ProviderError> {
    // Namespaces in XML 1.0, section 3, "No Prefix Undeclaring": "In a namespace declaration for a
    // prefix (i.e., where the NSAttName is a PrefixedAttName), the attribute value MUST NOT be
    // empty."
    if element.namespaces().any(|namespace| namespace.name().is_some() && namespace.uri().is_empty()) {
        return Err(invalid("it declares a prefix for no namespace"));
    }
    // XML 1.0, section 3.1: "An attribute name MUST NOT appear more than once in the same
    // start-tag". The parser lets `xmlns` pass.
    if element.namespaces().filter(|namespace| namespace.name().is_none()).count() > 1 {
        return Err(invalid("an element declares two default namespaces"));
    }
    // Namespaces in XML 1.0, section 4: `PrefixedName ::= Prefix ':' LocalPart`, neither of which
    // is empty. The parser takes `:a` for `a`.
    let text = element.document().input_text();
    let is_qualified = |name: &str| {
        let mut parts = name.split(':');
        parts.by_ref().take(2).all(|part| !part.is_empty()) && parts.next().is_none()
    };
    let tag = text[element.range()].trim_start_matches('<');
    let tag =
        &tag[..tag.find(|c: char| c == '/' || c == '>' || c.is_ascii_whitespace()).unwrap_or(tag.len())];
    let mut names = element.attributes().map(|attribute| &text[attribute.range_qname()]);
    if !is_qualified(tag) || !names.all(is_qualified) {
        return Err(invalid("a qualified name has an empty part"));
    }
    if element.tag_name().name().len() > MAX_NAME
        || element.attributes().any(|attribute| attribute.range_qname().len() > MAX_NAME)
        // An element's prefix is one of those that are declared.
        || element.namespaces().any(|namespace| namespace.name().is_some_and(|name| name.len() > MAX_NAME))
    {
        return Err(invalid(format!("a name has more than {MAX_NAME} bytes")));
    }
    Ok(())
}

/// XML 1.0, section 4.1, "Legal Character": "Characters referred to using character references MUST
/// match the production for Char." The parser reads others as U+FFFD.
fn check_references(text: &str) -> Result<(), ProviderError> {
    let is_char = |reference: &str| {
        let (digits, radix) = match reference.strip_prefix('x') {
            Some(digits) => (digits, 16),
            None => (reference, 10),
        };
        let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let code = u32::from_str_radix(digits, radix).ok().filter(|_| plain).and_then(char::from_u32);
        code.is_some_and(|c| !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}'))
    };
    let mut references =
        text.split("&#").skip(1).map(|rest| rest.split_once(';').map_or("", |(name, _)| name));
    match references.all(is_char) {
        true => Ok(()),
        false => Err(invalid("a character reference names no character")),
    }
}

/// Refuses an XML declaration of any encoding but UTF-8: text in UTF-8 can be elements in UTF-7, to
/// a reader that follows the declaration.
fn check_declaration(text: &str) -> Result<(), ProviderError> {
    let text = text.trim_start_matches('\u{feff}');
    let Some(rest) = text.strip_prefix("<?xml") else { return Ok(()) };
    let declaration = rest.split("?>").next().unwrap_or_default().to_ascii_lowercase().replace('\'', "\"");
    let pseudo_attribute = |name: &str| {
        declaration.split(name).nth(1).and_then(|rest| rest.split('"').nth(1)).map(str::to_owned)
    };
    let one = |name: &str| declaration.matches(name).count() <= 1;
    let version = pseudo_attribute("version").is_some_and(|version| version == "1.0");
    let encoding = pseudo_attribute("encoding").is_none_or(|encoding| encoding == "utf-8");
    match version && encoding && one("version") && one("encoding") {
        true => Ok(()),
        false => Err(invalid("it is not XML 1.0 in UTF-8")),
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
        _ => Err(invalid(format!("there is more than one {name}"))),
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
    at_most_one(node, space, name)?.ok_or_else(|| invalid(format!("there is no {name}")))
}

/// The text of an element that holds nothing else.
///
/// # Errors
/// Where it holds elements, or a comment that parts it.
pub fn text<'a>(node: Node<'a, '_>) -> Result<&'a str, ProviderError> {
    if node.children().any(|child| !child.is_text()) {
        return Err(invalid(format!("{} holds more than text", node.tag_name().name())));
    }
    Ok(node.text().unwrap_or_default())
}

/// `text` without XML's white space around it (XML 1.0, section 2.3). Other white space is part of
/// a value.
pub fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// Wraps what was encrypted at `place` into an element that declares the namespaces in scope there
/// (XML Encryption 1.1, section 4.4: the decrypted element replaces the encrypted one in its
/// document).
///
/// # Errors
/// A failed check `xml`, where `text` is not one element.
pub fn in_place_of(place: Node<'_, '_>, text: &str) -> Result<String, ProviderError> {
    let text = trim(text.trim_start_matches('\u{feff}'));
    check_declaration(text)?;
    // A declaration is only allowed where a document begins.
    let text = match text.strip_prefix("<?xml") {
        Some(rest) => rest.split_once("?>").map_or("", |(_, element)| element),
        None => text,
    };
    let declarations: String = place
        .namespaces()
        .filter(|namespace| namespace.name() != Some("xml"))
        .map(|namespace| match namespace.name() {
            Some(prefix) => format!(" xmlns:{prefix}=\"{}\"", escaped_value(namespace.uri())),
            None => format!(" xmlns=\"{}\"", escaped_value(namespace.uri())),
        })
        .collect();
    Ok(format!("<decrypted{declarations}>{text}</decrypted>"))
}

/// The one element of a document that [`in_place_of`] made.
///
/// # Errors
/// Where it holds anything else.
pub fn placed<'a, 'i>(document: &'a Document<'i>) -> Result<Node<'a, 'i>, ProviderError> {
    let root = document.root_element();
    let mut elements = root.children().filter(Node::is_element);
    let blank =
        root.children().filter(Node::is_text).all(|node| trim(node.text().unwrap_or_default()).is_empty());
    match (elements.next(), elements.next(), blank) {
        (Some(element), None, true) => Ok(element),
        _ => Err(invalid("what was encrypted is not one element")),
    }
}

/// `text` in an element's text, escaped as canonical XML writes it (Canonical XML 1.1, section
/// 2.3).
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
            "<a xmlns:p=''/>",
            "<a xmlns:q='u' q:xmlns='urn:x'/>",
            "<a xmlns:xmlns='urn:x'/>",
            "<a xmlns='urn:x' xmlns='urn:y'/>",
            "<a :b='1'/>",
            "<a xmlns:p='urn:x' p:='1'/>",
            "<:a/>",
            "<a xmlns:p='urn:x' p:b:c='1'/>",
            "<a>&#xD800;</a>",
            "<a b='&#xDFFF;'/>",
            "<a>&#x110000;</a>",
            "<a>&#99999999999;</a>",
            "<a>&#xFFFE;</a>",
            "<a>&#0;</a>",
            "<a>&#x1;</a>",
            "<a>&#+65;</a>",
            "<a>&#;</a>",
            "<a>&#65</a>",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse("<a b='&#xA;'>&#65;&#x1F600;&#x10FFFF;</a>").is_ok());
        let named = |prefix: &str| format!("<{prefix}:a xmlns:{prefix}='urn:x'/>");
        assert!(parse(&named("p")).is_ok());
        assert!(parse(&named(&"p".repeat(MAX_NAME + 1))).is_err());
        let deep = format!("{}{}", "<a>".repeat(bounds::MAX_DEPTH), "</a>".repeat(bounds::MAX_DEPTH));
        assert!(parse(&deep).is_err());
    }
}
