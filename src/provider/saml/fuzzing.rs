//! Fuzz targets for SAML messages; see the module `fuzzing` of the crate.
//!
//! A fuzzer cannot sign. Each message is judged as it is, and must be refused; then the target
//! signs it with the key of the provider, and judges it again.

use super::canonical::{Method, canonicalize};
use super::key::ServiceProviderKey;
use super::logout::{self, LogoutBinding, LogoutMessage};
use super::metadata::{Binding, Endpoint, Provider};
use super::response::{self, Expected, ValidatedAssertion};
use super::verification::VerificationKey;
use super::xml::{self, DS, EXCLUSIVE, SAML, escaped_value};
use crate::base::{Duration, Timestamp};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roxmltree::Node;
use std::sync::{Arc, LazyLock};
use url::Url;
use url::form_urlencoded::byte_serialize;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const PROVIDER: &str = "https://idp.example.com";
const AUDIENCE: &str = "narthex";
const ACS: &str = "https://auth.example.com/saml2/idpresponse/corp";
const LOGOUT: &str = "https://auth.example.com/saml2/logout/corp";
const ECDSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256";
const DIGEST: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";

struct Parties {
    pair: EcdsaKeyPair,
    provider: Provider,
    own: [Arc<ServiceProviderKey>; 1],
}

static PARTIES: LazyLock<Parties> = LazyLock::new(|| {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key can be generated");
    let certificate =
        rcgen::CertificateParams::default().self_signed(&key).expect("a certificate can be made");
    let verification = VerificationKey::from_certificate(certificate.der()).expect("its key is accepted");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der());
    let place = Url::parse(PROVIDER).expect("it is a URL");
    let endpoint = Endpoint { binding: Binding::Post, location: place.clone(), response_location: place };
    let provider = Provider {
        entity_id: PROVIDER.to_owned(),
        keys: vec![verification],
        sign_on: endpoint.clone(),
        logout: Some(endpoint),
        wants_signed_requests: false,
        valid_until: None,
    };
    let own = ServiceProviderKey::generate()
        .and_then(|key| ServiceProviderKey::read(&key, ServiceProviderKey::self_signed(&key, NOW)?));
    let own = [Arc::new(own.expect("a key can be generated"))];
    Parties { pair: pair.expect("the key is read again"), provider, own }
});

/// The canonical form of the root element, where the input is a document.
pub fn canonical(text: &str, prefixes: &[String]) -> Option<String> {
    let document = xml::parse(text).ok()?;
    let method = Method { comments: false, prefixes: prefixes.to_vec() };
    canonicalize(document.root_element(), None, &method).ok()
}

/// Reads the input, behind a first line of prefixes, as a document, and compares what its canonical
/// form says with what the document says.
pub fn document(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Some((prefixes, text)) = text.split_once('\n') else { return false };
    let prefixes: Vec<String> = prefixes.split_whitespace().map(str::to_owned).collect();
    let Some(once) = canonical(text, &prefixes) else { return false };
    assert_eq!(canonical(&once, &prefixes).as_ref(), Some(&once), "a canonical form has another one");
    let (Ok(before), Ok(after)) = (xml::parse(text), xml::parse(&once)) else {
        panic!("a canonical form is refused");
    };
    let read = |document: &roxmltree::Document<'_>| -> Vec<String> {
        let nodes = document.root_element().descendants();
        nodes.map(|node| format!("{:?} {:?} {:?}", node.tag_name(), node.text(), sorted(node))).collect()
    };
    assert_eq!(read(&before), read(&after), "a canonical form means another document");
    true
}

fn sorted(node: Node<'_, '_>) -> Vec<(Option<String>, String, String)> {
    let owned = |a: roxmltree::Attribute<'_, '_>| {
        (a.namespace().map(str::to_owned), a.name().to_owned(), a.value().to_owned())
    };
    let mut all: Vec<_> = node.attributes().map(owned).collect();
    all.sort();
    all
}

/// Reads the input as a response: as it is, with the response signed, and with its assertion
/// signed.
pub fn response(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    assert!(judge(text).is_none(), "a response that nobody has signed is accepted");
    let Ok(document) = xml::parse(text) else { return false };
    let canonical_text = canonical(text, &[]);
    if let Some(once) = &canonical_text {
        assert_eq!(canonical(once, &[]).as_ref(), Some(once), "a canonical form has another one");
    }
    let root = document.root_element();
    let assertion = xml::children(root, SAML, "Assertion").next();
    let whole = signed(text, root).and_then(|text| judge(&text));
    let part = assertion.and_then(|assertion| signed(text, assertion)).and_then(|text| judge(&text));
    if let (Some(whole), Some(part)) = (&whole, &part) {
        assert_eq!(format!("{whole:?}"), format!("{part:?}"), "what is signed decides what is read");
    }
    for judged in whole.iter().chain(&part) {
        accepted(judged);
    }
    whole.is_some() || part.is_some()
}

fn accepted(judged: &ValidatedAssertion) {
    let plain = |text: &str| !text.is_empty() && !text.chars().any(char::is_control);
    assert!(plain(&judged.name_id.value) && judged.name_id.value.len() <= 256, "{judged:?}");
    assert!(judged.auth_time <= NOW && !judged.id.is_empty(), "{judged:?}");
    assert!(judged.usable_until > NOW, "{judged:?}");
    assert!(judged.usable_until <= NOW.plus(Duration::from_secs(86400 + 120)), "{judged:?}");
    assert!(judged.session_ends_at.is_none_or(|end| end > NOW), "{judged:?}");
}

fn judge(text: &str) -> Option<ValidatedAssertion> {
    let parties = &*PARTIES;
    let expected = Expected {
        provider: PROVIDER,
        keys: &parties.provider.keys,
        audience: AUDIENCE,
        acs: ACS,
        request_id: Some("request"),
        decryption: &parties.own,
        encrypted: false,
        authn_context: &[],
        authenticated_after: None,
        now: NOW,
    };
    response::validate(text, &expected).ok()
}

/// Reads the input as a logout message: as XML that comes in a form or a query where it begins with
/// `<`, and else as the form or query itself.
pub fn logout(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    if !text.starts_with('<') {
        for arrived in [LogoutBinding::Form(text.into()), LogoutBinding::Query(text.into())] {
            assert!(judge_logout(&arrived).is_none(), "a logout that nobody has signed is accepted");
            arrived.is_response();
        }
        let query = signed_query(text);
        return judge_logout(&LogoutBinding::Query(query.as_str().into())).is_some();
    }
    let form = |text: &str| LogoutBinding::Form(format!("SAMLRequest={}", encoded(text.as_bytes())).into());
    assert!(judge_logout(&form(text)).is_none(), "a logout that nobody has signed is accepted");
    let Ok(document) = xml::parse(text) else { return false };
    let posted = signed(text, document.root_element()).and_then(|text| judge_logout(&form(&text)));
    let query = signed_query(&format!("SAMLRequest={}", encoded(&deflated(text))));
    let redirected = judge_logout(&LogoutBinding::Query(query.as_str().into()));
    if let (Some(posted), Some(redirected)) = (&posted, &redirected) {
        assert_eq!(format!("{posted:?}"), format!("{redirected:?}"), "the binding decides what is read");
    }
    posted.is_some() || redirected.is_some()
}

fn judge_logout(arrived: &LogoutBinding) -> Option<LogoutMessage> {
    let message = logout::validate(arrived, &PARTIES.provider, LOGOUT, NOW).ok()?;
    if let LogoutMessage::Request { token, id, .. } = &message {
        assert!(!id.is_empty() && token.issuer == PROVIDER && token.expires_at > NOW, "{token:?}");
    }
    Some(message)
}

/// `query` with a method and the provider's signature behind it (SAML bindings, section 3.4.4.1).
fn signed_query(query: &str) -> String {
    let query = format!("{query}&SigAlg={}", byte_serialize(ECDSA_SHA256.as_bytes()).collect::<String>());
    format!("{query}&Signature={}", encoded(&sign(query.as_bytes())))
}

fn encoded(bytes: &[u8]) -> String {
    byte_serialize(STANDARD.encode(bytes).as_bytes()).collect()
}

fn deflated(text: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory can be written to");
    encoder.finish().expect("memory can be written to")
}

fn sign(message: &[u8]) -> Vec<u8> {
    let signature = PARTIES.pair.sign(&SystemRandom::new(), message);
    signature.expect("a key signs").as_ref().to_vec()
}

/// `text` with the provider's signature of `element` in it; none where the element has no id or no
/// content.
fn signed(text: &str, element: Node<'_, '_>) -> Option<String> {
    let id = element.attribute("ID").filter(|id| !id.is_empty())?;
    let place = element.first_child()?.range().start;
    let digested = canonicalize(element, None, &Method::default()).ok()?;
    let digested = STANDARD.encode(digest(&SHA256, digested.as_bytes()));
    let id = escaped_value(id);
    // In its canonical form, so that it is signed as it stands there.
    let info = format!(
        "<ds:SignedInfo xmlns:ds=\"{DS}\"><ds:CanonicalizationMethod Algorithm=\"{EXCLUSIVE}\">\
         </ds:CanonicalizationMethod><ds:SignatureMethod Algorithm=\"{ECDSA_SHA256}\"></ds:SignatureMethod>\
         <ds:Reference URI=\"#{id}\"><ds:Transforms><ds:Transform Algorithm=\"{ENVELOPED}\"></ds:Transform>\
         <ds:Transform Algorithm=\"{EXCLUSIVE}\"></ds:Transform></ds:Transforms>\
         <ds:DigestMethod Algorithm=\"{DIGEST}\"></ds:DigestMethod><ds:DigestValue>{digested}</ds:DigestValue>\
         </ds:Reference></ds:SignedInfo>"
    );
    let value = STANDARD.encode(sign(info.as_bytes()));
    let (before, after) = text.split_at_checked(place)?;
    Some(format!(
        "{before}<ds:Signature xmlns:ds=\"{DS}\">{info}<ds:SignatureValue>{value}</ds:SignatureValue>\
         </ds:Signature>{after}"
    ))
}
