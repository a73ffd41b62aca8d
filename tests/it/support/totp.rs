//! An authenticator app (RFC 4226, RFC 6238).

use aws_lc_rs::hmac;
use narthex::base::{Clock as _, SystemClock};

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// An app with one key.
pub struct Authenticator(Vec<u8>);

impl Authenticator {
    /// Reads a key in base32.
    pub fn new(key: &str) -> Self {
        let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
        for letter in key.bytes().filter(|byte| *byte != b' ') {
            let value = ALPHABET.iter().position(|known| *known == letter).unwrap();
            bits = (bits << 5) | u32::try_from(value).unwrap();
            count += 5;
            if count >= 8 {
                count -= 8;
                bytes.push((bits >> count).to_be_bytes()[3]);
            }
        }
        Self(bytes)
    }

    /// Returns the code of now, or of so many time steps of 30 s later.
    pub fn code(&self, steps: i64) -> String {
        let step = SystemClock.now().seconds() / 30 + steps;
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let offset = usize::from(tag.as_ref()[19] & 15);
        let four: [u8; 4] = tag.as_ref()[offset..offset + 4].try_into().unwrap();
        format!("{:06}", (u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000)
    }
}
