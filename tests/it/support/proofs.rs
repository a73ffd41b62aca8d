//! DPoP proofs and client assertions, with changes.

use super::time::unix_seconds;
use super::token_issuer::{Key, Pair, base64url};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsBigEndian as _, EcPrivateKeyBin};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};

static IDS: AtomicU32 = AtomicU32::new(0);

/// Returns an id that no other proof or assertion of this process has.
pub fn new_id() -> String {
    format!("id-{}", IDS.fetch_add(1, Ordering::Relaxed))
}

pub fn sha256(text: &str) -> String {
    base64url(digest(&SHA256, text.as_bytes()))
}

/// Returns `object` with other members; null takes one out.
pub fn with(mut object: Value, others: &Value) -> Value {
    for (name, value) in others.as_object().into_iter().flatten() {
        match value {
            Value::Null => drop(object.as_object_mut().unwrap().remove(name)),
            value => object[name] = value.clone(),
        }
    }
    object
}

/// Returns the thumbprint of a key (RFC 7638).
pub fn thumbprint(key: &Key) -> String {
    let jwk = key.jwk();
    let text = |name: &str| jwk[name].as_str().unwrap().to_owned();
    sha256(&match text("kty").as_str() {
        "EC" => format!(r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#, text("crv"), text("x"), text("y")),
        "RSA" => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text("e"), text("n")),
        _ => format!(r#"{{"crv":"{}","kty":"OKP","x":"{}"}}"#, text("crv"), text("x")),
    })
}

/// Returns the claims of a new proof.
pub fn proof_claims(method: &str, url: &str, token: Option<&str>) -> Value {
    let claims = json!({ "jti": new_id(), "htm": method, "htu": url, "iat": unix_seconds() });
    with(claims, &token.map_or(Value::Null, |token| json!({ "ath": sha256(token) })))
}

/// Returns a proof of `key`, whose header has other members.
pub fn proof_with(key: &Key, header: &Value, claims: &Value) -> String {
    let header = with(json!({ "typ": "dpop+jwt", "jwk": key.jwk() }), header);
    key.token(&header, &claims.to_string())
}

/// Returns a new proof.
pub fn proof(key: &Key, method: &str, url: &str, token: Option<&str>) -> String {
    proof_with(key, &Value::Null, &proof_claims(method, url, token))
}

/// Returns a client assertion, whose claims have other members.
pub fn assertion(key: &Key, client: &str, audience: &str, others: &Value) -> String {
    let now = unix_seconds();
    let claims = json!({
        "iss": client, "sub": client, "aud": audience, "jti": new_id(), "iat": now, "exp": now + 60,
    });
    key.token(&Value::Null, &with(claims, others).to_string())
}

/// Returns a key on P-256 with its private part, for a library.
pub fn private_jwk(key: &Key) -> Value {
    let Pair::Ec(pair, _) = &key.pair else { panic!("{}", key.algorithm) };
    let bytes: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().unwrap();
    // Some libraries import a key for signatures only without its use.
    let jwk = with(key.jwk(), &json!({ "use": null, "alg": null }));
    with(jwk, &json!({ "d": base64url(bytes.as_ref()) }))
}
