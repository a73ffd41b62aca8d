//! The keys and algorithms that verify a provider's signatures, in XML and in query strings.

use crate::base::Timestamp;
use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_FIXED, ECDSA_P521_SHA384_FIXED,
    ECDSA_P521_SHA512_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

/// Shorter RSA keys are refused (NIST SP 800-131A).
const MIN_RSA_BITS: usize = 2048;

/// The digests of references (XML Signature 1.1, section 6.2; RFC 9231). SHA-1 is not among them.
const DIGESTS: [(&str, &digest::Algorithm); 3] = [
    ("http://www.w3.org/2001/04/xmlenc#sha256", &digest::SHA256),
    ("http://www.w3.org/2001/04/xmldsig-more#sha384", &digest::SHA384),
    ("http://www.w3.org/2001/04/xmlenc#sha512", &digest::SHA512),
];

/// The digest algorithm that `uri` names, if it is accepted.
pub fn digest_algorithm(uri: &str) -> Option<&'static digest::Algorithm> {
    DIGESTS.iter().find(|(name, _)| *name == uri).map(|(_, algorithm)| *algorithm)
}

/// What a public key is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyKind {
    Rsa,
    P256,
    P384,
    P521,
}

/// A signature method's URI (RFC 9231, section 2.3), and how it is verified by each kind of key.
type Method = (&'static str, &'static [(KeyKind, &'static dyn VerificationAlgorithm)]);

/// RSA and ECDSA with SHA-256 or better. SHA-1 and HMAC are not among them.
const METHODS: [Method; 6] = [
    ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", &[(KeyKind::Rsa, &RSA_PKCS1_2048_8192_SHA256)]),
    ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha384", &[(KeyKind::Rsa, &RSA_PKCS1_2048_8192_SHA384)]),
    ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha512", &[(KeyKind::Rsa, &RSA_PKCS1_2048_8192_SHA512)]),
    (
        "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
        &[
            (KeyKind::P256, &ECDSA_P256_SHA256_ASN1),
            (KeyKind::P384, &ECDSA_P384_SHA256_ASN1),
            (KeyKind::P521, &ECDSA_P521_SHA256_FIXED),
        ],
    ),
    (
        "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384",
        &[
            (KeyKind::P256, &ECDSA_P256_SHA384_ASN1),
            (KeyKind::P384, &ECDSA_P384_SHA384_ASN1),
            (KeyKind::P521, &ECDSA_P521_SHA384_FIXED),
        ],
    ),
    (
        "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
        &[
            (KeyKind::P256, &ECDSA_P256_SHA512_ASN1),
            (KeyKind::P384, &ECDSA_P384_SHA512_ASN1),
            (KeyKind::P521, &ECDSA_P521_SHA512_FIXED),
        ],
    ),
];

/// A signature method that is accepted.
#[derive(Clone, Copy)]
pub struct SignatureMethod(&'static Method);

impl SignatureMethod {
    /// The method that `uri` names, if it is accepted.
    pub fn named(uri: &str) -> Option<Self> {
        METHODS.iter().find(|(name, _)| *name == uri).map(Self)
    }
}

/// A public key by which a provider signs.
#[derive(Clone, Debug)]
pub struct VerificationKey {
    kind: KeyKind,
    /// An `RSAPublicKey` in DER, or an uncompressed point.
    public: Vec<u8>,
    /// When its certificate expires. Some providers keep using it.
    pub expires_at: Timestamp,
}

impl VerificationKey {
    /// Reads the key of a certificate in DER. Nothing else of the certificate is verified: the
    /// metadata that holds it vouches for the key.
    ///
    /// # Errors
    /// Why the key is refused.
    pub fn from_certificate(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|_| "a certificate cannot be read".to_owned())?;
        let key = certificate.public_key();
        let kind = match key.parsed() {
            Ok(PublicKey::RSA(rsa)) if rsa.key_size() >= MIN_RSA_BITS => KeyKind::Rsa,
            Ok(PublicKey::RSA(rsa)) => {
                return Err(format!("an RSA key has {} bits, fewer than {MIN_RSA_BITS}", rsa.key_size()));
            }
            Ok(PublicKey::EC(_)) => match key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok())
            {
                Some(curve) if curve == OID_EC_P256 => KeyKind::P256,
                Some(curve) if curve == OID_NIST_EC_P384 => KeyKind::P384,
                Some(curve) if curve == OID_NIST_EC_P521 => KeyKind::P521,
                _ => return Err("a key's elliptic curve is not P-256, P-384 or P-521".to_owned()),
            },
            _ => return Err("a key is neither RSA nor elliptic curve".to_owned()),
        };
        Ok(Self {
            kind,
            public: key.subject_public_key.data.to_vec(),
            expires_at: Timestamp::from_seconds(certificate.validity().not_after.timestamp()),
        })
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verifies(&self, method: SignatureMethod, message: &[u8], signature: &[u8]) -> bool {
        let Some((_, algorithm)) = method.0.1.iter().find(|(kind, _)| *kind == self.kind) else {
            return false;
        };
        let Some(signature) = self.encoded(signature) else { return false };
        UnparsedPublicKey::new(*algorithm, &self.public).verify(message, &signature).is_ok()
    }

    /// The signature as the algorithm expects it. XML Signature 1.1, section 6.4.3: "the base64
    /// encoding of the concatenation of two octet-streams that respectively result from the
    /// octet-encoding of the values r and s".
    fn encoded(&self, signature: &[u8]) -> Option<Vec<u8>> {
        match self.kind {
            KeyKind::Rsa | KeyKind::P521 => Some(signature.to_vec()),
            KeyKind::P256 => {
                Some(p256::ecdsa::Signature::from_slice(signature).ok()?.to_der().as_bytes().to_vec())
            }
            KeyKind::P384 => {
                Some(p384::ecdsa::Signature::from_slice(signature).ok()?.to_der().as_bytes().to_vec())
            }
        }
    }
}
