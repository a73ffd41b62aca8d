//! Authenticated encryption (AES-256-GCM) under keys derived from one master key, and MACs for
//! cookies.
//!
//! Every message has its own key, derived with HKDF (RFC 5869) from the master key and 192 random
//! bits. The bound on messages per GCM key (NIST SP 800-38D, section 8.3) is therefore never
//! approached, however many anonymous clients begin to sign in.

use super::{Entropy, base64url_encode, sha256};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{constant_time, hkdf, hmac};
use thiserror::Error;
use zeroize::Zeroizing;

const SALT: usize = 24;
const KEY_ID: usize = 8;
const HEADER: usize = KEY_ID + SALT;
const TAG: usize = 16;

/// The purpose of a derived key. Keys of different purposes are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Secrets in the store.
    AtRest,
    /// A login attempt in its cookie.
    LoginAttempt,
    /// The position in a list, returned to the client that reads it page by page.
    PageToken,
    /// A refresh token.
    RefreshToken,
}

const MAC_LABEL: &[u8] = b"narthex session cookie v1";
const PSEUDONYM_LABEL: &[u8] = b"narthex pseudonym v1";

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::AtRest => b"narthex at rest v1",
            Self::LoginAttempt => b"narthex login attempt v1",
            Self::PageToken => b"narthex page token v1",
            Self::RefreshToken => b"narthex refresh token v1",
        }
    }
}

/// The 256-bit key from which all other secret keys are derived.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

impl MasterKey {
    /// Creates a random key.
    pub fn random(entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy.fill(&mut bytes[..]);
        Self(bytes)
    }

    /// Parses the text form, 43 base64url characters. Returns `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(super::base64url_decode(text.trim())?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// Returns the text form, for the key file.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(base64url_encode(&self.0[..]))
    }

    fn id(&self) -> [u8; KEY_ID] {
        let mut labelled = Zeroizing::new(b"narthex master key id v1".to_vec());
        labelled.extend_from_slice(&self.0[..]);
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&sha256(&*labelled)[..KEY_ID]);
        id
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// An error of decryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Encrypted under another master key.
    #[error("sealed under another master key")]
    OtherKey,
    /// Altered, truncated, or encrypted for another context.
    #[error("damaged, or encrypted for another context")]
    Damaged,
}

/// The keys derived from one master key, for encryption, decryption and MACs.
pub struct KeyRing {
    id: [u8; KEY_ID],
    at_rest: hkdf::Prk,
    login_attempt: hkdf::Prk,
    page_token: hkdf::Prk,
    refresh_token: hkdf::Prk,
    session_cookie: hmac::Key,
    pseudonym: hmac::Key,
}

impl KeyRing {
    /// Derives the keys of all purposes from `master`.
    pub fn new(master: &MasterKey) -> Self {
        let mac = derive(&prk(master, MAC_LABEL), b"");
        Self {
            id: master.id(),
            at_rest: prk(master, Purpose::AtRest.label()),
            login_attempt: prk(master, Purpose::LoginAttempt.label()),
            page_token: prk(master, Purpose::PageToken.label()),
            refresh_token: prk(master, Purpose::RefreshToken.label()),
            session_cookie: hmac::Key::new(hmac::HMAC_SHA256, &mac[..]),
            pseudonym: hmac::Key::new(hmac::HMAC_SHA256, &derive(&prk(master, PSEUDONYM_LABEL), b"")[..]),
        }
    }

    /// Encrypts `plain`. `context` names its storage location (table, row and column, or cookie)
    /// and is authenticated, so that a ciphertext cannot be moved to another location.
    ///
    /// Layout: key id (8 bytes), salt (24), ciphertext, tag (16).
    pub fn seal(&self, purpose: Purpose, context: &str, plain: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER + plain.len() + TAG);
        out.extend_from_slice(&self.id);
        out.resize(HEADER, 0);
        entropy.fill(&mut out[KEY_ID..]);
        let key = self.message_key(purpose, &out[KEY_ID..HEADER]);
        let mut body = Zeroizing::new(plain.to_vec());
        let tag = key
            .seal_in_place_separate_tag(only_nonce(), Aad::from(context.as_bytes()), &mut body)
            .expect("invariant: a message that fits in memory is within GCM's length limit");
        out.extend_from_slice(&body);
        out.extend_from_slice(tag.as_ref());
        out
    }

    /// Decrypts the result of [`KeyRing::seal`] for the same purpose and context.
    ///
    /// # Errors
    /// Returns [`OpenError::OtherKey`] for another master key, [`OpenError::Damaged`] otherwise.
    pub fn open(
        &self,
        purpose: Purpose,
        context: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        if sealed.len() < HEADER + TAG {
            return Err(OpenError::Damaged);
        }
        let (header, body) = sealed.split_at(HEADER);
        let (id, salt) = header.split_at(KEY_ID);
        if id != self.id {
            return Err(OpenError::OtherKey);
        }
        let key = self.message_key(purpose, salt);
        let mut body = Zeroizing::new(body.to_vec());
        let length = key
            .open_in_place(only_nonce(), Aad::from(context.as_bytes()), &mut body)
            .map_err(|_| OpenError::Damaged)?
            .len();
        body.truncate(length);
        Ok(body)
    }

    /// Performs the computation of [`KeyRing::open`] for a message of `length` bytes that does not
    /// exist. So the response time does not reveal its absence.
    pub fn imitate_open(&self, purpose: Purpose, length: usize) {
        let key = self.message_key(purpose, &[0; SALT]);
        let mut body = vec![0; length + TAG];
        let opened = key.open_in_place(only_nonce(), Aad::from(&[0_u8; 32]), &mut body).is_ok();
        std::hint::black_box(opened);
    }

    /// Returns a 128-bit MAC of `message`, for session cookies.
    pub fn mac(&self, message: &[u8]) -> [u8; 16] {
        let tag = hmac::sign(&self.session_cookie, message);
        let mut out = [0; 16];
        out.copy_from_slice(&tag.as_ref()[..16]);
        out
    }

    /// Returns a keyed digest of `name`, which is stored instead of a user or an address. Without
    /// the master key, `name` cannot be guessed from it.
    pub fn pseudonym(&self, name: &[u8]) -> [u8; 16] {
        let mut out = [0; 16];
        out.copy_from_slice(&hmac::sign(&self.pseudonym, name).as_ref()[..16]);
        out
    }

    /// Returns whether `mac` is the MAC of `message`. Compares in constant time.
    pub fn mac_is(&self, message: &[u8], mac: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.mac(message), mac).is_ok()
    }

    fn message_key(&self, purpose: Purpose, salt: &[u8]) -> LessSafeKey {
        let prk = match purpose {
            Purpose::AtRest => &self.at_rest,
            Purpose::LoginAttempt => &self.login_attempt,
            Purpose::PageToken => &self.page_token,
            Purpose::RefreshToken => &self.refresh_token,
        };
        let bytes = derive(prk, salt);
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes[..]).expect("invariant: 32 bytes"))
    }
}

/// Returns the nonce of every message. It can be constant, because every message has its own key.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

fn prk(master: &MasterKey, label: &[u8]) -> hkdf::Prk {
    hkdf::Salt::new(hkdf::HKDF_SHA256, label).extract(&master.0[..])
}

fn derive(prk: &hkdf::Prk, info: &[u8]) -> Zeroizing<[u8; 32]> {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            32
        }
    }
    let mut out = Zeroizing::new([0; 32]);
    prk.expand(&[info], Length)
        .and_then(|okm| okm.fill(&mut out[..]))
        .expect("invariant: 32 bytes is within HKDF's length limit");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    fn ring() -> KeyRing {
        KeyRing::new(&MasterKey::random(&SystemEntropy))
    }

    #[test]
    fn what_was_sealed_opens_only_where_it_was_meant_to_stand() {
        let ring = ring();
        let sealed = ring.seal(Purpose::AtRest, "keys/1/private", b"plain", &SystemEntropy);
        let open = |purpose, place| ring.open(purpose, place, &sealed).map(|p| p.to_vec());
        assert_eq!(open(Purpose::AtRest, "keys/1/private"), Ok(b"plain".to_vec()));
        assert_eq!(open(Purpose::AtRest, "keys/2/private"), Err(OpenError::Damaged));
        assert_eq!(open(Purpose::LoginAttempt, "keys/1/private"), Err(OpenError::Damaged));
    }

    #[test]
    fn another_master_key_is_told_apart_from_damage() {
        let sealed = ring().seal(Purpose::AtRest, "x", b"plain", &SystemEntropy);
        assert_eq!(ring().open(Purpose::AtRest, "x", &sealed).err(), Some(OpenError::OtherKey));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let ring = ring();
        let sealed = ring.seal(Purpose::LoginAttempt, "x", b"some attempt", &SystemEntropy);
        for at in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert!(ring.open(Purpose::LoginAttempt, "x", &bad).is_err(), "bit {at}");
        }
        for length in 0..sealed.len() {
            assert!(ring.open(Purpose::LoginAttempt, "x", &sealed[..length]).is_err(), "length {length}");
        }
    }

    #[test]
    fn sealing_twice_gives_two_texts() {
        let ring = ring();
        let seal = || ring.seal(Purpose::AtRest, "x", b"plain", &SystemEntropy);
        assert_ne!(seal(), seal());
    }

    #[test]
    fn a_mac_is_of_its_message_and_key_alone() {
        let (one, other) = (ring(), ring());
        let mac = one.mac(b"message");
        assert!(one.mac_is(b"message", &mac));
        assert!(!one.mac_is(b"massage", &mac));
        assert!(!other.mac_is(b"message", &mac));
        assert!(!one.mac_is(b"message", &mac[..15]));
    }
}
