//! Fuzz target for proofs of the possession of a key (DPoP, RFC 9449).

use crate::base::{Timestamp, base64url_encode};
use crate::token::{PROOF_RETENTION, ProofRequest, is_thumbprint, verify_proof};
use aws_lc_rs::signature::Ed25519KeyPair;
use std::sync::LazyLock;

const URL: &str = "https://auth.example.com/oauth2/token";
const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// The key of the seeds, because the fuzzer cannot sign.
static PAIR: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes are a seed"));

/// Verifies the input as a proof. If it has a line break, verifies it as header and claims, which
/// are signed first. Returns whether the proof is accepted.
pub fn proof(data: &[u8]) -> bool {
    let text = match memchr::memchr(b'\n', data) {
        Some(at) => signed(&data[..at], data[at + 1..].trim_ascii_end()),
        None => String::from_utf8_lossy(data).into_owned(),
    };
    let verified = |method, url| verify_proof(&text, ProofRequest { method, url, access_token: None }, NOW);
    let Ok(proof) = verified("POST", URL) else { return false };
    assert!(is_thumbprint(&proof.thumbprint), "the thumbprint is none");
    assert!(proof.expires_at <= NOW.plus(PROOF_RETENTION), "a used proof is forgotten before it expires");
    assert!(verified("GET", URL).is_err(), "a proof is for each method");
    assert!(verified("POST", "https://other.example.com/oauth2/token").is_err(), "a proof is for each host");
    let of_token = ProofRequest { method: "POST", url: URL, access_token: Some("another token") };
    assert!(verify_proof(&text, of_token, NOW).is_err(), "a proof is for each token");
    true
}

fn signed(header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", base64url_encode(header), base64url_encode(claims));
    let signature = base64url_encode(PAIR.sign(message.as_bytes()));
    format!("{message}.{signature}")
}
