//! An OpenID provider that deviates from the standard in one thing at a time.

use super::json::Json;
use super::narthex::{Narthex, NarthexBuilder};
use super::parties::provider_toml;
use super::upstream::Upstream;
use super::visitor::Visitor;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use narthex::base::{Clock as _, SystemClock};
use narthex::jose::{self, Algorithm, SigningKey};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const CLIENT_SECRET: &str = "corp-secret-0123456789abcdef0123456789";

/// What the provider does with the next login.
#[derive(Clone, Copy, Debug)]
pub enum Lie {
    None,
    /// Sets a claim of the ID token; null takes it out.
    Claim(&'static str, fn(i64) -> Value),
    /// Sets these claims, `amr` among them unless it is one of them.
    Claims(Claims),
    /// Signs with a key that it does not publish, under the id of one that it does.
    OtherKey,
    /// Signs with a new key, and publishes it only then.
    NewKey,
    Unsigned,
    /// Signs with the client's secret.
    Hmac,
    NoIdToken,
    /// Speaks of somebody else at the UserInfo endpoint.
    OtherUserInfo,
    /// Answers the token request with a redirect.
    Redirects,
    /// Answers with more than anybody needs.
    Floods,
    /// Answers after everybody has gone.
    Sleeps,
    /// Sends the browser back without `iss`, which it has promised.
    NoIss,
    /// Sends the browser back with an error.
    Error(&'static str),
    /// Publishes an address that is not https.
    Endpoint(&'static str),
    /// Returns an address, verified.
    Email(&'static str),
}

pub struct Provider {
    pub issuer: String,
    pub lie: Mutex<Lie>,
    pub keys: Mutex<Vec<Arc<SigningKey>>>,
    /// The first of them.
    pub pkcs8: Vec<u8>,
    pub nonce: Mutex<String>,
    /// How many token requests came.
    pub redeemed: AtomicUsize,
    /// What else the ID token says.
    pub more: Mutex<Value>,
    /// What it answers to a refresh token.
    pub refusal: Mutex<Value>,
}

/// Claims of an ID token that is issued now.
pub type Claims = fn(i64) -> Value;

pub type Shared = State<Arc<Provider>>;

/// Generates a key with this id.
pub fn new_signing_key(kid: &str) -> Arc<SigningKey> {
    Arc::new(
        SigningKey::read(kid, Algorithm::Es256, &SigningKey::generate(Algorithm::Es256).unwrap()).unwrap(),
    )
}

impl Provider {
    pub async fn start() -> (Arc<Self>, u16) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pkcs8 = SigningKey::generate(Algorithm::Es256).unwrap().to_vec();
        let first = Arc::new(SigningKey::read("first", Algorithm::Es256, &pkcs8).unwrap());
        let provider = Arc::new(Self {
            pkcs8,
            issuer: format!("http://127.0.0.1:{port}"),
            lie: Mutex::new(Lie::None),
            keys: Mutex::new(vec![first]),
            nonce: Mutex::default(),
            redeemed: AtomicUsize::new(0),
            more: Mutex::new(json!({})),
            refusal: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/userinfo", get(user_info))
            .with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (provider, port)
    }

    pub fn lie(&self) -> Lie {
        *self.lie.lock().unwrap()
    }
}

pub async fn discovery(State(provider): Shared) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", provider.issuer);
    let mut document = json!({
        "issuer": provider.issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks"), "userinfo_endpoint": at("/userinfo"), "response_types_supported": ["code"],
        "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
        "authorization_response_iss_parameter_supported": true,
    });
    if let Lie::Endpoint(name) = provider.lie() {
        document[name] = "http://idp.example/x".into();
    }
    Json(document)
}

pub async fn jwks(State(provider): Shared) -> Json<Value> {
    let keys: Vec<Value> =
        provider.keys.lock().unwrap().iter().map(|key| serde_json::to_value(key.jwk()).unwrap()).collect();
    Json(json!({ "keys": keys }))
}

pub async fn authorize(State(provider): Shared, uri: http::Uri) -> Response {
    let query = narthex::handlers::form(uri.query().unwrap()).unwrap();
    *provider.nonce.lock().unwrap() = query["nonce"].clone();
    let mut back = url::Url::parse(&query["redirect_uri"]).unwrap();
    back.query_pairs_mut().append_pair("state", &query["state"]);
    match provider.lie() {
        Lie::Error(error) => drop(back.query_pairs_mut().append_pair("error", error)),
        _ => drop(back.query_pairs_mut().append_pair("code", "code")),
    }
    if !matches!(provider.lie(), Lie::NoIss) {
        back.query_pairs_mut().append_pair("iss", &provider.issuer);
    }
    axum::response::Redirect::to(back.as_str()).into_response()
}

pub async fn token(State(provider): Shared, body: String) -> Response {
    if body.contains("grant_type=refresh_token") {
        let refusal = provider.refusal.lock().unwrap().clone();
        return (StatusCode::BAD_REQUEST, Json(refusal)).into_response();
    }
    provider.redeemed.fetch_add(1, Ordering::Relaxed);
    let now = SystemClock.now().seconds();
    let lie = provider.lie();
    let mut claims = json!({
        "iss": provider.issuer, "aud": "narthex", "sub": "alice", "nonce": *provider.nonce.lock().unwrap(),
        "iat": now, "exp": now + 300, "email": "alice@corp.example", "email_verified": true,
    });
    if let Lie::Claim(name, value) = lie {
        match value(now) {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
    }
    if let Lie::Claims(more) = lie {
        claims["amr"] = json!(["pwd", "mfa"]);
        for (name, value) in more(now).as_object().unwrap() {
            claims[name] = value.clone();
        }
    }
    claims.as_object_mut().unwrap().extend(provider.more.lock().unwrap().as_object().unwrap().clone());
    if let Lie::Email(email) = lie {
        claims["email"] = email.into();
    }
    let first = provider.keys.lock().unwrap()[0].clone();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let id_token = match lie {
        Lie::OtherKey => jose::sign(&new_signing_key("first"), &[], &claims).unwrap(),
        Lie::NewKey => {
            let new = new_signing_key("second");
            *provider.keys.lock().unwrap() = vec![new.clone()];
            jose::sign(&new, &[], &claims).unwrap()
        }
        Lie::Unsigned => format!("{}.{}.", part(&json!({ "alg": "none" })), part(&claims)),
        Lie::Hmac => {
            let signed = format!("{}.{}", part(&json!({ "alg": "HS256" })), part(&claims));
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes());
            let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
        }
        Lie::Redirects => return axum::response::Redirect::temporary("/elsewhere").into_response(),
        Lie::Floods => return (StatusCode::OK, vec![b' '; 3 << 20]).into_response(),
        Lie::Sleeps => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            String::new()
        }
        _ => jose::sign(&first, &[], &claims).unwrap(),
    };
    let mut answer = json!({ "access_token": "at", "token_type": "Bearer", "id_token": id_token });
    if !provider.refusal.lock().unwrap().is_null() {
        answer["refresh_token"] = "rt".into();
        answer["expires_in"] = 4.into();
    }
    if matches!(lie, Lie::NoIdToken) {
        answer.as_object_mut().unwrap().remove("id_token");
    }
    Json(answer).into_response()
}

pub async fn user_info(State(provider): Shared) -> Json<Value> {
    let sub = if matches!(provider.lie(), Lie::OtherUserInfo) { "mallory" } else { "alice" };
    // Some providers date in words where the standard wants seconds.
    Json(json!({ "sub": sub, "name": "Alice", "updated_at": "2026-01-02T03:04:05.678Z" }))
}

/// Starts the provider, and a Narthex with one app.
pub async fn start_deployment() -> (Arc<Provider>, Narthex, Upstream) {
    let upstream = Upstream::start().await;
    let (provider, port) = Provider::start().await;
    let narthex = NarthexBuilder::new()
        .tables(&provider_toml("corp", port, "{ domains = [\"corp.example\"] }"))
        .route("app", upstream.port, "")
        .start();
    (provider, narthex, upstream)
}

/// Opens the app as a new visitor. Returns the last response.
pub async fn try_login(narthex: &Narthex) -> (Visitor, reqwest::Response) {
    let visitor = Visitor::new(narthex);
    let landed = visitor.follow(&format!("{}/", narthex.origin("app"))).await;
    (visitor, landed)
}
