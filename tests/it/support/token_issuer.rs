//! An issuer of access tokens, its keys, and a deployment that accepts them.

use super::json::Json;
use super::narthex::{Narthex, NarthexBuilder};
use super::time::unix_seconds;
use super::upstream::Upstream;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
};
use axum::Router;
use axum::extract::{Request, State};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// Encodes in base64url without padding.
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A private key, and the algorithm that it signs with.
pub struct Key {
    pub algorithm: &'static str,
    pub kid: String,
    pub pair: Pair,
}

pub enum Pair {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair, &'static str),
    Ed(Ed25519KeyPair),
}

impl Key {
    pub fn new(algorithm: &'static str, kid: &str) -> Self {
        let rsa = |encoding| Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap(), encoding);
        let ec = |of, curve| Pair::Ec(EcdsaKeyPair::generate(of).unwrap(), curve);
        let pair = match algorithm {
            "RS256" => rsa(&signature::RSA_PKCS1_SHA256),
            "RS384" => rsa(&signature::RSA_PKCS1_SHA384),
            "RS512" => rsa(&signature::RSA_PKCS1_SHA512),
            "PS256" => rsa(&signature::RSA_PSS_SHA256),
            "PS384" => rsa(&signature::RSA_PSS_SHA384),
            "PS512" => rsa(&signature::RSA_PSS_SHA512),
            "ES256" => ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
            "ES384" => ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
            "ES512" => ec(&ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"),
            "EdDSA" => Pair::Ed(Ed25519KeyPair::generate().unwrap()),
            other => panic!("{other}"),
        };
        Self { algorithm, kid: kid.to_owned(), pair }
    }

    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair, _) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                json!({"kty": "RSA", "n": base64url(n.big_endian_without_leading_zero()), "e": base64url(e.big_endian_without_leading_zero())})
            }
            Pair::Ec(pair, curve) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
            }
            Pair::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key())}),
        };
        jwk["kid"] = self.kid.as_str().into();
        jwk["alg"] = self.algorithm.into();
        jwk["use"] = "sig".into();
        jwk
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).unwrap();
                signature
            }
            Pair::Ec(pair, _) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with this header beside `alg` and `kid`, and these claims as they are written.
    pub fn token(&self, header: &Value, claims: &str) -> String {
        let mut all = json!({"alg": self.algorithm, "kid": self.kid, "typ": "JWT"});
        for (name, value) in header.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        let message = format!("{}.{}", base64url(all.to_string()), base64url(claims));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", base64url(signature))
    }
}

/// What an issuer publishes.
#[derive(Default)]
pub struct Published {
    pub keys: Vec<Value>,
    /// How often the keys were fetched.
    pub fetched: usize,
    /// Whether the document is where OAuth 2.0 has it, and not where OpenID Connect has it.
    pub oauth: bool,
    pub down: bool,
}

/// An issuer of access tokens.
pub struct Issuer {
    pub port: u16,
    pub key: Key,
    pub published: Arc<Mutex<Published>>,
}

impl Issuer {
    pub async fn start(algorithm: &'static str) -> Self {
        let key = Key::new(algorithm, "one");
        let published = Arc::new(Mutex::new(Published { keys: vec![key.jwk()], ..Published::default() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().fallback(publish).with_state((port, published.clone()));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, key, published }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn toml(&self, more: &str) -> String {
        format!(
            "[[issuer]]\nname = \"api\"\nurl = \"{}\"\naudience = [\"photos-api\", \"other\"]\n{more}\n",
            self.url()
        )
    }

    /// The claims of a good token, with these in their place or beside them; null takes one out.
    pub fn claims(&self, other: &Value) -> Value {
        let mut claims = json!({"iss": self.url(), "sub": "ann", "aud": "photos-api", "client_id": "spa", "iat": unix_seconds(), "exp": unix_seconds() + 300});
        for (name, value) in other.as_object().into_iter().flatten() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    pub fn token(&self, claims: &Value) -> String {
        self.key.token(&Value::Null, &self.claims(claims).to_string())
    }
}

pub async fn publish(
    State((port, published)): State<(u16, Arc<Mutex<Published>>)>,
    request: Request,
) -> (axum::http::StatusCode, Json<Value>) {
    use axum::http::StatusCode;
    let mut published = published.lock().unwrap();
    let issuer = format!("http://127.0.0.1:{port}");
    let metadata = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")});
    match (request.uri().path(), published.oauth) {
        _ if published.down => (StatusCode::SERVICE_UNAVAILABLE, Json(Value::Null)),
        ("/keys", _) => {
            published.fetched += 1;
            (StatusCode::OK, Json(json!({"keys": published.keys})))
        }
        ("/.well-known/openid-configuration", false) | ("/.well-known/oauth-authorization-server", true) => {
            (StatusCode::OK, Json(metadata))
        }
        _ => (StatusCode::NOT_FOUND, Json(Value::Null)),
    }
}

/// A deployment that takes `issuer`'s tokens.
pub async fn deployment(issuer: &Issuer, of_issuer: &str, of_route: &str) -> (Narthex, Upstream) {
    let upstream = Upstream::start().await;
    let narthex = NarthexBuilder::new()
        .tables(&issuer.toml(of_issuer))
        .route("app", upstream.port, &format!("bearer = true\n{of_route}"))
        .start();
    (narthex, upstream)
}
