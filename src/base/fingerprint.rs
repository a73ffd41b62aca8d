//! Short fingerprints of long texts, resistant to chosen collisions.

use super::Entropy;
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// A generator of fingerprints with a random key. Fingerprints of two generators are not
/// comparable.
pub struct Fingerprints(LessSafeKey);

/// A key for in-memory maps: GHASH of a text under a secret key (NIST SP 800-38D, section 6.4). Two
/// texts of 16 KB collide with a probability of at most 2^-117, however they were chosen.
///
/// The bound holds only while fingerprints stay secret: never write them to files, logs or
/// responses.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(u128);

impl Fingerprints {
    /// Creates a generator with a random key.
    pub fn new(entropy: &dyn Entropy) -> Self {
        let mut key = Zeroizing::new([0; 16]);
        entropy.fill(&mut key[..]);
        let key = UnboundKey::new(&AES_128_GCM, &key[..]).expect("invariant: the key has the right length");
        Self(LessSafeKey::new(key))
    }

    /// Returns the fingerprint of `text`; `None` if AES-GCM fails.
    pub fn of(&self, text: &str) -> Option<Fingerprint> {
        // Section 8 requires unique nonces: two tags under one nonce reveal the hash key, and with
        // it collisions. The tags are never disclosed.
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
