//! Sign-ins of a client of our own, whose arithmetic is num-bigint's.

use super::*;
use crate::base::{Entropy, SystemEntropy, Timestamp, sha256};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use num_bigint::BigUint;

pub(in crate::directory) const POOL: &str = "eu-central-1_Ab3dEf6hI";
pub(super) const USER: &str = "alice";
pub(in crate::directory) const PASSWORD: &str = "Pässwörd-1";
pub(super) const BLOCK: &[u8] = b"secret block";
pub(in crate::directory) const TIMESTAMP: &str = "Sat Nov 7 09:05:04 UTC 2026";
pub(in crate::directory) const NOW: Timestamp = Timestamp::from_seconds(1_794_042_304);

pub(super) struct Fixed(pub [u8; 32]);

impl Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.0[..buffer.len()]);
    }
}

pub(super) fn realm() -> Realm<'static> {
    Realm::of_pool(POOL).unwrap()
}

/// The number-th value of a reproducible series.
pub(in crate::directory) fn series(name: &str, number: u32) -> [u8; 32] {
    sha256(format!("{name}{number}"))
}

pub(super) fn salt(number: u32) -> [u8; SALT_LENGTH] {
    series("salt", number)[..SALT_LENGTH].try_into().unwrap()
}

pub(super) fn prime() -> BigUint {
    BigUint::parse_bytes(group::PRIME.as_bytes(), 16).unwrap()
}

fn last_byte(byte: u8) -> [u8; group::ELEMENT_LENGTH] {
    let mut bytes = [0; group::ELEMENT_LENGTH];
    bytes[group::ELEMENT_LENGTH - 1] = byte;
    bytes
}

/// `padHex` of amazon-cognito-identity-js, by its own steps.
fn pad_hex(value: &BigUint) -> Vec<u8> {
    let mut hex = value.to_str_radix(16);
    if hex.len() % 2 == 1 {
        hex.insert(0, '0');
    }
    if hex.starts_with(|first: char| "89abcdef".contains(first)) {
        hex.insert_str(0, "00");
    }
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn hash_of(parts: &[&[u8]]) -> BigUint {
    BigUint::from_bytes_be(&sha256(parts.concat()))
}

pub(super) fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref().to_vec()
}

pub(in crate::directory) struct Client {
    a: BigUint,
    public: BigUint,
}

/// What a client computes from a challenge.
pub(in crate::directory) struct Answer {
    u: BigUint,
    secret: BigUint,
    key: Vec<u8>,
    pub signature: String,
}

impl Client {
    pub fn new(a: [u8; 32]) -> Self {
        let a = BigUint::from_bytes_be(&a);
        Self { public: BigUint::from(2u8).modpow(&a, &prime()), a }
    }

    pub fn public_hex(&self) -> String {
        self.public.to_str_radix(16)
    }

    pub fn answer(&self, challenge: &Challenge, password: &str) -> Answer {
        let Challenge { server_public, salt, .. } = challenge;
        self.answer_as((USER, password), (server_public, salt, BLOCK), TIMESTAMP)
    }

    pub fn answer_as(
        &self,
        (user, password): (&str, &str),
        (server_public, salt, block): (&str, &str, &[u8]),
        timestamp: &str,
    ) -> Answer {
        let (n, g) = (prime(), BigUint::from(2u8));
        let [b, salt] = [server_public, salt].map(|hex| BigUint::parse_bytes(hex.as_bytes(), 16).unwrap());
        let u = hash_of(&[&pad_hex(&self.public), &pad_hex(&b)]);
        let identity = sha256(format!("{}{user}:{password}", realm().as_str()));
        let x = hash_of(&[&pad_hex(&salt), &identity]);
        let k = hash_of(&[&pad_hex(&n), &pad_hex(&g)]);
        let difference = (&b + &n - (k * g.modpow(&x, &n)) % &n) % &n;
        let secret = difference.modpow(&(&self.a + &u * x), &n);
        let prk = mac(&pad_hex(&u), &pad_hex(&secret));
        let key = mac(&prk, b"Caldera Derived Key\x01")[..16].to_vec();
        let message = [realm().as_str().as_bytes(), user.as_bytes(), block, timestamp.as_bytes()].concat();
        let signature = STANDARD.encode(mac(&key, &message));
        Answer { u, secret, key, signature }
    }
}

pub(super) fn claim(signature: &str) -> Claim<'_> {
    Claim { realm: realm(), user_id: USER, secret_block: BLOCK, timestamp: TIMESTAMP, signature }
}

pub(super) fn begin(a: u32, b: u32, salt_number: u32) -> (Client, Challenge) {
    let verifier = Verifier::derive(realm(), USER, PASSWORD, salt(salt_number));
    let client = Client::new(series("a", a));
    let challenge = Challenge::begin(&verifier, &client.public_hex(), &Fixed(series("b", b))).unwrap();
    (client, challenge)
}

#[test]
fn the_multiplier_is_the_hash_of_the_prime_and_the_generator() {
    let k = hash_of(&[&pad_hex(&prime()), &pad_hex(&BigUint::from(2u8))]);
    assert_eq!(k.to_str_radix(16), "538282c4354742d7cbbde2359fcf67f9f5b3a6b08791e5011b43b8a5b66d9ee6");
    assert_eq!(BigUint::from_bytes_be(&group::Element::multiplier().to_bytes()[..]), k);
    assert_eq!(group::Element::generator().to_bytes()[..], last_byte(2));
}

#[test]
fn integers_are_padded_as_javas_big_integer_pads_them() {
    for (bytes, expected, hex) in [
        (&[][..], &[0][..], "00"),
        (&[0, 0], &[0], "00"),
        (&[0x14], &[0x14], "14"),
        (&[0x7f], &[0x7f], "7f"),
        (&[0x80], &[0, 0x80], "0080"),
        (&[0, 0x80], &[0, 0x80], "0080"),
        (&[0, 0x7f, 0xff], &[0x7f, 0xff], "7fff"),
        (&[0, 0, 1, 0], &[1, 0], "0100"),
        (&[0xff, 0], &[0, 0xff, 0], "00ff00"),
    ] {
        assert_eq!(group::padded(bytes)[..], *expected);
        assert_eq!(group::padded_hex(bytes), hex);
        assert_eq!(group::padded(bytes)[..], pad_hex(&BigUint::from_bytes_be(bytes)));
    }
}

/// The signature is of pycognito 2024.5.1, for the same a, b and salt.
#[test]
fn the_signature_of_an_independent_client_is_verified() {
    let (client, challenge) = begin(0, 0, 0);
    assert_eq!(challenge.salt, "2bc990059473448e6ebd442aa16bfaa0");
    let signature = "+avEwauxn6kN/l1upYJ5iN3M2uVygPz6PKcp84ikS0k=";
    assert_eq!(claim(signature).verify(&challenge.key, NOW), Ok(()));
    assert_eq!(client.answer(&challenge, PASSWORD).signature, signature);
}

#[test]
fn random_sign_ins_succeed_and_wrong_passwords_fail() {
    for round in 0..12 {
        let password = format!("p{round}\u{e9}\u{1f600}");
        let verifier = Verifier::create(realm(), USER, &password, &SystemEntropy);
        let verifier = Verifier::from_bytes(&verifier.to_bytes()[..]).unwrap();
        let client = Client::new(series("random", round));
        let challenge = Challenge::begin(&verifier, &client.public_hex(), &SystemEntropy).unwrap();
        let answer = client.answer(&challenge, &password);
        let key = SessionKey::from_bytes(&challenge.key.to_bytes()[..]).unwrap();
        assert_eq!(key.key[..], answer.key);
        assert_eq!(claim(&answer.signature).verify(&key, NOW), Ok(()));
        let wrong = client.answer(&challenge, &password.to_uppercase()).signature;
        assert_eq!(claim(&wrong).verify(&key, NOW), Err(SrpError::WrongSignature));
    }
}

#[test]
fn leading_zeros_of_every_value_are_handled() {
    let zeros = |value: &BigUint, width: usize| width - value.to_bytes_be().len();
    // Found by search.
    for (field, a, b) in [("A", 180, 0), ("B", 0, 684), ("u", 0, 270), ("S", 0, 421)] {
        let (client, challenge) = begin(a, b, 0);
        let answer = client.answer(&challenge, PASSWORD);
        let server_public = BigUint::parse_bytes(challenge.server_public.as_bytes(), 16).unwrap();
        let found = [
            ("A", zeros(&client.public, 384)),
            ("B", zeros(&server_public, 384)),
            ("u", zeros(&answer.u, 32)),
            ("S", zeros(&answer.secret, 384)),
        ];
        assert!(found.contains(&(field, 1)), "{field}: {found:?}");
        assert_eq!(claim(&answer.signature).verify(&challenge.key, NOW), Ok(()), "{field}");
    }
    let client = Client::new(series("a", 0));
    for first in [&[0][..], &[0, 0x80], &[0, 0x7f], &[0x0f], &[0x80], &[0; 16]] {
        let mut salt = salt(1);
        salt[..first.len()].copy_from_slice(first);
        let verifier = Verifier::derive(realm(), USER, PASSWORD, salt);
        let challenge = Challenge::begin(&verifier, &client.public_hex(), &SystemEntropy).unwrap();
        let signature = client.answer(&challenge, PASSWORD).signature;
        assert_eq!(claim(&signature).verify(&challenge.key, NOW), Ok(()), "{first:?}");
    }
}

#[test]
fn spellings_of_one_client_public_have_one_key() {
    let verifier = Verifier::derive(realm(), USER, PASSWORD, salt(0));
    let key = |text: &str| {
        let challenge = Challenge::begin(&verifier, text, &Fixed(series("b", 0))).unwrap();
        challenge.key.to_bytes()
    };
    let hex = Client::new(series("a", 180)).public_hex();
    assert_eq!(hex.len(), 765);
    let expected = key(&hex);
    for text in [hex.to_uppercase(), format!("{hex:0>766}"), format!("{hex:0>768}"), format!("{hex:0>770}")] {
        assert_eq!(key(&text), expected);
    }
}
