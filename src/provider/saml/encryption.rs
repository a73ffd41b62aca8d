//! Encrypted assertions (SAML core, section 2.3.4; XML Encryption 1.1). The key comes by RSA-OAEP;
//! the assertion by AES-128 or AES-256, in GCM or CBC. RSA 1.5 is refused by name.

use super::key::ServiceProviderKey;
use super::xml::{self, DS, XENC, XENC11};
use crate::provider::ProviderError;
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm};
use roxmltree::Node;
use std::sync::Arc;
use zeroize::Zeroizing;

/// How large an encrypted key may be: RSA with 8192 bits.
const MAX_ENCRYPTED_KEY_BYTES: usize = 1024;
const BLOCK: usize = 16;

/// How a key may come: the method's name, its digest, its mask generation; the first of each is
/// what is meant where none is named.
type Transport = (&'static str, &'static [&'static str], &'static [&'static str], &'static OaepAlgorithm);

const SHA1: &str = "http://www.w3.org/2000/09/xmldsig#sha1";
const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
const MGF1_SHA1: &str = "http://www.w3.org/2009/xmlenc11#mgf1sha1";
const MGF1_SHA256: &str = "http://www.w3.org/2009/xmlenc11#mgf1sha256";

/// XML Encryption 1.1, section 5.5.2: within OAEP, SHA-1 is no weakness, and what most providers
/// send.
const TRANSPORTS: [Transport; 3] = [
    ("http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p", &["", SHA1], &["", MGF1_SHA1], &OAEP_SHA1_MGF1SHA1),
    ("http://www.w3.org/2009/xmlenc11#rsa-oaep", &["", SHA1], &["", MGF1_SHA1], &OAEP_SHA1_MGF1SHA1),
    ("http://www.w3.org/2009/xmlenc11#rsa-oaep", &[SHA256], &[MGF1_SHA256], &OAEP_SHA256_MGF1SHA256),
];

#[derive(Clone, Copy)]
enum Cipher {
    Cbc(&'static aws_lc_rs::cipher::Algorithm),
    Gcm(&'static aws_lc_rs::aead::Algorithm),
}

/// How an assertion may be encrypted.
const CIPHERS: [(&str, Cipher); 4] = [
    ("http://www.w3.org/2001/04/xmlenc#aes128-cbc", Cipher::Cbc(&AES_128)),
    ("http://www.w3.org/2001/04/xmlenc#aes256-cbc", Cipher::Cbc(&AES_256)),
    ("http://www.w3.org/2009/xmlenc11#aes128-gcm", Cipher::Gcm(&AES_128_GCM)),
    ("http://www.w3.org/2009/xmlenc11#aes256-gcm", Cipher::Gcm(&AES_256_GCM)),
];

fn invalid(detail: impl std::fmt::Display) -> ProviderError {
    ProviderError::invalid("encryption", detail)
}

/// The text of the assertion in `encrypted`, an `EncryptedAssertion`.
///
/// # Errors
/// The failed check `encryption`. The detail is only logged: a sender of ciphertexts learns
/// nothing of how far they came.
pub fn decrypt_assertion(
    encrypted: Node<'_, '_>,
    keys: &[Arc<ServiceProviderKey>],
) -> Result<Zeroizing<String>, ProviderError> {
    let data = xml::one(encrypted, XENC, "EncryptedData").map_err(invalid)?;
    // SAML core, section 2.3.4: the type "SHOULD be present and, if present, MUST contain a value
    // of" this.
    if data.attribute("Type").is_some_and(|kind| kind != "http://www.w3.org/2001/04/xmlenc#Element") {
        return Err(invalid("what is encrypted is no element"));
    }
    let content_key = content_key(encrypted, data, keys)?;
    let method = method_of(data)?;
    let Some((_, cipher)) = CIPHERS.iter().find(|(name, _)| *name == method) else {
        return Err(invalid(format!("the cipher `{method}` is not taken")));
    };
    let bytes = cipher_value(data, usize::MAX)?;
    let plain = match cipher {
        Cipher::Cbc(algorithm) => cbc(algorithm, &content_key, bytes),
        Cipher::Gcm(algorithm) => gcm(algorithm, &content_key, bytes),
    };
    let plain = plain.ok_or_else(|| invalid("the assertion does not open"))?;
    let text = std::str::from_utf8(&plain).map_err(|_| invalid("what it opens to is no text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The key that the assertion is encrypted by. It stands beside the data or within (SAML 2.0
/// errata, E43).
fn content_key(
    encrypted: Node<'_, '_>,
    data: Node<'_, '_>,
    keys: &[Arc<ServiceProviderKey>],
) -> Result<Zeroizing<Vec<u8>>, ProviderError> {
    let within = xml::at_most_one(data, DS, "KeyInfo").map_err(invalid)?;
    let places = [Some(encrypted), within].into_iter().flatten();
    let mut encrypted_keys = places.flat_map(|place| xml::children(place, XENC, "EncryptedKey"));
    let (Some(encrypted_key), None) = (encrypted_keys.next(), encrypted_keys.next()) else {
        return Err(invalid("there must be one EncryptedKey"));
    };
    let method = method_of(encrypted_key)?;
    let node = xml::one(encrypted_key, XENC, "EncryptionMethod").map_err(invalid)?;
    let parameter = |space, name| {
        let child = xml::at_most_one(node, space, name).map_err(invalid)?;
        Ok::<_, ProviderError>(
            child.and_then(|child| child.attribute("Algorithm")).unwrap_or_default().to_owned(),
        )
    };
    let (digest, mask) = (parameter(DS, "DigestMethod")?, parameter(XENC11, "MGF")?);
    let known = |(name, digests, masks, _): &&Transport| {
        *name == method && digests.contains(&&*digest) && masks.contains(&&*mask)
    };
    let Some((.., oaep)) = TRANSPORTS.iter().find(known) else {
        return Err(invalid(format!(
            "the key's transport `{method}` with digest `{digest}` and mask `{mask}` is not taken"
        )));
    };
    let bytes = cipher_value(encrypted_key, MAX_ENCRYPTED_KEY_BYTES)?;
    // A key that is to be replaced, or was replaced, decrypts as well.
    let mut opened = keys.iter().filter_map(|key| opened_by(key, oaep, &bytes));
    opened
        .next()
        .ok_or_else(|| invalid("the key is not encrypted for us: does the provider have our metadata?"))
}

fn opened_by(
    key: &ServiceProviderKey,
    oaep: &'static OaepAlgorithm,
    bytes: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let key = key.decryption();
    let mut plain = Zeroizing::new(vec![0; key.min_output_size()]);
    let length = key.decrypt(oaep, bytes, &mut plain, None).ok()?.len();
    plain.truncate(length);
    Some(plain)
}

fn method_of(node: Node<'_, '_>) -> Result<String, ProviderError> {
    let method = xml::one(node, XENC, "EncryptionMethod").map_err(invalid)?;
    Ok(method.attribute("Algorithm").unwrap_or_default().to_owned())
}

fn cipher_value(node: Node<'_, '_>, most: usize) -> Result<Vec<u8>, ProviderError> {
    let data = xml::one(node, XENC, "CipherData").map_err(invalid)?;
    let value = xml::text(xml::one(data, XENC, "CipherValue").map_err(invalid)?).map_err(invalid)?;
    super::base64(value)
        .filter(|bytes| bytes.len() <= most)
        .ok_or_else(|| invalid("a CipherValue is no base64"))
}

/// XML Encryption 1.1, section 5.2.2: the initialization vector comes first; the last byte gives
/// how much padding there is, whose other bytes are arbitrary.
fn cbc(
    algorithm: &'static aws_lc_rs::cipher::Algorithm,
    key: &[u8],
    mut bytes: Vec<u8>,
) -> Option<Zeroizing<Vec<u8>>> {
    let (iv, data) = bytes.split_at_mut_checked(BLOCK)?;
    let context = DecryptionContext::Iv128(FixedLength::try_from(&*iv).ok()?);
    let key = PaddedBlockDecryptingKey::cbc_iso10126(UnboundCipherKey::new(algorithm, key).ok()?).ok()?;
    Some(Zeroizing::new(key.decrypt(data, context).ok()?.to_vec()))
}

/// XML Encryption 1.1, section 5.2.4: a nonce of 96 bits, the ciphertext, a tag of 128 bits.
fn gcm(
    algorithm: &'static aws_lc_rs::aead::Algorithm,
    key: &[u8],
    mut bytes: Vec<u8>,
) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, data) = bytes.split_at_mut_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
    Some(Zeroizing::new(key.open_in_place(nonce, Aad::empty(), data).ok()?.to_vec()))
}
