//! Stored password hashes.

use super::argon::{Argon2Params, ArgonHash, SALT_BYTES, Workspace};
use super::foreign::{HashFormatError, Scheme};
use std::fmt;
use zeroize::Zeroizing;

/// A password hash in a known format, whose cost is within the bounds.
pub struct PasswordHash {
    text: Zeroizing<String>,
    scheme: Scheme,
}

/// The result of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right.
    Match {
        /// Whether the hash should be replaced by one of the current parameters.
        needs_rehash: bool,
    },
    /// The password is wrong.
    Mismatch,
}

/// A failure of the algorithm, such as a lack of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkError;

impl fmt::Display for WorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the password could not be hashed")
    }
}

impl std::error::Error for WorkError {}

impl PasswordHash {
    /// Parses the text of a hash.
    ///
    /// # Errors
    ///
    /// [`HashFormatError`] if its format is unknown, or its cost, salt or length out of bounds.
    pub fn parse(text: &str) -> Result<Self, HashFormatError> {
        Ok(Self { scheme: Scheme::parse(text)?, text: Zeroizing::new(text.to_owned()) })
    }

    /// Hashes `password` with Argon2id.
    ///
    /// # Errors
    ///
    /// `WorkError` if the algorithm fails.
    pub fn compute(
        password: &[u8],
        salt: [u8; SALT_BYTES],
        params: Argon2Params,
        workspace: &mut Workspace,
    ) -> Result<Self, WorkError> {
        let hash = ArgonHash::compute(password, salt, params, workspace)?;
        Ok(Self { text: Zeroizing::new(hash.encode()), scheme: Scheme::Argon2(hash) })
    }

    /// Returns the text to store, sealed.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Returns whether this is not an Argon2id hash with these parameters.
    pub fn needs_rehash(&self, params: Argon2Params) -> bool {
        !matches!(&self.scheme, Scheme::Argon2(hash) if hash.is_current(params))
    }

    /// Verifies `password`, in constant time apart from the cost of the hash.
    ///
    /// # Errors
    ///
    /// `WorkError` if the algorithm fails.
    pub fn verify(
        &self,
        password: &[u8],
        params: Argon2Params,
        workspace: &mut Workspace,
    ) -> Result<Verdict, WorkError> {
        let needs_rehash = self.needs_rehash(params);
        let is_match = self.scheme.verify(password, workspace)?;
        Ok(if is_match { Verdict::Match { needs_rehash } } else { Verdict::Mismatch })
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    /// Hashes of other implementations; `tests/password_hashes/generate.py` writes them.
    const VECTORS: &str = include_str!("../../../tests/password_hashes/vectors.json");
    const WRONG: [&str; 3] = ["", "Xk9!vzqw-Narthex", "another password"];

    #[derive(Deserialize)]
    struct Vector {
        format: String,
        password: String,
        hash: String,
    }

    fn vectors() -> Vec<Vector> {
        serde_json::from_str(VECTORS).unwrap()
    }

    fn verify(hash: &PasswordHash, password: &str) -> Verdict {
        hash.verify(password.as_bytes(), Argon2Params::default(), &mut Workspace::default()).unwrap()
    }

    #[test]
    fn hashes_of_other_implementations_verify() {
        let vectors = vectors();
        assert!(vectors.len() >= 40);
        for Vector { format, password, hash } in vectors {
            let parsed = PasswordHash::parse(&hash).unwrap_or_else(|error| panic!("{format}: {error}"));
            assert_eq!(verify(&parsed, &password), Verdict::Match { needs_rehash: true }, "{format}");
            for wrong in WRONG {
                assert_eq!(verify(&parsed, wrong), Verdict::Mismatch, "{format}: {wrong}");
            }
        }
    }

    #[test]
    fn a_changed_hash_matches_no_longer_or_is_malformed() {
        for Vector { format, password, hash } in vectors() {
            // A digit in the middle of the last field, or of `value` in Keycloak's JSON.
            let start = hash.find(r#"value\":\""#).or_else(|| hash.rfind('$')).unwrap_or(hash.len() / 2);
            let at = start + 14;
            let other = if hash.as_bytes()[at] == b'1' { "2" } else { "1" };
            let changed = format!("{}{other}{}", &hash[..at], &hash[at + 1..]);
            if let Ok(parsed) = PasswordHash::parse(&changed) {
                assert_eq!(verify(&parsed, &password), Verdict::Mismatch, "{format}");
            }
        }
    }

    #[test]
    fn cut_and_oversized_texts_are_refused() {
        for Vector { format, hash, .. } in vectors() {
            let last = hash.rfind('$').map_or(0, |at| at + 1);
            assert!(PasswordHash::parse(&hash[..last]).is_err(), "{format}: a hash of no length matches all");
            assert!(PasswordHash::parse(&hash[..last + 1]).is_err(), "{format}");
        }
        let long = format!("$argon2id${}", "1".repeat(3000));
        assert_eq!(PasswordHash::parse(&long).unwrap_err(), HashFormatError::Bounds("length"));
        for text in
            ["", "secret", "$1$salt$hash", "$2x$05$a", "md5$salt$hash", "A", "{", "{}", "$argon2id$", "$7$"]
        {
            assert!(PasswordHash::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_new_hash_round_trips_and_needs_a_rehash_only_for_other_parameters() {
        let params = Argon2Params::new(64, 2, 1).unwrap();
        let mut workspace = Workspace::default();
        let made = PasswordHash::compute(b"Xk9!vZqw", [1; SALT_BYTES], params, &mut workspace).unwrap();
        let read = PasswordHash::parse(made.expose()).unwrap();
        assert!(made.expose().starts_with("$argon2id$v=19$m=64,t=2,p=1$"));
        assert_eq!(
            read.verify(b"Xk9!vZqw", params, &mut workspace),
            Ok(Verdict::Match { needs_rehash: false })
        );
        for other in [(65, 2, 1), (64, 3, 1), (64, 2, 2)] {
            assert!(read.needs_rehash(Argon2Params::new(other.0, other.1, other.2).unwrap()), "{other:?}");
        }
        assert!(!format!("{read:?}").contains("argon2"));
    }
}
