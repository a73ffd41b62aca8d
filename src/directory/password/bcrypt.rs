//! bcrypt, of imported users only. It reads at most 72 bytes of a password: two passwords that
//! differ only after these have the same hash, as in the system that made it. The rehash ends that.

use super::foreign::{HashFormatError, number};
use crate::base::sha256;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::alphabet::BCRYPT;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// Most bytes of a password that bcrypt reads, with the final NUL.
const MAX_BYTES: usize = 72;
/// Largest cost, the logarithm of the rounds: about two seconds.
const MAX_COST: u32 = 15;
/// Smallest cost of the algorithm.
const MIN_COST: u32 = 4;
/// Length of salt and hash in the text, in characters.
const SALT_CHARS: usize = 22;
const OUTPUT_CHARS: usize = 31;
/// Some libraries wrote salts with unused bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &BCRYPT,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone),
);

/// A parsed bcrypt hash.
pub struct BcryptHash {
    cost: u32,
    salt: [u8; 16],
    output: [u8; 23],
    /// Django's BCryptSHA256PasswordHasher hashes the hexadecimal SHA-256 digest of the password.
    is_prehashed: bool,
}

impl BcryptHash {
    /// Parses `$2b$12$…`, with `2a` and `2y` the same algorithm, and Django's forms `bcrypt$$2b$…`
    /// and `bcrypt_sha256$$2b$…`. `2x` marks a faulty implementation and is refused.
    pub fn parse(text: &str) -> Result<Self, HashFormatError> {
        let (text, is_prehashed) = match text.strip_prefix("bcrypt_sha256$") {
            Some(rest) => (rest, true),
            None => (text.strip_prefix("bcrypt$").unwrap_or(text), false),
        };
        let mut fields = text.split('$');
        let (Some(""), Some("2a" | "2b" | "2y"), Some(cost), Some(rest), None) =
            (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err(HashFormatError::Malformed);
        };
        if cost.len() != 2 || rest.len() != SALT_CHARS + OUTPUT_CHARS || !rest.is_ascii() {
            return Err(HashFormatError::Malformed);
        }
        let cost = number(cost)?;
        if !(MIN_COST..=MAX_COST).contains(&cost) {
            return Err(HashFormatError::Bounds("cost"));
        }
        let (salt_text, output_text) = rest.split_at(SALT_CHARS);
        let decode = |text| BASE64.decode(text).map_err(|_| HashFormatError::Malformed);
        let salt = decode(salt_text)?.try_into().map_err(|_| HashFormatError::Malformed)?;
        let output = decode(output_text)?.try_into().map_err(|_| HashFormatError::Malformed)?;
        Ok(Self { cost, salt, output, is_prehashed })
    }

    /// Returns whether `password` has this hash. A password with a NUL never has: C implementations
    /// end it there, so that any text after the NUL would do.
    pub fn verify(&self, password: &[u8]) -> bool {
        let mut text = Zeroizing::new(Vec::with_capacity(password.len().max(64) + 1));
        match self.is_prehashed {
            true => text.extend_from_slice(hexadecimal(&sha256(password)).as_bytes()),
            false => text.extend_from_slice(password),
        }
        let has_nul = text.contains(&0);
        text.push(0);
        text.truncate(MAX_BYTES);
        let output = Zeroizing::new(::bcrypt::bcrypt(self.cost, self.salt, &text));
        verify_slices_are_equal(&output[..self.output.len()], &self.output).is_ok() && !has_nul
    }
}

fn hexadecimal(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "$2b$05$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyzabcde";

    #[test]
    fn costs_and_versions_out_of_bounds_are_refused_before_work() {
        assert!(BcryptHash::parse(FORM).is_ok());
        for (from, to) in [("$05$", "$16$"), ("$05$", "$31$"), ("$05$", "$03$")] {
            let result = BcryptHash::parse(&FORM.replace(from, to)).map(drop);
            assert_eq!(result, Err(HashFormatError::Bounds("cost")), "{to}");
        }
        for (from, to) in [
            ("$2b$", "$2x$"),
            ("$2b$", "$2$"),
            ("$05$", "$5$"),
            ("$05$", "$+5$"),
            ("abcde", "abcd"),
            ("abcde", "abcé"),
        ] {
            let result = BcryptHash::parse(&FORM.replacen(from, to, 1)).map(drop);
            assert_eq!(result, Err(HashFormatError::Malformed), "{to}");
        }
    }

    #[test]
    fn a_password_with_a_nul_never_matches() {
        let mut hash = BcryptHash::parse(FORM).unwrap();
        // Repeated up to 72 bytes, `pass NUL pass NUL` is the same key as `pass NUL`.
        hash.output.copy_from_slice(&::bcrypt::bcrypt(hash.cost, hash.salt, b"pass\0")[..23]);
        assert!(hash.verify(b"pass"));
        assert!(!hash.verify(b"pass\0pass"));
        assert!(!hash.verify(b"pass\0"));
    }
}
