//! A SAML key and its certificate from an operator's files.

use super::key::{KeyError, ServiceProviderKey};
use crate::base::{MAX_SMALL_FILE, Timestamp, read_file};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeyPair;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

/// A key and its certificate.
pub struct KeyFiles {
    /// PKCS #8, DER.
    pub private_key: Zeroizing<Vec<u8>>,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
}

impl KeyFiles {
    /// Reads the PEM files `key` and `certificate`, which must be valid at `signs_from`.
    ///
    /// # Errors
    /// Where a file cannot be used, or the two do not belong together: the error names the file and
    /// the remedy.
    pub fn read(
        key: &Path,
        certificate: &Path,
        now: Timestamp,
        signs_from: Timestamp,
    ) -> Result<Self, KeyError> {
        let of =
            |file: &Path, why: &dyn std::fmt::Display| KeyError::new(format!("`{}`: {why}", file.display()));
        let bytes = |file: &Path| read_file(file, MAX_SMALL_FILE).map_err(|error| of(file, &error));
        let pem = Zeroizing::new(bytes(key)?);
        let no_key = "it holds no RSA private key of 2048 bits or more in PEM; help: make one with openssl genrsa 2048";
        let pair = match PrivateKeyDer::from_pem_slice(&pem) {
            Ok(PrivateKeyDer::Pkcs8(der)) => KeyPair::from_pkcs8(der.secret_pkcs8_der()).ok(),
            Ok(PrivateKeyDer::Pkcs1(der)) => KeyPair::from_der(der.secret_pkcs1_der()).ok(),
            _ => None,
        };
        let pair = pair.ok_or_else(|| of(key, &no_key))?;
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| of(key, &no_key))?;
        let private_key = Zeroizing::new(der.as_ref().to_vec());
        let no_certificate =
            "it holds no certificate in PEM; help: write it as \"-----BEGIN CERTIFICATE-----\"";
        let der = CertificateDer::from_pem_slice(&bytes(certificate)?)
            .map_err(|_| of(certificate, &no_certificate))?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| of(certificate, &no_certificate))?;
        let validity = parsed.validity();
        if now < Timestamp::from_seconds(validity.not_before.timestamp()) {
            let why =
                format!("it is not valid before {}; help: wait, or check the clock", validity.not_before);
            return Err(of(certificate, &why));
        }
        if signs_from >= Timestamp::from_seconds(validity.not_after.timestamp()) {
            let why = format!(
                "it expires at {}, before it would sign; help: issue a new certificate, or shorten --sign-after",
                validity.not_after
            );
            return Err(of(certificate, &why));
        }
        ServiceProviderKey::read(&private_key, der.to_vec()).map_err(|_| {
            KeyError::new(format!(
                "`{}` is not the key of the certificate `{}`; help: name two files that belong together",
                key.display(),
                certificate.display()
            ))
        })?;
        Ok(Self { private_key, certificate: der.to_vec() })
    }
}
