//! XML signatures. What is read afterwards is what was digested, byte for byte: the primitive hands back
//! the canonical text that it verified, and nothing else of the message is looked at again.

use super::xml::{self, DS};
use crate::provider::ProviderError;
use roxmltree::{Document, Node};
use samael::crypto::{
    AllowedSignatureAlgorithm as Allowed, CertificateDer, Crypto, CryptoProvider, ReduceMode,
};

const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";

/// What may sign: RSA and ECDSA with SHA-256 or better. SHA-1 and HMAC are not among them.
const METHODS: [Allowed; 6] = [
    Allowed::RsaSha256,
    Allowed::RsaSha384,
    Allowed::RsaSha512,
    Allowed::EcdsaSha256,
    Allowed::EcdsaSha384,
    Allowed::EcdsaSha512,
];

fn wrong(detail: impl std::fmt::Display) -> ProviderError {
    ProviderError::invalid("signature", detail)
}

/// Whether `element` carries a signature of its own.
pub fn is_signed(element: Node<'_, '_>) -> bool {
    xml::children(element, DS, "Signature").next().is_some()
}

/// Verifies every signature in `text`, whose document is `document`, by `keys`, and answers the canonical
/// text of what was signed: the outermost element where several are.
///
/// # Errors
/// The failed check `signature`, where any signature is not good, or stands where none belongs.
pub fn verified(
    text: &str,
    document: &Document<'_>,
    keys: &[CertificateDer],
) -> Result<String, ProviderError> {
    let root = document.root_element();
    let mut signatures = 0;
    for signature in document.descendants().filter(|node| xml::is(*node, DS, "Signature")) {
        let Some(parent) = signature.parent_element() else { return Err(wrong("it signs nothing")) };
        // SAML core, section 5.4.1: a signature signs the element in which it stands.
        let placed = parent == root
            || (parent.parent_element() == Some(root) && xml::is(parent, xml::SAML, "Assertion"));
        if !placed {
            return Err(wrong("it stands where none belongs"));
        }
        xml::at_most_one(parent, DS, "Signature").map_err(|_| wrong("an element has two"))?;
        check_form(signature, parent)?;
        signatures += 1;
    }
    if signatures == 0 {
        return Err(wrong("nothing is signed"));
    }
    if keys.is_empty() {
        return Err(wrong("the provider's metadata has no key to verify by"));
    }
    // A key of another kind is an error to the primitive, and keeps it from trying the next one.
    let mut tried = std::iter::once(keys).chain(keys.chunks(1)).map(|keys| {
        Crypto::reduce_xml_to_signed_with_allowed_algorithms(
            text,
            keys,
            ReduceMode::PreDigest,
            Some(&METHODS),
        )
    });
    tried.find_map(Result::ok).ok_or_else(|| wrong("no key of the provider's verifies it"))
}

/// SAML core, section 5.4: one reference, to the very element in which the signature stands, by the two
/// transforms that SAML knows.
fn check_form(signature: Node<'_, '_>, parent: Node<'_, '_>) -> Result<(), ProviderError> {
    let names: Vec<&str> =
        signature.children().filter(Node::is_element).map(|child| child.tag_name().name()).collect();
    if !matches!(
        names.as_slice(),
        ["SignedInfo", "SignatureValue"] | ["SignedInfo", "SignatureValue", "KeyInfo"]
    ) {
        return Err(wrong(format!("it is made of {}", names.join(", "))));
    }
    let info = xml::one(signature, DS, "SignedInfo").map_err(wrong)?;
    let algorithm = |node: Node<'_, '_>| node.attribute("Algorithm").unwrap_or_default().to_owned();

    let canonical = xml::one(info, DS, "CanonicalizationMethod").map_err(wrong)?;
    if algorithm(canonical) != EXCLUSIVE {
        return Err(wrong(format!("its canonicalization is `{}`", algorithm(canonical))));
    }
    let method = xml::one(info, DS, "SignatureMethod").map_err(wrong)?;
    if !METHODS.iter().any(|allowed| allowed.signature_uri() == algorithm(method)) {
        return Err(wrong(format!("its method `{}` is not taken", algorithm(method))));
    }
    let reference = xml::one(info, DS, "Reference").map_err(wrong)?;
    // "Signatures MUST contain a single <ds:Reference> containing a same-document reference to the ID
    // attribute value of the root element of the assertion or protocol message being signed."
    let id = parent.attribute("ID").unwrap_or_default();
    if id.is_empty() || reference.attribute("URI") != Some(&format!("#{id}")) {
        return Err(wrong("it does not refer to the element in which it stands"));
    }
    let transforms = xml::one(reference, DS, "Transforms").map_err(wrong)?;
    let transforms: Vec<String> = transforms.children().filter(Node::is_element).map(algorithm).collect();
    if transforms != [ENVELOPED, EXCLUSIVE] {
        return Err(wrong(format!("its transforms are {}", transforms.join(", "))));
    }
    let digest = xml::one(reference, DS, "DigestMethod").map_err(wrong)?;
    if !METHODS.iter().any(|allowed| allowed.digest_uri() == algorithm(digest)) {
        return Err(wrong(format!("its digest `{}` is not taken", algorithm(digest))));
    }
    Ok(())
}
