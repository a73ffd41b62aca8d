//! Random ids in the formats of the protocols.

use super::{Entropy, Secret, Timestamp};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Encodes base64url without padding (RFC 4648, section 5).
pub fn base64url_encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Appends the base64url encoding of `bytes` to `text`.
pub fn base64url_encode_into(text: &mut String, bytes: impl AsRef<[u8]>) {
    URL_SAFE_NO_PAD.encode_string(bytes, text);
}

/// Decodes base64url without padding. Returns `None` for any other text.
pub fn base64url_decode(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Returns the SHA-256 digest (FIPS 180-4).
pub fn sha256(bytes: impl AsRef<[u8]>) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes.as_ref());
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// 256 random bits for a session id, an authorization code or a state. Servers store only
/// [`RandomToken::hash`].
#[derive(Clone, PartialEq, Eq)]
pub struct RandomToken([u8; 32]);

impl RandomToken {
    /// Creates a random token.
    pub fn random(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes);
        Self(bytes)
    }

    /// Parses the text form of a token. Returns `None` unless `text` is exactly 43 base64url
    /// characters.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 43 {
            return None;
        }
        base64url_decode(text)?.try_into().ok().map(Self)
    }

    /// Creates a token from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the token's bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the text form: 43 base64url characters.
    pub fn text(&self) -> String {
        base64url_encode(self.0)
    }

    /// Returns the digest to store. A reader of the store cannot present the token with it.
    pub fn hash(&self) -> [u8; 32] {
        sha256(self.0)
    }
}

impl std::fmt::Debug for RandomToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Returns a random UUID (RFC 9562, version 4) in its usual spelling.
pub fn uuid(entropy: &dyn Entropy) -> String {
    let mut bytes = [0u8; 16];
    entropy.fill(&mut bytes);
    uuid_from_bytes(bytes, 4)
}

/// Returns the UUID of `version` with the bits of `bytes`. The version is 8 for bytes that are not
/// random (RFC 9562, section 5.8).
pub fn uuid_from_bytes(bytes: [u8; 16], version: u8) -> String {
    let mut b = bytes;
    b[6] = b[6] & 0x0f | version << 4;
    b[8] = b[8] & 0x3f | 0x80;
    let mut out = String::with_capacity(36);
    for (i, byte) in b.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        for nibble in [byte >> 4, byte & 0x0f] {
            out.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
    out
}

/// Bits of randomness in a time-ordered number.
const NUMBER_RANDOM_BITS: u32 = 21;

/// Returns a positive 63-bit number: 42 bits of milliseconds (until the year 2109), then 21 random
/// bits.
///
/// Rows numbered this way are listed in the order of creation, without a sequence shared by all
/// nodes. Two numbers of one millisecond collide with a probability of 2^-21; a unique index
/// detects that.
pub fn time_ordered_number(now: Timestamp, entropy: &dyn Entropy) -> i64 {
    let mut random = [0; 4];
    entropy.fill(&mut random);
    let random = i64::from(u32::from_be_bytes(random) >> (32 - NUMBER_RANDOM_BITS));
    let millis = now.millis().clamp(1, (1 << 42) - 1);
    millis << NUMBER_RANDOM_BITS | random
}

const DIGITS_AND_LETTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Returns a random user pool id in Cognito's format, `<region>_<9 alphanumerics>`, which SDKs
/// check.
pub fn pool_id(region: &str, entropy: &dyn Entropy) -> String {
    format!("{region}_{}", random_text(DIGITS_AND_LETTERS, 9, entropy))
}

/// Returns a random app client id in Cognito's format: 26 digits and lower-case letters.
pub fn client_id(entropy: &dyn Entropy) -> String {
    random_text(&DIGITS_AND_LETTERS[..36], 26, entropy)
}

/// Returns a random app client secret in Cognito's format: 52 digits and letters, 309 bits.
pub fn client_secret(entropy: &dyn Entropy) -> Secret {
    Secret::new(random_text(DIGITS_AND_LETTERS, 52, entropy))
}

/// Returns `length` characters of `alphabet`, each with equal probability.
fn random_text(alphabet: &[u8], length: usize, entropy: &dyn Entropy) -> String {
    // Bytes beyond the largest multiple are rejected: they would favour the first characters.
    let fair = 256 / alphabet.len() * alphabet.len();
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut byte = [0u8];
        entropy.fill(&mut byte);
        let byte = usize::from(byte[0]);
        if byte < fair {
            text.push(char::from(alphabet[byte % alphabet.len()]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    #[test]
    fn a_token_survives_its_text_form_and_nothing_else_parses() {
        let token = RandomToken::random(&SystemEntropy);
        assert_eq!(RandomToken::parse(&token.text()), Some(token.clone()));
        assert_eq!(RandomToken::parse(&format!("{}=", token.text())), None);
        assert_eq!(RandomToken::parse(&token.text()[1..]), None);
        assert_eq!(RandomToken::parse(&"!".repeat(43)), None);
        assert!(!format!("{token:?}").contains(&token.text()));
    }

    #[test]
    fn numbers_are_positive_and_ordered_by_time() {
        let at = |millis| time_ordered_number(Timestamp::from_millis(millis), &SystemEntropy);
        let (first, second) = (at(1_800_000_000_000), at(1_800_000_000_001));
        assert!(0 < first && first < second);
        assert_ne!(at(1_800_000_000_000), first);
        assert!(at(-5) > 0 && at(i64::MAX) > second);
    }

    #[test]
    fn ids_have_the_shape_that_clients_check() {
        let id = uuid(&SystemEntropy);
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"));
        let pool = pool_id("eu-west-1", &SystemEntropy);
        let (region, rest) = pool.split_once('_').unwrap();
        assert_eq!(region, "eu-west-1");
        assert_eq!(rest.len(), 9);
        assert!(rest.bytes().all(|b| b.is_ascii_alphanumeric()));
        let client = client_id(&SystemEntropy);
        assert_eq!(client.len(), 26);
        assert!(client.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()));
        let secret = client_secret(&SystemEntropy);
        assert_eq!(secret.expose().len(), 52);
        assert!(secret.expose().bytes().all(|b| b.is_ascii_alphanumeric()));
    }
}
