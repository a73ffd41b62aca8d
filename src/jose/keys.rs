//! A signing key and its public forms.

use super::Algorithm;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::{Jwk, KeyOperations, PublicKeyUse};
use zeroize::Zeroizing;

/// Why a key was not made, read or used.
#[derive(Debug)]
pub struct KeyError(String);

impl KeyError {
    pub(super) fn signing(error: jsonwebtoken::errors::Error) -> Self {
        Self(format!("signing failed: {error}"))
    }
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}

/// A private key with its id and public forms.
pub struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    private: EncodingKey,
    jwk: Jwk,
    pem: String,
}

impl SigningKey {
    /// Makes a new private key: PKCS #8, DER.
    ///
    /// # Errors
    /// Where the generator fails.
    pub fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let failed = |_| KeyError("no key could be generated".into());
        match algorithm {
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
                let der = pair.to_pkcs8v1().map_err(failed)?;
                Ok(Zeroizing::new(der.as_ref().to_vec()))
            }
            other => Err(KeyError(format!("nothing is signed with {}", other.name()))),
        }
    }

    /// Reads a private key that [`SigningKey::generate`] made.
    ///
    /// # Errors
    /// Where `pkcs8` is no key of `algorithm`.
    pub fn read(kid: &str, algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let rejected = |_| KeyError(format!("key {kid} cannot be read"));
        if algorithm != Algorithm::Es256 {
            return Err(KeyError(format!("nothing is signed with {}", algorithm.name())));
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(rejected)?;
        let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key())
            .map_err(|_| KeyError(format!("key {kid} has no public form")))?;
        let private = EncodingKey::from_ec_der(pkcs8);
        let mut jwk =
            Jwk::from_encoding_key(&private, jsonwebtoken::Algorithm::ES256).map_err(KeyError::signing)?;
        jwk.common.key_id = Some(kid.to_owned());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        jwk.common.key_operations = Some(vec![KeyOperations::Verify]);
        Ok(Self { kid: kid.to_owned(), algorithm, private, jwk, pem: pem(der.as_ref()) })
    }

    /// The key's id, as tokens and key sets carry it.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public half as a JWK (RFC 7517).
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// The public half as PEM (SubjectPublicKeyInfo, RFC 7468, section 13).
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The same in the words of the library that signs.
    pub fn jose_algorithm(&self) -> jsonwebtoken::Algorithm {
        jsonwebtoken::Algorithm::ES256
    }

    pub(super) fn private(&self) -> &EncodingKey {
        &self.private
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

fn pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = String::from("-----BEGIN PUBLIC KEY-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out.push_str("-----END PUBLIC KEY-----\n");
    out
}
