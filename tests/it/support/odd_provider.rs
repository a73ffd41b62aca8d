//! An OpenID provider whose answers a test can bend one at a time.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use narthex::base::{Clock as _, SystemClock};
use narthex::jose::{self, Algorithm, HeaderParameter, SigningKey};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

pub const CLIENT: &str = "narthex";

/// What differs from a plain provider. Members of an object that are null are left out.
#[derive(Clone)]
pub struct Oddity {
    /// Members of the discovery document.
    pub document: Value,
    /// Claims of the ID token.
    pub claims: Value,
    /// Members of the token response.
    pub token: Value,
    /// Claims of the UserInfo response.
    pub user_info: Value,
    /// The UserInfo response is signed.
    pub signed_user_info: bool,
    /// Answers by path: status, media type, body.
    pub answers: HashMap<&'static str, (u16, &'static str, String)>,
    /// Redirects by path.
    pub redirects: HashMap<&'static str, String>,
    /// The `typ` of the ID token's header.
    pub typ: &'static str,
    /// The issuer, where it is not the address.
    pub issuer: Option<String>,
    /// Tokens and keys have no key id.
    pub no_kid: bool,
    /// Answers of the introspection endpoint by token; any other is not active.
    pub tokens: HashMap<String, Value>,
}

impl Default for Oddity {
    fn default() -> Self {
        Self {
            document: json!({}),
            claims: json!({}),
            token: json!({}),
            user_info: json!({}),
            signed_user_info: false,
            answers: HashMap::new(),
            redirects: HashMap::new(),
            typ: "JWT",
            issuer: None,
            no_kid: false,
            tokens: HashMap::new(),
        }
    }
}

/// A request that it received.
#[derive(Clone, Debug)]
pub struct Received {
    pub path: String,
    pub authorization: Option<String>,
    pub form: HashMap<String, String>,
}

pub struct OddProvider {
    pub address: String,
    pub oddity: Mutex<Oddity>,
    pub received: Mutex<Vec<Received>>,
    pkcs8: Vec<u8>,
    other_pkcs8: Vec<u8>,
    nonce: Mutex<String>,
}

impl OddProvider {
    pub async fn start() -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        Self::serve(listener, address)
    }

    /// Starts one that is reached by TLS, with this certificate for `localhost`.
    pub async fn start_with_tls(certificate: &Path, key: &Path) -> Arc<Self> {
        let plain = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inner = plain.local_addr().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(crypto).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut inner = tokio::net::TcpStream::connect(inner).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut inner).await;
                });
            }
        });
        Self::serve(plain, address)
    }

    fn serve(listener: tokio::net::TcpListener, address: String) -> Arc<Self> {
        let provider = Arc::new(Self {
            address,
            oddity: Mutex::default(),
            received: Mutex::default(),
            pkcs8: SigningKey::generate(Algorithm::Es256).unwrap().to_vec(),
            other_pkcs8: SigningKey::generate(Algorithm::Es256).unwrap().to_vec(),
            nonce: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(provider.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        provider
    }

    /// Sets how its answers deviate from now on.
    pub fn configure(&self, bend: impl FnOnce(&mut Oddity)) {
        let mut oddity = Oddity::default();
        bend(&mut oddity);
        *self.oddity.lock().unwrap() = oddity;
    }

    /// The port of its address.
    pub fn port(&self) -> u16 {
        self.address.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// The requests for `path` so far.
    pub fn received(&self, path: &str) -> Vec<Received> {
        self.received.lock().unwrap().iter().filter(|request| request.path == path).cloned().collect()
    }

    /// Signs `claims` with the key that it publishes.
    pub fn sign(&self, header: &[(&str, HeaderParameter<'_>)], claims: &Value) -> String {
        let kid = if self.oddity.lock().unwrap().no_kid { "" } else { "one" };
        let key = SigningKey::read(kid, Algorithm::Es256, &self.pkcs8).unwrap();
        jose::sign(&key, header, claims).unwrap()
    }

    /// Signs `claims` with another key, under the id of the one that it publishes.
    pub fn forge(&self, claims: &Value) -> String {
        let key = SigningKey::read("one", Algorithm::Es256, &self.other_pkcs8).unwrap();
        jose::sign(&key, &[], claims).unwrap()
    }
}

fn merged(mut object: Value, more: &Value) -> Value {
    let members = object.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    members.retain(|_, value| !value.is_null());
    object
}

fn json_answer(value: Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

async fn answer(State(provider): State<Arc<OddProvider>>, request: Request) -> Response {
    let (path, query) =
        (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    let header =
        request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let form = narthex::handlers::form(std::str::from_utf8(&body).unwrap()).unwrap_or_default();
    let received = Received { path: path.clone(), authorization: header, form: form.clone() };
    provider.received.lock().unwrap().push(received);
    let oddity = provider.oddity.lock().unwrap().clone();
    if let Some(to) = oddity.redirects.get(path.as_str()) {
        let answer = http::Response::builder().status(301).header(LOCATION, to);
        return answer.body(Body::empty()).unwrap();
    }
    if let Some((status, media_type, body)) = oddity.answers.get(path.as_str()) {
        let answer = http::Response::builder().status(*status).header(CONTENT_TYPE, *media_type);
        return answer.body(Body::from(body.clone())).unwrap();
    }
    let at = |path: &str| format!("{}{path}", provider.address);
    let issuer = oddity.issuer.clone().unwrap_or_else(|| provider.address.clone());
    let now = SystemClock.now().seconds();
    match path.as_str() {
        "/authorize" => {
            let query = narthex::handlers::form(&query).unwrap();
            *provider.nonce.lock().unwrap() = query["nonce"].clone();
            let mut back = url::Url::parse(&query["redirect_uri"]).unwrap();
            back.query_pairs_mut().append_pair("state", &query["state"]).append_pair("code", "code");
            Redirect::to(back.as_str()).into_response()
        }
        "/jwks" => {
            let public = ec_jwk(&provider.pkcs8, (!oddity.no_kid).then_some("one"));
            json_answer(json!({ "keys": [public] }))
        }
        "/token" => {
            let claims = json!({
                "iss": issuer, "aud": CLIENT, "sub": "ann-1", "nonce": *provider.nonce.lock().unwrap(),
                "iat": now, "exp": now + 300, "email": "ann@corp.example", "email_verified": true,
            });
            let id_token =
                provider.sign(&[("typ", HeaderParameter::Text(oddity.typ))], &merged(claims, &oddity.claims));
            let token = json!({ "access_token": "at", "token_type": "Bearer", "expires_in": 300, "id_token": id_token });
            json_answer(merged(token, &oddity.token))
        }
        "/introspect" => {
            let inactive = json!({ "active": false });
            json_answer(
                form.get("token").and_then(|token| oddity.tokens.get(token)).unwrap_or(&inactive).clone(),
            )
        }
        "/userinfo" => {
            let claims = merged(json!({ "sub": "ann-1", "name": "Ann" }), &oddity.user_info);
            match oddity.signed_user_info {
                true => ([(CONTENT_TYPE, "application/jwt")], provider.sign(&[], &claims)).into_response(),
                false => json_answer(claims),
            }
        }
        path if path.ends_with("/.well-known/openid-configuration") => {
            let document = json!({
                "issuer": issuer, "authorization_endpoint": at("/authorize"), "token_endpoint": at("/token"),
                "jwks_uri": at("/jwks"), "userinfo_endpoint": at("/userinfo"), "response_types_supported": ["code"],
                "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
            });
            json_answer(merged(document, &oddity.document))
        }
        _ => http::StatusCode::NOT_FOUND.into_response(),
    }
}

/// The public half of an EC key as a JWK.
fn ec_jwk(pkcs8: &[u8], kid: Option<&str>) -> Value {
    let key = SigningKey::read(kid.unwrap_or_default(), Algorithm::Es256, pkcs8).unwrap();
    let mut jwk = serde_json::to_value(key.jwk()).unwrap();
    if kid.is_none() {
        jwk.as_object_mut().unwrap().remove("kid");
    }
    jwk
}
