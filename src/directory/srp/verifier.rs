//! What the server stores of a password: a salt and g^x.

use super::group::{ELEMENT_LENGTH, EXPONENT_LENGTH, Element, padded};
use super::{Realm, SrpError};
use crate::base::Entropy;
use aws_lc_rs::digest;
use zeroize::Zeroizing;

/// The length of a salt in bytes. Clients read it as an integer.
pub const SALT_LENGTH: usize = 16;
/// The length of [`Verifier::to_bytes`] in bytes.
pub const VERIFIER_LENGTH: usize = SALT_LENGTH + ELEMENT_LENGTH;

/// The salt and the verifier v of a password.
pub struct Verifier {
    pub(super) salt: [u8; SALT_LENGTH],
    pub(super) v: Element,
}

impl Verifier {
    /// Creates the verifier of `password` with a random salt. `user_id` is the later
    /// `USER_ID_FOR_SRP`. The password is hashed as the client sends it, without normalization.
    pub fn create(realm: Realm<'_>, user_id: &str, password: &str, entropy: &dyn Entropy) -> Self {
        let mut salt = [0; SALT_LENGTH];
        entropy.fill(&mut salt);
        Self::derive(realm, user_id, password, salt)
    }

    /// Computes the verifier of `password` with `salt`.
    pub fn derive(realm: Realm<'_>, user_id: &str, password: &str, salt: [u8; SALT_LENGTH]) -> Self {
        let x = private_exponent(realm, user_id, password, &salt);
        Self { salt, v: Element::generator().power(&x) }
    }

    /// Returns the byte form: the salt, then v, both big-endian and of fixed width.
    pub fn to_bytes(&self) -> Zeroizing<[u8; VERIFIER_LENGTH]> {
        let mut bytes = Zeroizing::new([0; VERIFIER_LENGTH]);
        bytes[..SALT_LENGTH].copy_from_slice(&self.salt);
        bytes[SALT_LENGTH..].copy_from_slice(&self.v.to_bytes()[..]);
        bytes
    }

    /// Parses [`Verifier::to_bytes`].
    ///
    /// # Errors
    /// Returns [`SrpError::MalformedVerifier`] for another length or an impossible v.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SrpError> {
        let (salt, v) = bytes.split_first_chunk::<SALT_LENGTH>().ok_or(SrpError::MalformedVerifier)?;
        let v = v.try_into().ok().and_then(Element::parse).ok_or(SrpError::MalformedVerifier)?;
        Ok(Self { salt: *salt, v })
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier(…)")
    }
}

/// Returns x = H(pad salt ‖ H(realm ‖ user id ‖ `:` ‖ password)).
fn private_exponent(
    realm: Realm<'_>,
    user_id: &str,
    password: &str,
    salt: &[u8],
) -> Zeroizing<[u8; EXPONENT_LENGTH]> {
    let identity = hash(&[realm.as_str().as_bytes(), user_id.as_bytes(), b":", password.as_bytes()]);
    hash(&[&padded(salt), &identity[..]])
}

/// Returns the SHA-256 digest of `parts`, one after another.
pub(super) fn hash(parts: &[&[u8]]) -> Zeroizing<[u8; EXPONENT_LENGTH]> {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = Zeroizing::new([0; EXPONENT_LENGTH]);
    out.copy_from_slice(context.finish().as_ref());
    out
}
