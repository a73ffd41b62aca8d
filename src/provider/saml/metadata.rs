//! A provider's metadata (SAML metadata, section 2.4): who it is, where it is spoken with, and by
//! which keys it signs.

use super::verification::VerificationKey;
use super::xml::{self, DS, MD, SAMLP};
use super::{base64, instant, signature};
use crate::base::Timestamp;
use crate::provider::ProviderError;
use roxmltree::{Document, Node};
use url::Url;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Signing keys of a provider: several during a rotation.
const MAX_KEYS: usize = 32;

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

/// What is known of a provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// Its entity id.
    pub entity_id: String,
    /// Its keys: several during a rotation.
    pub keys: Vec<VerificationKey>,
    /// Where a browser signs in.
    pub sign_on: Endpoint,
    /// Where a browser signs out.
    pub logout: Option<Endpoint>,
    /// Whether it takes only signed requests.
    pub wants_signed_requests: bool,
    /// The end of the metadata's validity.
    pub valid_until: Option<Timestamp>,
}

fn invalid(why: impl std::fmt::Display) -> ProviderError {
    ProviderError::Unreadable(format!("its metadata cannot be used: {why}"))
}

/// Reads metadata, verified by `pinned` where that is given. Of several entities, the provider is
/// the one whose entity id is `named`.
///
/// # Errors
/// [`ProviderError::Unreadable`] where a login could not be judged by it.
pub fn read(
    text: &str,
    named: Option<&str>,
    pinned: Option<&VerificationKey>,
    now: Timestamp,
) -> Result<Provider, ProviderError> {
    let document = parse(text)?;
    let Some(pinned) = pinned else { return of(document.root_element(), named, now) };
    let signed = signature::verified(&document, std::slice::from_ref(pinned)).map_err(invalid)?;
    of(parse(&signed)?.root_element(), named, now)
}

/// Unlike messages, metadata is written by people too, who comment on it.
fn parse(text: &str) -> Result<Document<'_>, ProviderError> {
    xml::parse_with_comments(text).map_err(invalid)
}

fn of(root: Node<'_, '_>, named: Option<&str>, now: Timestamp) -> Result<Provider, ProviderError> {
    let mut descriptors: Vec<Node<'_, '_>> = root
        .descendants()
        .filter(|node| xml::is(*node, MD, "IDPSSODescriptor") && is_of_member(*node))
        .filter(|node| node.attribute("protocolSupportEnumeration").unwrap_or_default().contains(SAMLP))
        .collect();
    let count = descriptors.len();
    // An aggregate of a federation (section 2.3.1). A single entity is compared with `issuer` when
    // somebody signs in.
    if count > 1 {
        descriptors.retain(|node| {
            let entity_id = node.parent_element().and_then(|entity| entity.attribute("entityID"));
            entity_id.is_some() && entity_id == named
        });
    }
    let [descriptor] = descriptors.as_slice() else {
        return Err(invalid(match named {
            Some(named) if count > 1 => format!(
                "of the {count} identity providers that it describes, {} have the entity id `{named}`; help: correct \
                 `issuer`",
                descriptors.len()
            ),
            _ => format!(
                "it describes {count} identity providers, and must describe one; help: name the one by its entity id, as \
                 `issuer`"
            ),
        }));
    };
    let entity = descriptor.parent_element().filter(|node| xml::is(*node, MD, "EntityDescriptor"));
    let entity_id = entity.and_then(|entity| entity.attribute("entityID")).unwrap_or_default();
    // SAML core, section 8.3.6: "at most 1024 characters".
    if entity_id.is_empty() || entity_id.len() > 1024 || entity_id.chars().any(char::is_control) {
        return Err(invalid("it has no entityID"));
    }
    let valid_until = valid_until(*descriptor)?;
    if valid_until.is_some_and(|until| now >= until) {
        return Err(invalid("its validUntil has passed"));
    }
    let keys = keys(*descriptor)?;
    if keys.is_empty() {
        return Err(invalid("it has no signing key, so that nothing could be verified"));
    }
    let sign_on = endpoint(*descriptor, "SingleSignOnService")?
        .ok_or_else(|| invalid("it has no SingleSignOnService by HTTP-Redirect or HTTP-POST"))?;
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

/// Whether a descriptor is one of an entity of the aggregate (SAML metadata, section 2.3.1), and
/// not content that a member put somewhere within its own entity.
fn is_of_member(descriptor: Node<'_, '_>) -> bool {
    let mut around = descriptor.ancestors().skip(1).filter(Node::is_element);
    around.next().is_some_and(|entity| xml::is(entity, MD, "EntityDescriptor"))
        && around.all(|node| xml::is(node, MD, "EntitiesDescriptor"))
}

/// The earliest `validUntil` of the descriptor and its ancestors.
fn valid_until(descriptor: Node<'_, '_>) -> Result<Option<Timestamp>, ProviderError> {
    let values = descriptor.ancestors().filter_map(|node| node.attribute("validUntil"));
    let times = values.map(|value| instant(Some(value)).ok_or_else(|| invalid("its validUntil is no time")));
    Ok(times.collect::<Result<Vec<_>, _>>()?.into_iter().min())
}

/// The keys that sign: those whose use is signing, or absent (SAML metadata, section 2.4.1.1).
fn keys(descriptor: Node<'_, '_>) -> Result<Vec<VerificationKey>, ProviderError> {
    let descriptors = xml::children(descriptor, MD, "KeyDescriptor")
        .filter(|key| matches!(key.attribute("use"), None | Some("signing")));
    let info = descriptors.flat_map(|key| xml::children(key, DS, "KeyInfo"));
    let mut certificates = Vec::new();
    for info in info {
        certificates.extend(signing_certificates(info)?);
        if certificates.len() > MAX_KEYS {
            return Err(invalid(format!("it has more than {MAX_KEYS} signing keys")));
        }
    }
    let read = certificates.iter().map(|der| VerificationKey::from_certificate(der).map_err(invalid));
    let (good, mut bad): (Vec<_>, Vec<_>) = read.partition(Result::is_ok);
    match (good.is_empty(), bad.is_empty()) {
        // A key that cannot be used is of no matter beside those that can.
        (false, _) | (true, true) => Ok(good.into_iter().flatten().collect()),
        (true, false) => bad.swap_remove(0).map(|key| vec![key]),
    }
}

/// The certificates of a `KeyInfo` whose keys sign. XML Signature 1.1, section 4.5.4: all those of
/// an `X509Data` "MUST relate to the validation key by either containing it or being part of a
/// certification chain that terminates in a certificate containing the validation key", and section
/// 4.5: several `X509Data` of a `KeyInfo` "refer to the same key". The authorities of that chain
/// sign certificates, not messages.
fn signing_certificates(info: Node<'_, '_>) -> Result<Vec<Vec<u8>>, ProviderError> {
    let read = |node| {
        base64(xml::text(node).map_err(invalid)?).ok_or_else(|| invalid("a certificate is not base64"))
    };
    let data = xml::children(info, DS, "X509Data");
    let all = data.flat_map(|data| xml::children(data, DS, "X509Certificate")).take(MAX_KEYS + 1).map(read);
    let mut all = all.collect::<Result<Vec<_>, _>>()?;
    let names = |der: &Vec<u8>| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some((certificate.subject().as_raw().to_vec(), certificate.issuer().as_raw().to_vec()))
    };
    // Certificates that are issued by another of them; a provider's old and new one may both be
    // self-signed, and have the same name.
    let issuers: Vec<Vec<u8>> = all
        .iter()
        .filter_map(names)
        .filter(|(subject, issuer)| subject != issuer)
        .map(|(_, issuer)| issuer)
        .collect();
    all.retain(|der| names(der).is_none_or(|(subject, _)| !issuers.contains(&subject)));
    Ok(all)
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
            Some(location) => address(location)?,
            None => location.clone(),
        };
        return Ok(Some(Endpoint { binding, location, response_location }));
    }
    Ok(None)
}

/// Browsers are sent there: to https, or to this very machine.
fn address(text: &str) -> Result<Url, ProviderError> {
    let url = Url::parse(text).map_err(|error| invalid(format!("`{text}` is no address: {error}")))?;
    match crate::config::is_safe(&url) {
        true => Ok(url),
        false => Err(invalid(format!("`{text}` is not https"))),
    }
}
