//! Our own key: it signs what we say and opens what is encrypted for us. It does not turn by itself, since
//! providers keep the certificate that they were given.

use crate::base::{Duration, Timestamp};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use zeroize::Zeroizing;

/// How long the certificate says that it holds. Only the key in it counts.
const VALID: Duration = Duration::from_secs(20 * 365 * 86400);

/// What is wrong with a key.
#[derive(Debug)]
pub struct KeyError(pub(super) &'static str);

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for KeyError {}

/// The key pair of this relying party.
pub struct OwnKey {
    pair: KeyPair,
    decryption: OaepPrivateDecryptingKey,
    certificate: Vec<u8>,
}

impl OwnKey {
    /// Makes a private key of RSA: PKCS #8, DER.
    ///
    /// # Errors
    /// Where the generator fails.
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let failed = |_| KeyError("no key could be generated");
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(failed)?;
        Ok(Zeroizing::new(der.as_ref().to_vec()))
    }

    /// Reads a key that [`OwnKey::generate`] made at `created_at`. Its certificate is made anew each time,
    /// and is the same each time.
    ///
    /// # Errors
    /// Where it is no such key.
    pub fn read(pkcs8: &[u8], created_at: Timestamp) -> Result<Self, KeyError> {
        let unreadable = |_| KeyError("the key for SAML cannot be read");
        let pair = KeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError("the key for SAML cannot be read"))?;
        let decryption = PrivateDecryptingKey::from_pkcs8(pkcs8)
            .map_err(|_| KeyError("the key for SAML cannot be read"))
            .and_then(|key| OaepPrivateDecryptingKey::new(key).map_err(unreadable))?;
        let certificate = certificate(pkcs8, created_at).ok_or(KeyError("no certificate could be made"))?;
        Ok(Self { pair, decryption, certificate })
    }

    /// The certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
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
            .map_err(|_| KeyError("signing failed"))?;
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
        let pkcs8 = OwnKey::generate().unwrap();
        let at = Timestamp::from_seconds(1_800_000_000);
        let (one, two) = (OwnKey::read(&pkcs8, at).unwrap(), OwnKey::read(&pkcs8, at).unwrap());
        assert_eq!(one.certificate(), two.certificate());
    }
}
