//! XML signatures, verified over the tree that everything else is read from. What is read
//! afterwards is the canonical text that was digested, and nothing else of the message.

use super::base64;
use super::canonical::{self, canonicalize};
use super::verification::{SignatureMethod, VerificationKey, digest_algorithm};
use super::xml::{self, DS, EXCLUSIVE};
use crate::provider::ProviderError;
use aws_lc_rs::digest;
use roxmltree::{Document, Node};

const WITH_COMMENTS: &str = "http://www.w3.org/2001/10/xml-exc-c14n#WithComments";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
/// Prefixes of an `InclusiveNamespaces`.
const MAX_PREFIXES: usize = 32;

fn invalid(detail: impl std::fmt::Display) -> ProviderError {
    ProviderError::invalid("signature", detail)
}

/// The failed check of a message without a signature.
pub fn unsigned() -> ProviderError {
    ProviderError::invalid("unsigned", "nothing is signed")
}

/// Whether `element` carries a signature of its own.
pub fn is_signed(element: Node<'_, '_>) -> bool {
    xml::children(element, DS, "Signature").next().is_some()
}

/// Verifies every signature in `document` by `keys`, and returns the canonical text of what was
/// signed: the outermost element where several are.
///
/// # Errors
/// The failed check `signature`, where any signature is not good, or stands where none belongs;
/// `unsigned`, where there is none.
pub fn verified(document: &Document<'_>, keys: &[VerificationKey]) -> Result<String, ProviderError> {
    let root = document.root_element();
    let signatures: Vec<_> = document.descendants().filter(|node| xml::is(*node, DS, "Signature")).collect();
    if signatures.is_empty() {
        return Err(unsigned());
    }
    if keys.is_empty() {
        return Err(invalid("the provider's metadata has no key to verify by"));
    }
    let mut outermost = None;
    for signature in signatures {
        let Some(parent) = signature.parent_element() else { return Err(invalid("it signs nothing")) };
        // SAML core, section 5.4.1: a signature signs the element in which it stands.
        let placed = parent == root
            || (parent.parent_element() == Some(root) && xml::is(parent, xml::SAML, "Assertion"));
        if !placed {
            return Err(invalid("it stands where none belongs"));
        }
        xml::at_most_one(parent, DS, "Signature").map_err(|_| invalid("an element has two"))?;
        let signed = Signature::read(signature, parent)?.verified(signature, parent, keys)?;
        if outermost.is_none() || parent == root {
            outermost = Some(signed);
        }
    }
    outermost.ok_or_else(unsigned)
}

/// A signature as SAML core, section 5.4, has it: one reference, to the very element in which the
/// signature stands.
struct Signature<'a, 'i> {
    info: Node<'a, 'i>,
    canonicalization: canonical::Method,
    method: SignatureMethod,
    value: Vec<u8>,
    /// How the element is canonicalized. Comments never stay: XML Signature 1.1, section 4.4.3.3,
    /// has a reference by a bare id refer to an element without comments.
    transform: canonical::Method,
    digest: &'static digest::Algorithm,
    digest_value: Vec<u8>,
}

impl<'a, 'i> Signature<'a, 'i> {
    fn read(signature: Node<'a, 'i>, parent: Node<'a, 'i>) -> Result<Self, ProviderError> {
        let (info, value) = match *elements(signature)? {
            [("SignedInfo", info), ("SignatureValue", value)]
            | [("SignedInfo", info), ("SignatureValue", value), ("KeyInfo", _)] => (info, value),
            _ => return Err(invalid("it is not made of SignedInfo, SignatureValue and KeyInfo")),
        };
        let [
            ("CanonicalizationMethod", canonicalization),
            ("SignatureMethod", method),
            ("Reference", reference),
        ] = *elements(info)?
        else {
            return Err(invalid(
                "its SignedInfo must have one canonicalization, one method and one reference",
            ));
        };
        let [("Transforms", transforms), ("DigestMethod", digest), ("DigestValue", digest_value)] =
            *elements(reference)?
        else {
            return Err(invalid("its reference must have transforms, a digest method and a digest"));
        };
        let [("Transform", enveloped), ("Transform", exclusive)] = *elements(transforms)? else {
            return Err(invalid("it must have two transforms"));
        };

        // SAML core, section 5.4.2: "Signatures MUST contain a single <ds:Reference> containing a
        // same-document reference to the ID attribute value of the root element of the assertion or
        // protocol message being signed."
        let id = parent.attribute("ID").unwrap_or_default();
        if id.is_empty() || reference.attribute("URI") != Some(&format!("#{id}")) {
            return Err(invalid("it does not refer to the element in which it stands"));
        }
        if algorithm(enveloped) != ENVELOPED || enveloped.has_children() {
            return Err(invalid(format!("its first transform is `{}`", algorithm(enveloped))));
        }
        let method_uri = algorithm(method);
        let digest_uri = algorithm(digest);
        Ok(Self {
            info,
            canonicalization: exclusive_method(canonicalization)?,
            method: SignatureMethod::named(method_uri)
                .filter(|_| !method.has_children())
                .ok_or_else(|| invalid(format!("the signature method `{method_uri}` is not accepted")))?,
            value: decoded(value)?,
            transform: canonical::Method { comments: false, ..exclusive_method(exclusive)? },
            digest: digest_algorithm(digest_uri)
                .filter(|_| !digest.has_children())
                .ok_or_else(|| invalid(format!("the digest method `{digest_uri}` is not accepted")))?,
            digest_value: decoded(digest_value)?,
        })
    }

    /// The canonical text of `parent`. The signature comes first: nothing large is canonicalized
    /// for a message that no key of the provider's signed.
    fn verified(
        &self,
        signature: Node<'_, '_>,
        parent: Node<'_, '_>,
        keys: &[VerificationKey],
    ) -> Result<String, ProviderError> {
        let too_long = |_| invalid("its canonical form is too long");
        let info = canonicalize(self.info, None, &self.canonicalization).map_err(too_long)?;
        if !keys.iter().any(|key| key.verifies(self.method, info.as_bytes(), &self.value)) {
            return Err(invalid("no key in the provider's metadata verifies it"));
        }
        let text = canonicalize(parent, Some(signature.id()), &self.transform).map_err(too_long)?;
        match digest::digest(self.digest, text.as_bytes()).as_ref() == self.digest_value {
            true => Ok(text),
            false => {
                Err(invalid("the digest of the signed element differs: it was changed after it was signed"))
            }
        }
    }
}

/// The child elements of an element of a signature, by name: of XML Signature's namespace, and
/// nothing between them but white space.
fn elements<'a, 'i>(node: Node<'a, 'i>) -> Result<Vec<(&'a str, Node<'a, 'i>)>, ProviderError> {
    let mut found = Vec::new();
    for child in node.children() {
        if child.is_element() && child.tag_name().namespace() == Some(DS) {
            found.push((child.tag_name().name(), child));
        } else if !(child.is_comment()
            || child.is_text() && xml::trim(child.text().unwrap_or_default()).is_empty())
        {
            return Err(invalid(format!("its {} holds what does not belong there", node.tag_name().name())));
        }
    }
    Ok(found)
}

fn algorithm<'a>(node: Node<'a, '_>) -> &'a str {
    node.attribute("Algorithm").unwrap_or_default()
}

fn decoded(node: Node<'_, '_>) -> Result<Vec<u8>, ProviderError> {
    base64(xml::text(node).map_err(invalid)?).ok_or_else(|| invalid("it holds what is not base64"))
}

/// The canonicalization that `node` names (Exclusive XML Canonicalization 1.0, section 4): with its
/// one parameter, a list of prefixes.
fn exclusive_method(node: Node<'_, '_>) -> Result<canonical::Method, ProviderError> {
    let comments = match algorithm(node) {
        EXCLUSIVE => false,
        WITH_COMMENTS => true,
        other => return Err(invalid(format!("the canonicalization `{other}` is not accepted"))),
    };
    let mut prefixes = Vec::new();
    for child in node.children() {
        if child.is_text() && xml::trim(child.text().unwrap_or_default()).is_empty() {
            continue;
        }
        if !prefixes.is_empty() || !xml::is(child, EXCLUSIVE, "InclusiveNamespaces") || child.has_children() {
            return Err(invalid("a canonicalization has more than one list of prefixes"));
        }
        let list = child.attribute("PrefixList").unwrap_or_default().split([' ', '\t', '\r', '\n']);
        let list = list.filter(|prefix| !prefix.is_empty()).take(MAX_PREFIXES + 1);
        // "The default namespace is indicated by the token #default."
        prefixes = list.map(|prefix| if prefix == "#default" { "" } else { prefix }.to_owned()).collect();
        if prefixes.len() > MAX_PREFIXES {
            return Err(invalid(format!("a list has more than {MAX_PREFIXES} prefixes")));
        }
    }
    Ok(canonical::Method { comments, prefixes })
}
