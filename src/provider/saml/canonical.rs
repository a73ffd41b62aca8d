//! Exclusive XML Canonicalization 1.0 of one element, from the tree that everything else is read
//! from.

use super::xml::{escaped, escaped_value};
use roxmltree::{Attribute, Node, NodeId, NodeType};

/// How an element is canonicalized.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Method {
    /// Whether comments stay.
    pub comments: bool,
    /// `InclusiveNamespaces`: prefixes that are treated as by inclusive canonicalization; empty for
    /// `#default`.
    pub prefixes: Vec<String>,
}

/// Largest canonical form, in bytes. It can exceed its source: a namespace declared once on an
/// ancestor is written on each element that uses it.
pub const MAX_LENGTH: usize = 4 * 1024 * 1024;

/// The canonical form exceeds [`MAX_LENGTH`].
#[derive(Debug)]
pub struct TooLong;

/// Canonicalizes `element` without the subtree of the node `omitted`.
///
/// # Errors
/// [`TooLong`].
pub fn canonicalize(
    element: Node<'_, '_>,
    omitted: Option<NodeId>,
    method: &Method,
) -> Result<String, TooLong> {
    let mut writer = Writer { text: String::new(), omitted, method, rendered: Vec::new() };
    writer.node(element)?;
    Ok(writer.text)
}

struct Writer<'a, 'm> {
    text: String,
    omitted: Option<NodeId>,
    method: &'m Method,
    /// The namespace declarations written on open elements, by prefix; the last of a prefix is in
    /// force.
    rendered: Vec<(&'a str, &'a str)>,
}

impl<'a> Writer<'a, '_> {
    fn node(&mut self, node: Node<'a, '_>) -> Result<(), TooLong> {
        if Some(node.id()) == self.omitted {
            return Ok(());
        }
        match node.node_type() {
            NodeType::Element => self.element(node)?,
            NodeType::Text => self.text.push_str(&escaped(node.text().unwrap_or_default())),
            NodeType::Comment if self.method.comments => {
                self.text.push_str("<!--");
                self.text.push_str(node.text().unwrap_or_default());
                self.text.push_str("-->");
            }
            NodeType::PI => self.instruction(node),
            NodeType::Comment | NodeType::Root => {}
        }
        match self.text.len() <= MAX_LENGTH {
            true => Ok(()),
            false => Err(TooLong),
        }
    }

    fn instruction(&mut self, node: Node<'a, '_>) {
        let Some(instruction) = node.pi() else { return };
        self.text.push_str("<?");
        self.text.push_str(instruction.target);
        if let Some(value) = instruction.value {
            self.text.push(' ');
            self.text.push_str(value);
        }
        self.text.push_str("?>");
    }

    fn element(&mut self, node: Node<'a, '_>) -> Result<(), TooLong> {
        let name = qualified_name(node);
        let mut attributes: Vec<(Attribute<'a, '_>, &'a str)> =
            node.attributes().map(|attribute| (attribute, attribute_name(node, &attribute))).collect();
        let open = self.rendered.len();

        self.text.push('<');
        self.text.push_str(name);
        for (prefix, uri) in self.declarations(node, name, &attributes) {
            self.rendered.push((prefix, uri));
            self.text.push_str(if prefix.is_empty() { " xmlns" } else { " xmlns:" });
            self.text.push_str(prefix);
            self.value(uri);
        }
        // Canonical XML 1.0, section 2.3: "sorted lexicographically by namespace URI (primary key)
        // and local name (secondary key) (an empty namespace URI is lexicographically least)".
        attributes
            .sort_by_key(|(attribute, _)| (attribute.namespace().unwrap_or_default(), attribute.name()));
        for (attribute, name) in attributes {
            self.text.push(' ');
            self.text.push_str(name);
            self.value(attribute.value());
        }
        self.text.push('>');
        for child in node.children() {
            self.node(child)?;
        }
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push('>');
        self.rendered.truncate(open);
        Ok(())
    }

    fn value(&mut self, value: &str) {
        self.text.push_str("=\"");
        self.text.push_str(&escaped_value(value));
        self.text.push('"');
    }

    /// The namespace declarations that `node` gets, sorted by prefix. Exclusive XML
    /// Canonicalization 1.0, section 3: those "visibly utilized" by the element that its output
    /// ancestors have not declared alike.
    fn declarations(
        &self,
        node: Node<'a, '_>,
        name: &'a str,
        attributes: &[(Attribute<'a, '_>, &'a str)],
    ) -> Vec<(&'a str, &'a str)> {
        // An unprefixed attribute is in no namespace, so that it utilizes none.
        let of_attributes =
            attributes.iter().map(|(_, name)| prefix(name)).filter(|prefix| !prefix.is_empty());
        let in_scope = node.namespaces().map(|namespace| namespace.name().unwrap_or_default());
        let listed = in_scope.chain([""]).filter(|prefix| self.method.prefixes.iter().any(|p| p == prefix));
        let mut prefixes: Vec<&str> = [prefix(name)].into_iter().chain(of_attributes).chain(listed).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes.retain(|prefix| *prefix != "xml");
        let uri = |prefix: &'a str| {
            (prefix, node.lookup_namespace_uri((!prefix.is_empty()).then_some(prefix)).unwrap_or_default())
        };
        prefixes.into_iter().map(uri).filter(|(prefix, uri)| self.in_force(prefix) != *uri).collect()
    }

    /// The namespace that the output has for `prefix`; empty where it has none.
    fn in_force(&self, prefix: &str) -> &'a str {
        self.rendered.iter().rev().find(|(known, _)| *known == prefix).map_or("", |(_, uri)| uri)
    }
}

/// An element's name as its start tag has it.
fn qualified_name<'a>(element: Node<'a, '_>) -> &'a str {
    let tag = &element.document().input_text()[element.range().start + 1..];
    let end = tag.find(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>').unwrap_or(tag.len());
    &tag[..end]
}

/// An attribute's name as the start tag of `element` has it.
fn attribute_name<'a>(element: Node<'a, '_>, attribute: &Attribute<'a, '_>) -> &'a str {
    &element.document().input_text()[attribute.range_qname()]
}

fn prefix(name: &str) -> &str {
    name.split_once(':').map_or("", |(prefix, _)| prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::saml::xml;

    /// The canonical form of the first element with the local name `e`.
    fn canonical(text: &str, method: &Method) -> Result<String, TooLong> {
        let document = xml::parse_with_comments(text).unwrap();
        let element = document.descendants().find(|node| node.tag_name().name() == "e").unwrap();
        let omitted = document.descendants().find(|node| node.tag_name().name() == "omitted");
        canonicalize(element, omitted.map(|node| node.id()), method)
    }

    #[test]
    fn an_element_is_written_with_what_it_uses() {
        let plain = Method::default();
        let listed = |prefixes: &[&str]| Method {
            comments: false,
            prefixes: prefixes.iter().map(|prefix| (*prefix).to_owned()).collect(),
        };
        for (text, method, expected) in [
            // Exclusive XML Canonicalization 1.0, section 2.2.
            (
                "<n0:local xmlns:n0='foo:bar' xmlns:n3='ftp://example.org'><n1:e xmlns:n1='http://example.net' \
                 xml:lang='en'><n3:stuff xmlns:n3='ftp://example.org'/></n1:e></n0:local>",
                &plain,
                "<n1:e xmlns:n1=\"http://example.net\" xml:lang=\"en\"><n3:stuff xmlns:n3=\"ftp://example.org\"></n3:stuff></n1:e>",
            ),
            (
                "<n2:pdu xmlns:n1='http://example.com' xmlns:n2='http://foo.example' xml:lang='fr'>\
                 <n1:e xmlns:n1='http://example.net' xml:lang='en'><n3:stuff xmlns:n3='ftp://example.org'/></n1:e></n2:pdu>",
                &plain,
                "<n1:e xmlns:n1=\"http://example.net\" xml:lang=\"en\"><n3:stuff xmlns:n3=\"ftp://example.org\"></n3:stuff></n1:e>",
            ),
            // Attributes by namespace, then by name; declarations before them, by prefix.
            (
                "<e b='2' a='1' y:a='3' x:b='4' xmlns:x='urn:2' xmlns:y='urn:1' xmlns='urn:d'/>",
                &plain,
                "<e xmlns=\"urn:d\" xmlns:x=\"urn:2\" xmlns:y=\"urn:1\" a=\"1\" b=\"2\" y:a=\"3\" x:b=\"4\"></e>",
            ),
            // A default namespace that ends is undeclared where one was written.
            (
                "<e xmlns='urn:d'><a xmlns=''><b/></a></e>",
                &plain,
                "<e xmlns=\"urn:d\"><a xmlns=\"\"><b></b></a></e>",
            ),
            ("<x xmlns='urn:d'><e xmlns=''/></x>", &plain, "<e></e>"),
            // A prefix that is bound anew, and one that is bound alike.
            (
                "<p:e xmlns:p='urn:1'><p:a xmlns:p='urn:2'/><p:b xmlns:p='urn:1'/></p:e>",
                &plain,
                "<p:e xmlns:p=\"urn:1\"><p:a xmlns:p=\"urn:2\"></p:a><p:b></p:b></p:e>",
            ),
            // Listed prefixes are written where they are in scope, used or not.
            (
                "<x xmlns:p='urn:p' xmlns:q='urn:q' xmlns='urn:d'><f:e xmlns:f='urn:f' a='p:b'/></x>",
                &listed(&["p", "unknown", ""]),
                "<f:e xmlns=\"urn:d\" xmlns:f=\"urn:f\" xmlns:p=\"urn:p\" a=\"p:b\"></f:e>",
            ),
            // Characters.
            (
                "<e a='&#9;&#10;&#13;&lt;&gt;&amp;&quot;&apos;\t\n'>\r\n&#13;&lt;&gt;&amp;\"&apos;<![CDATA[<&>]]></e>",
                &plain,
                "<e a=\"&#x9;&#xA;&#xD;&lt;>&amp;&quot;'  \">\n&#xD;&lt;&gt;&amp;\"'&lt;&amp;&gt;</e>",
            ),
            // Comments, instructions, and what is left out.
            ("<e><!-- c --><?p  d ?><omitted>x</omitted>y</e>", &plain, "<e><?p d ?>y</e>"),
            ("<e><!-- c --></e>", &Method { comments: true, prefixes: vec![] }, "<e><!-- c --></e>"),
        ] {
            assert_eq!(canonical(text, method).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_form_that_grows_beyond_its_limit_is_refused() {
        let uri = "u".repeat(10_000);
        let text = |count| format!("<x xmlns:p='{uri}'><e>{}</e></x>", "<p:a/>".repeat(count));
        assert!(canonical(&text(100), &Method::default()).is_ok());
        assert!(canonical(&text(1000), &Method::default()).is_err());
    }
}
