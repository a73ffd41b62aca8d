//! Challenges for names without a verifier, so that answers do not reveal which users exist.

use super::group::{ELEMENT_LENGTH, Element};
use super::{Challenge, SALT_LENGTH, SrpError, Verifier};
use crate::base::{Entropy, uuid_from_bytes};
use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

const LABEL: &[u8] = b"narthex simulated srp user v1";
const ID_LENGTH: usize = 16;
const DERIVED_LENGTH: usize = ID_LENGTH + SALT_LENGTH + ELEMENT_LENGTH;

/// Derives stable users from a secret key of the server. RFC 5054, section 2.5.1.3: the salt of an
/// unknown user must not change between requests.
pub struct Simulator(hkdf::Prk);

impl Simulator {
    /// Creates a simulator. All nodes of an installation have the same `key`.
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, LABEL).extract(key))
    }

    /// Returns the user that `folded_name` would be in the pool, in about 20 microseconds. A caller
    /// that derives it for existing users too spends the same time on both.
    pub fn user(&self, pool_id: &str, folded_name: &str) -> SimulatedUser {
        struct Length;
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                DERIVED_LENGTH
            }
        }
        // The length separates the two texts.
        let length = (pool_id.len() as u64).to_be_bytes();
        let info = [&length[..], pool_id.as_bytes(), folded_name.as_bytes()];
        let mut derived = Zeroizing::new([0; DERIVED_LENGTH]);
        self.0
            .expand(&info, Length)
            .and_then(|okm| okm.fill(&mut derived[..]))
            .expect("invariant: 416 bytes is within HKDF's length limit");
        SimulatedUser::from_bytes(&derived)
    }
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Simulator(…)")
    }
}

/// A user that does not exist, or that has no verifier.
pub struct SimulatedUser {
    user_id: String,
    pub(super) verifier: Verifier,
}

impl SimulatedUser {
    fn from_bytes(derived: &[u8; DERIVED_LENGTH]) -> Self {
        let (id, rest) = derived.split_first_chunk().expect("invariant: the id is first");
        let (salt, rest) = rest.split_first_chunk().expect("invariant: the salt follows");
        let root = Element::reduced(rest.try_into().expect("invariant: an element is last"));
        // A verifier is a power of g = 2, which is a square modulo N. So is this one, and its
        // discrete logarithm is not known to anyone.
        Self { user_id: uuid_from_bytes(*id, 4), verifier: Verifier { salt: *salt, v: root.times(&root) } }
    }

    /// Returns a `USER_ID_FOR_SRP` for pools whose user names are UUIDs. In other pools the name
    /// that was sent is the user id.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// Answers as [`Challenge::begin`] does, with the same work. [`super::Claim::verify`] refuses
    /// every claim of the challenge.
    ///
    /// # Errors
    /// Returns the errors of [`Challenge::begin`].
    pub fn begin(&self, client_public: &str, entropy: &dyn Entropy) -> Result<Challenge, SrpError> {
        Challenge::simulate(&self.verifier, client_public, entropy)
    }
}

impl std::fmt::Debug for SimulatedUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimulatedUser(…)")
    }
}
