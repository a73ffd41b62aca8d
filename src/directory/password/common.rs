//! The list of common passwords, as digests: `common_passwords.bin` holds the first 4 bytes of the
//! SHA-256 digest of each password in lower case, sorted. `tests/common_passwords.py` writes it
//! from the list in Django (BSD-3-Clause).
//!
//! The rate of false positives is the number of entries divided by 2^32, about 1 in 238,000. A user
//! whose password is refused by mistake chooses another.

use crate::base::sha256;
use zeroize::Zeroizing;

/// Length of an entry, in bytes.
const ENTRY_BYTES: usize = 4;
/// The sorted entries.
static ENTRIES: &[u8] = include_bytes!("common_passwords.bin");

/// Returns whether `password` is a common password, apart from case.
pub fn is_common_password(password: &str) -> bool {
    let lower = Zeroizing::new(password.to_lowercase());
    let digest = sha256(lower.as_bytes());
    let (entries, _) = ENTRIES.as_chunks::<ENTRY_BYTES>();
    entries.binary_search_by(|entry| entry.as_slice().cmp(&digest[..ENTRY_BYTES])).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_sorted_and_small() {
        let (entries, rest) = ENTRIES.as_chunks::<ENTRY_BYTES>();
        assert!(rest.is_empty() && ENTRIES.len() < 100_000);
        assert!(entries.len() > 15_000, "{}", entries.len());
        assert!(entries.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn known_members_are_found_apart_from_case() {
        let members =
            ["123456", "password", "Password1", "QWERTY", "iloveyou", "P@ssw0rd", "trustno1", "desmond1"];
        for password in members {
            assert!(is_common_password(password), "{password}");
        }
        for password in ["", "correct horse battery staple", "Xk9!vZqw", "Hjk45-wer", "Narthex is a porch"] {
            assert!(!is_common_password(password), "{password}");
        }
    }

    #[test]
    fn false_positives_are_rare() {
        // 200,000 texts outside of the list; 1 is expected, and 12 or more once in 10^9 runs.
        let found =
            (0..200_000).filter(|number| is_common_password(&format!("not in the list {number}"))).count();
        assert!(found < 12, "{found}");
    }
}
