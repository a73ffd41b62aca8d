//! Signing keys and their public forms.

use super::Algorithm;
use crate::base::base64url_encode;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters, Jwk, KeyAlgorithm,
    KeyOperations, OctetKeyPairParameters, PublicKeyUse, RSAKeyParameters,
};
use thiserror::Error;
use zeroize::Zeroizing;

/// An error of creating, parsing or using a key.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct KeyError(String);

impl KeyError {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// A private key with its id and public forms.
pub struct SigningKey {
    kid: String,
    algorithm: Algorithm,
    /// The parsed key pair. Parsing costs as much as a signature.
    pair: Pair,
    jwk: Jwk,
    pem: String,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl SigningKey {
    /// Generates a private key, in PKCS #8, DER.
    ///
    /// # Errors
    /// Returns an error if the generator fails, or Narthex does not sign with `algorithm`.
    pub fn generate(algorithm: Algorithm) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let failed = |_| KeyError::new("no key could be generated");
        let bytes = |der: &[u8]| Zeroizing::new(der.to_vec());
        match algorithm {
            Algorithm::Rs256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                Ok(bytes(der.as_ref()))
            }
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
                Ok(bytes(pair.to_pkcs8v1().map_err(failed)?.as_ref()))
            }
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::generate().map_err(failed)?;
                Ok(bytes(pair.to_pkcs8().map_err(failed)?.as_ref()))
            }
            other => Err(KeyError(format!("nothing is signed with {}", other.name()))),
        }
    }

    /// Parses a private key of [`SigningKey::generate`].
    ///
    /// # Errors
    /// Returns an error if `pkcs8` is not a key of `algorithm`.
    pub fn read(kid: &str, algorithm: Algorithm, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let rejected = |_| KeyError(format!("key {kid} cannot be read"));
        let pair = match algorithm {
            Algorithm::Rs256 => Pair::Rsa(Box::new(RsaKeyPair::from_pkcs8(pkcs8).map_err(rejected)?)),
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8);
                Pair::Ec(pair.map_err(rejected)?)
            }
            Algorithm::EdDsa => Pair::Ed(Ed25519KeyPair::from_pkcs8(pkcs8).map_err(rejected)?),
            other => return Err(KeyError(format!("nothing is signed with {}", other.name()))),
        };
        let (parameters, key_algorithm) = pair.parameters();
        let common = CommonParameters {
            key_id: Some(kid.to_owned()),
            key_algorithm: Some(key_algorithm),
            public_key_use: Some(PublicKeyUse::Signature),
            key_operations: Some(vec![KeyOperations::Verify]),
            ..CommonParameters::default()
        };
        let jwk = Jwk { common, algorithm: parameters };
        let pem = pem(pair.public_der(kid)?.as_ref());
        Ok(Self { kid: kid.to_owned(), algorithm, pair, jwk, pem })
    }

    /// Returns the key id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Returns the algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the public key as a JWK (RFC 7517).
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// Returns the public key as PEM (SubjectPublicKeyInfo, RFC 7468, section 13).
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Returns the algorithm in the type of `jsonwebtoken`, which writes headers.
    pub fn jose_algorithm(&self) -> jsonwebtoken::Algorithm {
        match self.pair {
            Pair::Rsa(_) => jsonwebtoken::Algorithm::RS256,
            Pair::Ec(_) => jsonwebtoken::Algorithm::ES256,
            Pair::Ed(_) => jsonwebtoken::Algorithm::EdDSA,
        }
    }

    /// Signs `message` in the format of JWS (RFC 7518, section 3).
    ///
    /// # Errors
    /// Returns an error if signing fails.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError(format!("key {} does not sign", self.kid));
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            Pair::Ec(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec()),
            Pair::Ed(pair) => Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec()),
        }
    }
}

impl Pair {
    fn parameters(&self) -> (AlgorithmParameters, KeyAlgorithm) {
        match self {
            Self::Rsa(pair) => {
                let key = pair.public_key();
                let n = base64url_encode(key.modulus().big_endian_without_leading_zero());
                let e = base64url_encode(key.exponent().big_endian_without_leading_zero());
                let parameters = RSAKeyParameters { n, e, ..RSAKeyParameters::default() };
                (AlgorithmParameters::RSA(parameters), KeyAlgorithm::RS256)
            }
            Self::Ec(pair) => {
                // SEC 1, section 2.3.3: an uncompressed point is 4, x, y.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                let (curve, x, y) = (EllipticCurve::P256, base64url_encode(x), base64url_encode(y));
                let parameters =
                    EllipticCurveKeyParameters { curve, x, y, ..EllipticCurveKeyParameters::default() };
                (AlgorithmParameters::EllipticCurve(parameters), KeyAlgorithm::ES256)
            }
            Self::Ed(pair) => {
                let (curve, x) = (EllipticCurve::Ed25519, base64url_encode(pair.public_key()));
                let parameters = OctetKeyPairParameters { curve, x, ..OctetKeyPairParameters::default() };
                (AlgorithmParameters::OctetKeyPair(parameters), KeyAlgorithm::EdDSA)
            }
        }
    }

    fn public_der(&self, kid: &str) -> Result<PublicKeyX509Der<'static>, KeyError> {
        let der = match self {
            Self::Rsa(pair) => pair.public_key().as_der(),
            Self::Ec(pair) => pair.public_key().as_der(),
            Self::Ed(pair) => pair.public_key().as_der(),
        };
        der.map_err(|_| KeyError(format!("key {kid} has no public form")))
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
