//! A SAML key of our own with its certificate: it signs requests and decrypts assertions.

use crate::base::{Duration, Timestamp};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use thiserror::Error;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

/// Validity period in the certificate. Only its key is used.
const VALID: Duration = Duration::from_secs(20 * 365 * 86400);

/// What is wrong with a key.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct KeyError(pub(super) String);

impl KeyError {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// The key pair of this relying party.
pub struct ServiceProviderKey {
    pair: KeyPair,
    decryption: OaepPrivateDecryptingKey,
    certificate: Vec<u8>,
    expires_at: Timestamp,
}

impl ServiceProviderKey {
    /// Makes a private key of RSA: PKCS #8, DER.
    ///
    /// # Errors
    /// Where the generator fails.
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let failed = |_| KeyError::new("no key could be generated");
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(failed)?;
        Ok(Zeroizing::new(der.as_ref().to_vec()))
    }

    /// Makes the self-signed certificate of a key that [`ServiceProviderKey::generate`] made at
    /// `created_at`. It is the same each time, so that nodes agree on it.
    ///
    /// # Errors
    /// Where `pkcs8` is no RSA key.
    pub fn self_signed(pkcs8: &[u8], created_at: Timestamp) -> Result<Vec<u8>, KeyError> {
        certificate(pkcs8, created_at).ok_or_else(|| KeyError::new("no certificate could be made"))
    }

    /// Reads a key and its certificate.
    ///
    /// # Errors
    /// Where either cannot be read, or the certificate has another key.
    pub fn read(pkcs8: &[u8], certificate: Vec<u8>) -> Result<Self, KeyError> {
        let unreadable = |_| KeyError::new("the key for SAML cannot be read");
        let pair = KeyPair::from_pkcs8(pkcs8).map_err(unreadable)?;
        let decryption = PrivateDecryptingKey::from_pkcs8(pkcs8).map_err(unreadable).and_then(|key| {
            OaepPrivateDecryptingKey::new(key).map_err(|_| KeyError::new("the key cannot decrypt"))
        })?;
        let (_, parsed) = X509Certificate::from_der(&certificate)
            .map_err(|_| KeyError::new("the certificate for SAML cannot be read"))?;
        if parsed.public_key().subject_public_key.data != pair.public_key().as_ref() {
            return Err(KeyError::new("the certificate for SAML has another key"));
        }
        let expires_at = Timestamp::from_seconds(parsed.validity().not_after.timestamp());
        Ok(Self { pair, decryption, certificate, expires_at })
    }

    /// The certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// When the certificate expires.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// What opens what is encrypted for us.
    pub fn decryption(&self) -> &OaepPrivateDecryptingKey {
        &self.decryption
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256 over `message`.
    ///
    /// # Errors
    /// Where signing fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|_| KeyError::new("signing failed"))?;
        Ok(signature)
    }
}

fn certificate(pkcs8: &[u8], created_at: Timestamp) -> Option<Vec<u8>> {
    let der = rustls::pki_types::PrivatePkcs8KeyDer::from(pkcs8);
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_RSA_SHA256).ok()?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Narthex SAML");
    params.not_before = time::OffsetDateTime::from_unix_timestamp(created_at.seconds()).ok()?;
    params.not_after = time::OffsetDateTime::from_unix_timestamp(created_at.plus(VALID).seconds()).ok()?;
    Some(params.self_signed(&pair).ok()?.der().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_the_same_each_time_it_is_made() {
        let pkcs8 = ServiceProviderKey::generate().unwrap();
        let at = Timestamp::from_seconds(1_800_000_000);
        let made = || ServiceProviderKey::self_signed(&pkcs8, at).unwrap();
        assert_eq!(made(), made());
        assert_eq!(ServiceProviderKey::read(&pkcs8, made()).unwrap().expires_at(), at.plus(VALID));
        // Another key's certificate is refused.
        let other = ServiceProviderKey::generate().unwrap();
        let error = ServiceProviderKey::read(&other, made()).err().unwrap().to_string();
        assert_eq!(error, "the certificate for SAML has another key");
    }
}
