//! Random ids in the forms that the protocols want.

use super::Entropy;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// base64url without padding (RFC 4648, section 5).
pub fn base64url_encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The same, put at the end of `text`.
pub fn base64url_encode_into(text: &mut String, bytes: impl AsRef<[u8]>) {
    URL_SAFE_NO_PAD.encode_string(bytes, text);
}

/// Decodes base64url without padding; `None` for anything else.
pub fn base64url_decode(text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// SHA-256 (FIPS 180-4).
pub fn sha256(bytes: impl AsRef<[u8]>) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes.as_ref());
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// 256 random bits that someone will carry: a session id, an authorization code, a state.
/// Whoever must recognise it later keeps only [`Token::hash`].
#[derive(Clone, PartialEq, Eq)]
pub struct RandomToken([u8; 32]);

impl RandomToken {
    /// A new random token.
    pub fn random(entropy: &dyn Entropy) -> Self {
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes);
        Self(bytes)
    }

    /// Reads a token from its text form; `None` unless it is exactly 43 base64url characters.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 43 {
            return None;
        }
        base64url_decode(text)?.try_into().ok().map(Self)
    }

    /// The token from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The token's bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The text form: 43 base64url characters.
    pub fn text(&self) -> String {
        base64url_encode(self.0)
    }

    /// What a store may keep: whoever reads the store cannot present the token.
    pub fn hash(&self) -> [u8; 32] {
        sha256(self.0)
    }
}

impl std::fmt::Debug for RandomToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A random UUID (RFC 9562, version 4) in its usual spelling.
pub fn uuid(entropy: &dyn Entropy) -> String {
    let mut bytes = [0u8; 16];
    entropy.fill(&mut bytes);
    uuid_from_bytes(bytes, 4)
}

/// The UUID of this version that `bytes` make: 8, where they come from somewhere else than chance (RFC 9562,
/// section 5.8).
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

const DIGITS_AND_LETTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// A user pool's id in Cognito's form, `<region>_<9 alphanumerics>`: SDKs check the shape.
pub fn pool_id(region: &str, entropy: &dyn Entropy) -> String {
    format!("{region}_{}", random_text(DIGITS_AND_LETTERS, 9, entropy))
}

/// An app client's id in Cognito's form: 26 digits and small letters.
pub fn client_id(entropy: &dyn Entropy) -> String {
    random_text(&DIGITS_AND_LETTERS[..36], 26, entropy)
}

/// So many characters of `alphabet`, each as likely as any other.
fn random_text(alphabet: &[u8], length: usize, entropy: &dyn Entropy) -> String {
    // Beyond the largest multiple in a byte the first letters would be likelier.
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
    }
}
