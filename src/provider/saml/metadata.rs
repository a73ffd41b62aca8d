//! A provider's metadata (SAML metadata, section 2.4): who it is, where it is spoken with, and by which
//! keys it signs.

use super::xml::{self, DS, MD, SAMLP};
use super::{base64, instant, signature};
use crate::base::Timestamp;
use crate::provider::ProviderError;
use roxmltree::{Document, Node};
use samael::crypto::CertificateDer;
use url::Url;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Smaller keys of RSA can be broken by those who can afford it.
const LEAST_RSA_BITS: usize = 2048;

/// How a message travels by the browser (SAML bindings, sections 3.4 and 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// In an address.
    Redirect,
    /// In a form.
    Post,
}

/// The bindings, the one that is taken first where both are offered first.
const BINDINGS: [(&str, Binding); 2] = [
    ("urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect", Binding::Redirect),
    ("urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST", Binding::Post),
];

impl Binding {
    /// The binding's URI.
    pub fn uri(self) -> &'static str {
        BINDINGS.iter().find(|(_, binding)| *binding == self).map_or("", |(uri, _)| uri)
    }
}

/// Where a provider is spoken with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// How.
    pub binding: Binding,
    /// Where requests go.
    pub location: Url,
    /// Where responses go.
    pub response_location: Url,
}

/// A key by which a provider signs.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its certificate. Only the key in it counts: metadata vouches for it, and no authority.
    pub certificate: CertificateDer,
    /// When the certificate ends. Some providers go on with it all the same.
    pub ends_at: Timestamp,
}

/// What is known of a provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its entity id.
    pub entity_id: String,
    /// Its keys: several during a change.
    pub keys: Vec<Key>,
    /// Where a browser signs in.
    pub sign_on: Endpoint,
    /// Where a browser signs out.
    pub logout: Option<Endpoint>,
    /// Whether it takes only signed requests.
    pub wants_signed_requests: bool,
    /// Until when the metadata counts.
    pub valid_until: Option<Timestamp>,
}

impl Provider {
    /// Its keys' certificates.
    pub fn certificates(&self) -> Vec<CertificateDer> {
        self.keys.iter().map(|key| key.certificate.clone()).collect()
    }
}

fn wrong(why: impl std::fmt::Display) -> ProviderError {
    ProviderError::Unavailable(format!("its metadata cannot be used: {why}"))
}

/// Reads metadata, verified by `pinned` where that is given.
///
/// # Errors
/// [`ProviderError::Unavailable`] where a login could not be judged by it.
pub fn read(text: &str, pinned: Option<&CertificateDer>, now: Timestamp) -> Result<Provider, ProviderError> {
    let document = parse(text)?;
    let Some(pinned) = pinned else { return of(document.root_element(), now) };
    let signed = signature::verified(text, &document, std::slice::from_ref(pinned)).map_err(wrong)?;
    of(parse(&signed)?.root_element(), now)
}

/// Unlike messages, metadata is written by people too, who comment on it.
fn parse(text: &str) -> Result<Document<'_>, ProviderError> {
    xml::parse_with_comments(text).map_err(wrong)
}

fn of(root: Node<'_, '_>, now: Timestamp) -> Result<Provider, ProviderError> {
    let descriptors: Vec<Node<'_, '_>> = root
        .descendants()
        .filter(|node| xml::is(*node, MD, "IDPSSODescriptor"))
        .filter(|node| node.attribute("protocolSupportEnumeration").unwrap_or_default().contains(SAMLP))
        .collect();
    let [descriptor] = descriptors.as_slice() else {
        return Err(wrong(format!(
            "it describes {} identity providers, and must describe one",
            descriptors.len()
        )));
    };
    let entity = descriptor.parent_element().filter(|node| xml::is(*node, MD, "EntityDescriptor"));
    let entity_id = entity.and_then(|entity| entity.attribute("entityID")).unwrap_or_default();
    // SAML core, section 8.3.6: "at most 1024 characters".
    if entity_id.is_empty() || entity_id.len() > 1024 || entity_id.chars().any(char::is_control) {
        return Err(wrong("it has no entityID"));
    }
    let valid_until = valid_until(*descriptor)?;
    if valid_until.is_some_and(|until| now >= until) {
        return Err(wrong("its validUntil has passed"));
    }
    let keys = keys(*descriptor)?;
    if keys.is_empty() {
        return Err(wrong("it has no signing key, so that nothing could be verified"));
    }
    let sign_on = endpoint(*descriptor, "SingleSignOnService")?
        .ok_or_else(|| wrong("it has no SingleSignOnService by HTTP-Redirect or HTTP-POST"))?;
    Ok(Provider {
        entity_id: entity_id.to_owned(),
        keys,
        sign_on,
        // Nobody is kept out for want of it.
        logout: endpoint(*descriptor, "SingleLogoutService").unwrap_or_default(),
        wants_signed_requests: matches!(descriptor.attribute("WantAuthnRequestsSigned"), Some("true" | "1")),
        valid_until,
    })
}

/// The first end of those that the descriptor and what is around it tell.
fn valid_until(descriptor: Node<'_, '_>) -> Result<Option<Timestamp>, ProviderError> {
    let told = descriptor.ancestors().filter_map(|node| node.attribute("validUntil"));
    let times = told.map(|told| instant(Some(told)).ok_or_else(|| wrong("its validUntil is no time")));
    Ok(times.collect::<Result<Vec<_>, _>>()?.into_iter().min())
}

/// The keys that sign: those whose use is signing, or not told (SAML metadata, section 2.4.1.1).
fn keys(descriptor: Node<'_, '_>) -> Result<Vec<Key>, ProviderError> {
    let descriptors = xml::children(descriptor, MD, "KeyDescriptor")
        .filter(|key| matches!(key.attribute("use"), None | Some("signing")));
    let info = descriptors.flat_map(|key| xml::children(key, DS, "KeyInfo"));
    let data = info.flat_map(|info| xml::children(info, DS, "X509Data"));
    let read = data.flat_map(|data| xml::children(data, DS, "X509Certificate")).map(|certificate| {
        let der = base64(xml::text(certificate).map_err(wrong)?)
            .ok_or_else(|| wrong("a certificate is no base64"))?;
        key(der)
    });
    let (good, mut bad): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
    match (good.is_empty(), bad.is_empty()) {
        // One that cannot be used beside those that can is none that would be asked.
        (false, _) | (true, true) => Ok(good.into_iter().flatten().collect()),
        (true, false) => bad.swap_remove(0).map(|key| vec![key]),
    }
}

/// A key by its certificate.
///
/// # Errors
/// Where it is none, or its key is too weak or of a kind that is not taken.
pub fn key(der: Vec<u8>) -> Result<Key, ProviderError> {
    let (_, certificate) =
        X509Certificate::from_der(&der).map_err(|_| wrong("a certificate cannot be read"))?;
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(rsa)) if rsa.key_size() >= LEAST_RSA_BITS => {}
        Ok(PublicKey::EC(point)) if point.key_size() >= 256 => {}
        Ok(PublicKey::RSA(rsa)) => {
            return Err(wrong(format!(
                "a key has {} bits; less than {LEAST_RSA_BITS} are not taken",
                rsa.key_size()
            )));
        }
        _ => return Err(wrong("a key is neither of RSA nor of an elliptic curve that is taken")),
    }
    let ends_at = Timestamp::from_seconds(certificate.validity().not_after.timestamp());
    Ok(Key { certificate: der.into(), ends_at })
}

/// The endpoint called `service`, by redirect where that is offered.
fn endpoint(descriptor: Node<'_, '_>, service: &'static str) -> Result<Option<Endpoint>, ProviderError> {
    for (uri, binding) in BINDINGS {
        let mut of_binding =
            xml::children(descriptor, MD, service).filter(|node| node.attribute("Binding") == Some(uri));
        let Some(node) = of_binding.next() else { continue };
        let location = address(node.attribute("Location").unwrap_or_default())?;
        // SAML metadata, section 2.2.2: where it is absent, responses go where requests go.
        let response_location = match node.attribute("ResponseLocation") {
            Some(told) => address(told)?,
            None => location.clone(),
        };
        return Ok(Some(Endpoint { binding, location, response_location }));
    }
    Ok(None)
}

/// Browsers are sent there: to https, or to this very machine.
fn address(text: &str) -> Result<Url, ProviderError> {
    let url = Url::parse(text).map_err(|error| wrong(format!("`{text}` is no address: {error}")))?;
    match crate::config::is_safe(&url) {
        true => Ok(url),
        false => Err(wrong(format!("`{text}` is not https"))),
    }
}
