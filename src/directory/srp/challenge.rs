//! The server's first step: from the client's A to B, the salt, and the session key.

use super::SrpError;
use super::group::{ELEMENT_LENGTH, EXPONENT_LENGTH, Element, padded, padded_hex};
use super::verifier::{Verifier, hash};
use crate::base::Entropy;
use aws_lc_rs::hkdf;
use zeroize::Zeroizing;

/// The digits of the longest `SRP_A`: 768 for 3072 bits, and a zero byte of clients that pad or
/// that print a signed integer. Others omit leading zeros.
const MAX_CLIENT_PUBLIC_DIGITS: usize = 2 * ELEMENT_LENGTH + 2;

const KEY_LENGTH: usize = 16;
const KEY_INFO: &[u8] = b"Caldera Derived Key";
/// The length of [`SessionKey::to_bytes`] in bytes.
pub const SESSION_KEY_LENGTH: usize = 2 + KEY_LENGTH;

const VERSION: u8 = 1;
const REAL: u8 = 1;
const SIMULATED: u8 = 2;

/// What the server sends as `PASSWORD_VERIFIER`, and the key that the client must know.
pub struct Challenge {
    /// `SRP_B`, hexadecimal.
    pub server_public: String,
    /// `SALT`, hexadecimal.
    pub salt: String,
    /// Verifies the client's signature. The caller seals it into `SECRET_BLOCK`.
    pub key: SessionKey,
}

impl Challenge {
    /// Answers `client_public`, the parameter `SRP_A`, for a user with `verifier`.
    ///
    /// # Errors
    /// Returns [`SrpError::MalformedClientPublic`] or [`SrpError::ClientPublicOutOfRange`].
    pub fn begin(verifier: &Verifier, client_public: &str, entropy: &dyn Entropy) -> Result<Self, SrpError> {
        begin(verifier, client_public, REAL, entropy)
    }

    /// Answers as [`Challenge::begin`] does, with a key that verifies nothing.
    pub(super) fn simulate(
        verifier: &Verifier,
        client_public: &str,
        entropy: &dyn Entropy,
    ) -> Result<Self, SrpError> {
        begin(verifier, client_public, SIMULATED, entropy)
    }
}

fn begin(
    verifier: &Verifier,
    client_public: &str,
    kind: u8,
    entropy: &dyn Entropy,
) -> Result<Challenge, SrpError> {
    let (a_bytes, a) = parse_client_public(client_public)?;
    let mut b = Zeroizing::new([0; EXPONENT_LENGTH]);
    entropy.fill(&mut b[..]);
    let server_public =
        Element::multiplier().times(&verifier.v).plus(&Element::generator().power(&b)).to_bytes();
    let u = hash(&[&padded(&a_bytes), &padded(&server_public[..])]);
    let secret = a.times(&verifier.v.power(&u)).power(&b);
    let key = SessionKey { key: derive_key(&u[..], &secret.to_bytes()[..]), kind };
    Ok(Challenge { server_public: padded_hex(&server_public[..]), salt: padded_hex(&verifier.salt), key })
}

/// Parses hexadecimal digits of either case, with or without leading zeros.
fn parse_client_public(text: &str) -> Result<([u8; ELEMENT_LENGTH], Element), SrpError> {
    if text.is_empty() || text.len() > MAX_CLIENT_PUBLIC_DIGITS {
        return Err(SrpError::MalformedClientPublic);
    }
    let mut bytes = [0; ELEMENT_LENGTH + 1];
    for (position, digit) in text.bytes().rev().enumerate() {
        let digit = char::from(digit).to_digit(16).ok_or(SrpError::MalformedClientPublic)?;
        // A digit is below 16, so the conversion keeps it.
        bytes[ELEMENT_LENGTH - position / 2] |= (digit as u8) << (4 * (position % 2));
    }
    let [0, bytes @ ..] = bytes else { return Err(SrpError::ClientPublicOutOfRange) };
    let element = Element::parse(&bytes).ok_or(SrpError::ClientPublicOutOfRange)?;
    Ok((bytes, element))
}

fn derive_key(u: &[u8], secret: &[u8]) -> Zeroizing<[u8; KEY_LENGTH]> {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            KEY_LENGTH
        }
    }
    let mut key = Zeroizing::new([0; KEY_LENGTH]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, &padded(u))
        .extract(&padded(secret))
        .expand(&[KEY_INFO], Length)
        .and_then(|okm| okm.fill(&mut key[..]))
        .expect("invariant: 16 bytes is within HKDF's length limit");
    key
}

/// The key of one challenge.
pub struct SessionKey {
    pub(super) key: Zeroizing<[u8; KEY_LENGTH]>,
    kind: u8,
}

impl SessionKey {
    /// Returns the byte form, secret: version, whether the challenge was simulated, key.
    pub fn to_bytes(&self) -> Zeroizing<[u8; SESSION_KEY_LENGTH]> {
        let mut bytes = Zeroizing::new([0; SESSION_KEY_LENGTH]);
        bytes[..2].copy_from_slice(&[VERSION, self.kind]);
        bytes[2..].copy_from_slice(&self.key[..]);
        bytes
    }

    /// Parses [`SessionKey::to_bytes`].
    ///
    /// # Errors
    /// Returns [`SrpError::MalformedSessionKey`] for another length, version or kind.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SrpError> {
        let [VERSION, kind @ (REAL | SIMULATED), key @ ..] = bytes else {
            return Err(SrpError::MalformedSessionKey);
        };
        let key = key.try_into().map_err(|_| SrpError::MalformedSessionKey)?;
        Ok(Self { key: Zeroizing::new(key), kind: *kind })
    }

    /// Returns whether the challenge was one of a [`super::SimulatedUser`].
    pub const fn is_simulated(&self) -> bool {
        self.kind == SIMULATED
    }
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionKey(…)")
    }
}
