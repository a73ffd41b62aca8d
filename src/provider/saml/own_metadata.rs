//! Our metadata (SAML metadata, section 2.4.4): what providers are given to know us by.

use super::key::{KeyError, ServiceProviderKey};
use super::messages::enveloped;
use super::metadata::Binding;
use super::subject::EMAIL;
use super::xml::{DS, MD, SAMLP, escaped_value};
use crate::base::sha256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

/// The formats of names that we can keep a user by.
const FORMATS: [&str; 3] = [
    "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
    EMAIL,
    "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
];
/// How an assertion for us may be encrypted, the best first.
const CIPHERS: [&str; 5] = [
    "http://www.w3.org/2009/xmlenc11#aes256-gcm",
    "http://www.w3.org/2009/xmlenc11#aes128-gcm",
    "http://www.w3.org/2001/04/xmlenc#aes256-cbc",
    "http://www.w3.org/2001/04/xmlenc#aes128-cbc",
    "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p",
];

/// Our metadata for one provider, signed by the first of `keys`, with the certificates of all.
///
/// # Errors
/// Where signing fails.
pub fn write(
    entity_id: &str,
    acs: &str,
    logout: &str,
    signs: bool,
    keys: &[Arc<ServiceProviderKey>],
) -> Result<String, KeyError> {
    let Some(signing) = keys.first() else { return Err(KeyError::new("no key for SAML is left")) };
    let ciphers: String = CIPHERS
        .iter()
        .map(|cipher| format!("<md:EncryptionMethod Algorithm=\"{cipher}\"></md:EncryptionMethod>"))
        .collect();
    let certificates: Vec<String> = keys.iter().map(|key| STANDARD.encode(key.certificate())).collect();
    let descriptor = |certificate: &String, usage: &str, methods: &str| {
        format!(
            "<md:KeyDescriptor use=\"{usage}\"><ds:KeyInfo xmlns:ds=\"{DS}\"><ds:X509Data>\
             <ds:X509Certificate>{certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>{methods}</md:KeyDescriptor>"
        )
    };
    let signing_keys: String = certificates.iter().map(|key| descriptor(key, "signing", "")).collect();
    // Many providers encrypt for the first certificate: the next one comes first, so that they need
    // it once.
    let encryption_keys: String =
        certificates.iter().rev().map(|key| descriptor(key, "encryption", &ciphers)).collect();
    let (acs, logout) = (escaped_value(acs), escaped_value(logout));
    let logouts: String = [Binding::Redirect, Binding::Post]
        .iter()
        .map(|binding| {
            format!(
                "<md:SingleLogoutService Binding=\"{}\" Location=\"{logout}\"></md:SingleLogoutService>",
                binding.uri()
            )
        })
        .collect();
    let formats: String =
        FORMATS.iter().map(|format| format!("<md:NameIDFormat>{format}</md:NameIDFormat>")).collect();
    // The same content has the same id, so that the document is the same each time.
    let digest = sha256(format!("{entity_id} {acs} {logout} {signs} {}", certificates.join(" ")));
    let digits: String = digest[..20].iter().map(|byte| format!("{byte:02x}")).collect();
    let id = format!("_{digits}");
    let before = format!(
        "<md:EntityDescriptor xmlns:md=\"{MD}\" ID=\"{id}\" entityID=\"{}\">",
        escaped_value(entity_id)
    );
    let after = format!(
        "<md:SPSSODescriptor AuthnRequestsSigned=\"{signs}\" WantAssertionsSigned=\"true\" protocolSupportEnumeration=\"{SAMLP}\">\
         {signing_keys}{encryption_keys}{logouts}{formats}\
         <md:AssertionConsumerService Binding=\"{}\" Location=\"{acs}\" index=\"0\" isDefault=\"true\"></md:AssertionConsumerService>\
         </md:SPSSODescriptor></md:EntityDescriptor>",
        Binding::Post.uri()
    );
    enveloped(&before, &after, &id, signing)
}
