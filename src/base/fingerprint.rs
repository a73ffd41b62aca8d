//! Telling long texts apart by a few bytes, also where somebody looks for two that are alike.

use super::Entropy;
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Makes fingerprints, by a key that is made by chance: no two of these make the same ones.
pub struct Fingerprints(LessSafeKey);

/// What a text is known by in memory: GHASH of it under a key that nobody knows (NIST SP 800-38D, section 6.4). Of two
/// texts of 16 KB, however they were chosen, both have the same with a chance of at most one in 2^117.
///
/// That holds as long as nobody sees one: it is not for files, not for logs, and not for answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u128);

impl Fingerprints {
    /// By a key of its own.
    pub fn new(entropy: &dyn Entropy) -> Self {
        let mut key = Zeroizing::new([0; 16]);
        entropy.fill(&mut key[..]);
        let key = UnboundKey::new(&AES_128_GCM, &key[..]).expect("invariant: the key has the right length");
        Self(LessSafeKey::new(key))
    }

    /// The fingerprint of `text`; none where none can be made.
    pub fn of(&self, text: &str) -> Option<Fingerprint> {
        // Section 8 wants a nonce once only: by two tags of one nonce the hash's key can be worked out, and by that other
        // texts with the same tag. Nobody sees one.
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(text.as_bytes()), &mut []);
        Some(Fingerprint(u128::from_ne_bytes(tag.ok()?.as_ref().try_into().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    #[test]
    fn every_letter_counts_and_so_does_the_key() {
        let (one, other) = (Fingerprints::new(&SystemEntropy), Fingerprints::new(&SystemEntropy));
        let text = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl".repeat(3);
        assert!(
            one.of(&text).is_some() && one.of(&text) == one.of(&text) && one.of(&text) != other.of(&text)
        );
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            assert!(one.of(&text) != one.of(std::str::from_utf8(&changed).unwrap()), "letter {at}");
            assert!(one.of(&text) != one.of(&text[..at]), "{at} letters");
        }
        assert!(one.of(&text) != one.of(&(text.clone() + "\0")));
    }
}
