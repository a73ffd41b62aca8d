//! Recovery codes: each replaces a second factor once.

use crate::base::{Entropy, KeyRing, Secret, sha256};

/// The codes of a set.
const COUNT: usize = 10;
/// The characters of a code, without those that look alike: five bits each.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz123456789";
/// The characters of a code in two groups: 50 bits.
const LENGTH: usize = 10;
const GROUP: usize = 5;

/// Returns a new set of codes.
pub(super) fn new_codes(entropy: &dyn Entropy) -> Vec<Secret> {
    (0..COUNT).map(|_| new_code(entropy)).collect()
}

fn new_code(entropy: &dyn Entropy) -> Secret {
    let mut bytes = [0; LENGTH];
    entropy.fill(&mut bytes);
    let letters: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    let (first, second) = letters.split_at(GROUP);
    Secret::new(format!("{first}-{second}"))
}

/// Returns what a typed text has of a recovery code: its characters without separators, in lower
/// case; `None` if it cannot be one.
fn typed(text: &str) -> Option<String> {
    let is_separator = |c: &char| !matches!(c, '-' | ' ');
    let plain: String = text.chars().take(2 * LENGTH).filter(is_separator).collect();
    let plain = plain.to_ascii_lowercase();
    (plain.len() == LENGTH && plain.bytes().all(|byte| ALPHABET.contains(&byte))).then_some(plain)
}

/// Returns whether a typed text can be a code.
pub(super) fn is_code(code: &Secret) -> bool {
    typed(code.expose()).is_some()
}

/// Returns what is stored of a code: a digest that a copy of the database does not help to guess.
/// Returns `None` for a text that cannot be one.
pub(super) fn hash(ring: &KeyRing, user_no: i64, code: &Secret) -> Option<[u8; 32]> {
    let plain = typed(code.expose())?;
    Some(sha256(ring.pseudonym(format!("recovery code {user_no} {plain}").as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{MasterKey, SystemEntropy};
    use std::collections::HashSet;

    #[test]
    fn a_code_is_read_back_however_it_is_typed() {
        let ring = KeyRing::new(&MasterKey::random(&SystemEntropy));
        let codes = new_codes(&SystemEntropy);
        let hashes: HashSet<_> = codes.iter().map(|code| hash(&ring, 7, code).unwrap()).collect();
        assert_eq!(hashes.len(), COUNT);
        let code = codes[0].expose();
        assert_eq!((code.len(), &code[5..6]), (11, "-"));
        for text in [code.replace('-', ""), code.to_uppercase(), code.replace('-', " ")] {
            assert_eq!(hash(&ring, 7, &Secret::new(text)), hash(&ring, 7, &codes[0]));
        }
        assert_ne!(hash(&ring, 8, &codes[0]), hash(&ring, 7, &codes[0]));
        for text in ["", "123456", "abcde-fghj", "abcde-fghjkm", "abcde-fgh!k"] {
            assert_eq!(hash(&ring, 7, &Secret::new(text)), None, "{text}");
        }
    }
}
