//! Fuzz target for JWTs: access tokens and logout tokens.

use crate::authn::{methods, user_from_claims};
use crate::base::{Timestamp, base64url_encode, uuid_from_bytes};
use crate::config::{KeySource, TokenType, TrustedIssuer};
use crate::jose::{JwkSet, MAX_TOKEN_LENGTH, Unverified};
use crate::provider::fuzzing::LogoutTokens;
use crate::token::{AccessToken, TokenError, verify};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::Value;
use std::sync::LazyLock;

const ISSUER: &str = "https://idp.example.com";
const AUDIENCE: &str = "narthex";
const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// An issuer whose private key the target uses, because the fuzzer cannot sign.
struct Issuer {
    config: TrustedIssuer,
    pair: Ed25519KeyPair,
    keys: JwkSet,
    logout: LogoutTokens,
}

static TRUSTED: LazyLock<Issuer> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes are a seed");
    let jwk = serde_json::json!({
        "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "k",
        "x": base64url_encode(pair.public_key().as_ref()),
    });
    let set = serde_json::json!({ "keys": [jwk] });
    let config = TrustedIssuer {
        name: "idp".to_owned(),
        url: ISSUER.to_owned(),
        keys: KeySource::Metadata,
        audiences: vec![AUDIENCE.to_owned()],
        algorithms: vec!["EdDSA".to_owned()],
        scopes: Vec::new(),
        claims: Default::default(),
        token_type: TokenType::Access,
        introspection: None,
        ca: None,
    };
    let keys = JwkSet::read(set.to_string().as_bytes()).expect("the set has a key");
    Issuer { config, pair, keys, logout: LogoutTokens::new(ISSUER, AUDIENCE, set) }
});

/// Parses the input as a complete token, which must be rejected. If the input has a line break,
/// parses it as header and claims, which are signed first. Returns whether a signed token is
/// accepted.
pub fn token(data: &[u8]) -> bool {
    let issuer = &*TRUSTED;
    let Some(at) = memchr::memchr(b'\n', data) else {
        let Ok(text) = std::str::from_utf8(data) else { return false };
        assert!(access_token(text).is_err(), "a forged access token is believed");
        assert!(issuer.logout.judge(text, NOW).is_none(), "a forged logout token is believed");
        return false;
    };
    let (header, claims) = (&data[..at], &data[at + 1..]);
    let message = format!("{}.{}", base64url_encode(header), base64url_encode(claims));
    let sign = |message: &str| base64url_encode(issuer.pair.sign(message.as_bytes()));
    let text = format!("{message}.{}", sign(&message));
    let access = access_token(&text);
    let logout = issuer.logout.judge(&text, NOW);
    if let Ok(token) = &access {
        believed(&text, claims, token);
        let moved = format!("{message}.{}", sign("another message"));
        assert_eq!(access_token(&moved).err(), Some(TokenError::Signature), "the signature is not looked at");
    }
    if logout.is_some() {
        let claims: Value = serde_json::from_slice(claims).expect("believed claims are JSON");
        assert!(claims["events"].is_object() && claims.get("nonce").is_none(), "{claims}");
        assert!(claims["sub"].is_string() || claims["sid"].is_string(), "{claims}");
    }
    assert!(access.is_err() || logout.is_none(), "one token is an access token and a logout token");
    access.is_ok() || logout.is_some()
}

fn access_token(text: &str) -> Result<AccessToken, TokenError> {
    let issuer = &*TRUSTED;
    let unverified = Unverified::read(text).map_err(TokenError::Malformed)?;
    verify(unverified, &issuer.config, &issuer.keys, NOW)
}

/// Checks properties of an accepted token with an independent JSON parser.
fn believed(text: &str, claims: &[u8], token: &AccessToken) {
    assert!(text.len() <= MAX_TOKEN_LENGTH);
    let claims: Value = serde_json::from_slice(claims).expect("believed claims are JSON");
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["sub"], token.subject.as_str());
    assert_eq!(claims, Value::Object(token.claims.clone()));
    let audience = &claims["aud"];
    let named =
        audience == AUDIENCE || audience.as_array().is_some_and(|all| all.iter().any(|a| a == AUDIENCE));
    assert!(named || claims["client_id"] == AUDIENCE, "{claims}");
    let ends = claims["exp"].as_f64().expect("it says when it ends");
    assert!(ends > (NOW.seconds() - 61) as f64, "{claims}");
    let id = uuid_from_bytes([7; 16], 8);
    let odd = |text: &str| text.chars().any(char::is_control);
    assert!(!odd(&token.subject));
    let Ok((user, _)) = user_from_claims(&TRUSTED.config, &token.subject, &token.claims, id, NOW) else {
        return;
    };
    assert!(!user.groups.iter().any(|group| odd(group)), "{user:?}");
    methods(&token.claims, Some(NOW));
}
