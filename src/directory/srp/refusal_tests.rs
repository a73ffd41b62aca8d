//! Inputs that must be refused, and users that do not exist.

use super::tests::*;
use super::*;
use crate::base::{Duration, SystemEntropy};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use num_bigint::BigUint;

fn verifier() -> Verifier {
    Verifier::derive(realm(), USER, PASSWORD, salt(0))
}

fn refusal(client_public: &str) -> Option<SrpError> {
    let known = Challenge::begin(&verifier(), client_public, &SystemEntropy).err();
    let simulated = simulator(1).user(POOL, USER).begin(client_public, &SystemEntropy).err();
    assert_eq!(known, simulated, "the answer must not depend on the user");
    known
}

fn simulator(key: u8) -> Simulator {
    Simulator::new(&[key; 32])
}

#[test]
fn pain_18_a_client_public_without_secret_is_refused() {
    let (zero, one, n) = (BigUint::ZERO, BigUint::from(1u8), prime());
    for value in [&zero, &one, &(&n - 1u8), &n, &(&n + 1u8), &(&n * 2u8), &(&one << 3072)] {
        let hex = value.to_str_radix(16);
        assert_eq!(refusal(&hex), Some(SrpError::ClientPublicOutOfRange), "{hex}");
    }
    assert_eq!(refusal(&"0".repeat(770)), Some(SrpError::ClientPublicOutOfRange));
    assert_eq!(refusal(&(n - 2u8).to_str_radix(16)), None);
    assert_eq!(refusal("2"), None);
}

#[test]
fn a_client_public_that_is_not_hexadecimal_is_refused() {
    let long = format!("{}2", "0".repeat(770));
    for text in
        ["", " 2", "2 ", "0x2", "-2", "+2", "2g", "2\u{0}", "\u{ff12}", "é", &long, &"2".repeat(100_000)]
    {
        assert_eq!(refusal(text), Some(SrpError::MalformedClientPublic), "{:.20}", text);
    }
}

#[test]
fn pain_18_a_bit_flipped_in_any_field_is_refused() {
    let (client, challenge) = begin(0, 0, 0);
    let signature = client.answer(&challenge, PASSWORD).signature;
    let good = claim(&signature);
    assert_eq!(good.verify(&challenge.key, NOW), Ok(()));
    let wrong = |claim: &Claim<'_>| {
        assert_eq!(claim.verify(&challenge.key, NOW), Err(SrpError::WrongSignature));
    };
    let raw = STANDARD.decode(&signature).unwrap();
    for bit in 0..256 {
        let mut raw = raw.clone();
        raw[bit / 8] ^= 1 << (bit % 8);
        wrong(&claim(&STANDARD.encode(raw)));
    }
    for bit in 0..BLOCK.len() * 8 {
        let mut block = BLOCK.to_vec();
        block[bit / 8] ^= 1 << (bit % 8);
        wrong(&Claim { secret_block: &block, ..good });
    }
    wrong(&Claim { timestamp: "Sat Nov 7 09:05:05 UTC 2026", ..good });
    wrong(&Claim { user_id: "alicf", ..good });
    wrong(&Claim { realm: Realm::of_pool("eu-central-1_Ab3dEf6hJ").unwrap(), ..good });
    let key = challenge.key.to_bytes();
    for bit in 16..SESSION_KEY_LENGTH * 8 {
        let mut key = *key;
        key[bit / 8] ^= 1 << (bit % 8);
        let key = SessionKey::from_bytes(&key).unwrap();
        assert_eq!(good.verify(&key, NOW), Err(SrpError::WrongSignature), "bit {bit}");
    }
}

#[test]
fn pain_18_a_malformed_signature_or_an_old_claim_is_refused() {
    let (client, challenge) = begin(0, 0, 0);
    let signature = client.answer(&challenge, PASSWORD).signature;
    let unpadded = signature.trim_end_matches('=');
    let trailing_bit = signature.replace("k=", "l=");
    assert_ne!(trailing_bit, signature);
    let long = "A".repeat(100_000);
    for text in ["", unpadded, &trailing_bit, &format!("{signature}\n"), &long, &"é".repeat(22)] {
        assert_eq!(claim(text).verify(&challenge.key, NOW), Err(SrpError::MalformedSignature), "{text:.60}");
    }
    let late = NOW.plus(MAX_TIMESTAMP_AGE).plus(Duration::from_secs(1));
    assert_eq!(claim(&signature).verify(&challenge.key, late), Err(SrpError::TimestampTooOld));
}

#[test]
fn malformed_stored_bytes_are_refused() {
    let stored = verifier().to_bytes();
    assert_eq!(Verifier::from_bytes(&stored[..]).unwrap().to_bytes(), stored);
    let with_v = |v: &BigUint| [&stored[..SALT_LENGTH], &fixed_width(v)].concat();
    let n = prime();
    let mut malformed: Vec<Vec<u8>> = [0u8, 1].map(|v| with_v(&BigUint::from(v))).to_vec();
    malformed.extend([with_v(&(&n - 1u8)), with_v(&n), with_v(&(&n + 1u8)), vec![0xff; VERIFIER_LENGTH]]);
    malformed.extend([vec![], stored[..15].to_vec(), stored[1..].to_vec(), [&stored[..], &[0]].concat()]);
    for bytes in &malformed {
        assert_eq!(Verifier::from_bytes(bytes).err(), Some(SrpError::MalformedVerifier));
    }
    let (_, challenge) = begin(0, 0, 0);
    let key = challenge.key.to_bytes();
    for (at, byte) in [(0, 0), (0, 2), (1, 0), (1, 3)] {
        let mut key = *key;
        key[at] = byte;
        assert_eq!(SessionKey::from_bytes(&key).err(), Some(SrpError::MalformedSessionKey));
    }
    for bytes in [&[][..], &key[..17], &[&key[..], &[0]].concat()] {
        assert_eq!(SessionKey::from_bytes(bytes).err(), Some(SrpError::MalformedSessionKey));
    }
}

fn fixed_width(value: &BigUint) -> Vec<u8> {
    let bytes = value.to_bytes_be();
    [vec![0; 384 - bytes.len()], bytes].concat()
}

#[test]
fn a_simulated_user_is_stable_and_like_no_other() {
    let client = Client::new(series("a", 0)).public_hex();
    let facts = |key: u8, pool: &str, name: &str| {
        let user = simulator(key).user(pool, name);
        let challenge = user.begin(&client, &Fixed(series("b", 0))).unwrap();
        (user.user_id().to_owned(), challenge.salt, challenge.server_public)
    };
    let first = facts(1, POOL, "nobody");
    assert_eq!(facts(1, POOL, "nobody"), first);
    let pool_and_name = format!("{POOL}n");
    for (key, pool, name) in [
        (2, POOL, "nobody"),
        (1, "eu-central-1_000000000", "nobody"),
        (1, POOL, "nobodx"),
        (1, &pool_and_name, "obody"),
    ] {
        let other = facts(key, pool, name);
        assert!(other.0 != first.0 && other.1 != first.1 && other.2 != first.2, "{pool} {name}");
    }
}

#[test]
fn a_simulated_challenge_looks_like_a_real_one() {
    let (_, real) = begin(0, 0, 0);
    let user = simulator(1).user(POOL, "nobody");
    let client = Client::new(series("a", 0)).public_hex();
    let challenges: Vec<_> = (0..2).map(|_| user.begin(&client, &SystemEntropy).unwrap()).collect();
    assert_eq!(challenges[0].salt, challenges[1].salt);
    assert_ne!(challenges[0].server_public, challenges[1].server_public);
    for hex in [&challenges[0].server_public, &real.server_public] {
        assert!((760..=770).contains(&hex.len()), "{}", hex.len());
        assert!(hex.bytes().all(|digit| b"0123456789abcdef".contains(&digit)));
    }
    assert_eq!(user.user_id().len(), crate::base::uuid_from_bytes([0; 16], 4).len());
    // Euler's criterion: all verifiers are squares, as all powers of 2 are.
    let n = prime();
    let simulated = ["a", "b", "c", "d"].map(|name| simulator(1).user(POOL, name).verifier);
    for verifier in simulated.iter().chain([&verifier()]) {
        let v = BigUint::from_bytes_be(&verifier.v.to_bytes()[..]);
        assert_eq!(v.modpow(&((&n - 1u8) / 2u8), &n), BigUint::from(1u8));
    }
}

#[test]
fn no_claim_of_a_simulated_user_is_verified() {
    let user = simulator(1).user(POOL, "nobody");
    let client = Client::new(series("a", 0));
    let challenge = user.begin(&client.public_hex(), &SystemEntropy).unwrap();
    let key = SessionKey::from_bytes(&challenge.key.to_bytes()[..]).unwrap();
    assert!(key.is_simulated());
    // Even the right signature, which only the server can compute.
    let message = [realm().as_str().as_bytes(), USER.as_bytes(), BLOCK, TIMESTAMP.as_bytes()].concat();
    let signature = STANDARD.encode(mac(&key.key[..], &message));
    assert_eq!(claim(&signature).verify(&key, NOW), Err(SrpError::Simulated));
    let guessed = client.answer(&challenge, PASSWORD).signature;
    assert_eq!(claim(&guessed).verify(&key, NOW), Err(SrpError::Simulated));
}

#[test]
fn debug_output_is_redacted() {
    let (_, challenge) = begin(0, 0, 0);
    let user = simulator(1).user(POOL, "nobody");
    let text = format!("{:?} {:?} {:?} {:?}", verifier(), challenge.key, user, simulator(1));
    assert_eq!(text, "Verifier(…) SessionKey(…) SimulatedUser(…) Simulator(…)");
}

#[test]
fn a_realm_is_the_part_of_the_pool_id_after_the_region() {
    assert_eq!(Realm::of_pool("eu-central-1_Ab3dEf6hI").map(Realm::as_str), Some("Ab3dEf6hI"));
    assert_eq!(Realm::of_pool("eu-central-1"), None);
    assert_eq!(Realm::of_pool("eu-central-1_"), None);
    let device = Verifier::derive(Realm::of_device_group("-group"), "device", "secret", salt(0));
    assert_ne!(device.to_bytes(), Verifier::derive(realm(), "device", "secret", salt(0)).to_bytes());
}
