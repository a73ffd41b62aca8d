//! The mock provider: a minimal OpenID provider whose form accepts any user.

use crate::base::{Clock as _, Duration, RandomToken, SystemClock, SystemEntropy, Timestamp, uuid};
use crate::handlers::{Form, form};
use crate::jose::{self, Algorithm, KeyError, SigningKey};
use crate::pages::STYLE;
use crate::token::challenge;
use askama::Template;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use http::header::{AUTHORIZATION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

const CODE_LIFETIME: Duration = Duration::from_secs(60);
/// Maximum number of open codes.
const MAX_CODES: usize = 1000;
/// Parameters passed through the form.
const CARRIED: [&str; 4] = ["redirect_uri", "state", "nonce", "code_challenge"];

/// The mock provider's only client.
pub struct Registration {
    /// The mock provider's issuer.
    pub issuer: String,
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: String,
    /// The client's redirect URI.
    pub redirect_uri: String,
    /// The origins to which the form's redirects may lead.
    pub origins: [String; 2],
}

struct MockProvider {
    registration: Registration,
    key: SigningKey,
    codes: Mutex<HashMap<String, Grant>>,
}

struct Grant {
    claims: Value,
    code_challenge: String,
    expires_at: Timestamp,
}

type Shared = State<Arc<MockProvider>>;

#[derive(Template)]
#[template(path = "stand_in.html")]
struct FormPage<'a> {
    hidden: Vec<(&'static str, &'a str)>,
    email: &'a str,
    name: &'a str,
    problem: Option<&'static str>,
}

/// Returns the mock provider's routes.
///
/// # Errors
/// Returns an error if no key can be generated.
pub fn router(registration: Registration) -> Result<Router, KeyError> {
    let key =
        SigningKey::read(&uuid(&SystemEntropy), Algorithm::Es256, &SigningKey::generate(Algorithm::Es256)?)?;
    let stand_in = Arc::new(MockProvider { registration, key, codes: Mutex::default() });
    Ok(Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/jwks", get(jwks))
        .route("/authorize", get(ask).post(believe))
        .route("/token", post(token))
        .route("/style.css", get(|| async { ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE) }))
        .with_state(stand_in))
}

async fn discovery(State(stand_in): Shared) -> Response {
    let issuer = &stand_in.registration.issuer;
    json(&json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    }))
}

async fn jwks(State(stand_in): Shared) -> Response {
    json(&json!({ "keys": [stand_in.key.jwk()] }))
}

async fn ask(State(stand_in): Shared, RawQuery(query): RawQuery) -> Response {
    let parameters = form(&query.unwrap_or_default()).unwrap_or_default();
    show(&stand_in, &parameters, "ann@example.com", "Ann Example", None)
}

fn show(
    stand_in: &MockProvider,
    parameters: &Form,
    email: &str,
    name: &str,
    problem: Option<&'static str>,
) -> Response {
    if parameters.get("redirect_uri") != Some(&stand_in.registration.redirect_uri) {
        return (StatusCode::BAD_REQUEST, "this provider knows one client only\n").into_response();
    }
    let hidden = CARRIED.into_iter().filter_map(|key| Some((key, parameters.get(key)?.as_str()))).collect();
    match (FormPage { hidden, email, name, problem }).render() {
        // Chromium applies form-action to redirects after a form, so the policy lists their
        // origins.
        Ok(html) => {
            let policy = format!(
                "default-src 'none'; style-src 'self'; form-action 'self' {}; frame-ancestors 'none'",
                stand_in.registration.origins.join(" ")
            );
            ([(CONTENT_SECURITY_POLICY, policy)], Html(html)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn believe(State(stand_in): Shared, body: String) -> Response {
    let parameters = form(&body).unwrap_or_default();
    let field = |name: &str| parameters.get(name).map(|value| value.trim()).unwrap_or_default();
    let (email, name) = (field("email"), field("name"));
    if email.split('@').count() != 2 || email.contains(char::is_whitespace) {
        return show(&stand_in, &parameters, email, name, Some("Write it like ann@example.com."));
    }
    let Registration { issuer, client_id, redirect_uri, .. } = &stand_in.registration;
    if field("redirect_uri") != redirect_uri {
        return (StatusCode::BAD_REQUEST, "this provider knows one client only\n").into_response();
    }
    let now = SystemClock.now();
    let claims = json!({
        "iss": issuer, "aud": client_id, "sub": email, "nonce": field("nonce"),
        "iat": now.seconds(), "exp": now.plus(CODE_LIFETIME).seconds(), "auth_time": now.seconds(),
        "email": email, "email_verified": true, "name": if name.is_empty() { email } else { name },
        "amr": ["user"],
    });
    let code = RandomToken::random(&SystemEntropy).text();
    let grant = Grant {
        claims,
        code_challenge: field("code_challenge").to_owned(),
        expires_at: now.plus(CODE_LIFETIME),
    };
    let mut codes = stand_in.codes.lock().unwrap_or_else(PoisonError::into_inner);
    codes.retain(|_, grant| now < grant.expires_at);
    if codes.len() >= MAX_CODES {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many sign-ins at once\n").into_response();
    }
    codes.insert(code.clone(), grant);
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("code", &code)
        .append_pair("state", field("state"))
        .append_pair("iss", issuer)
        .finish();
    Redirect::to(&format!("{redirect_uri}?{query}")).into_response()
}

async fn token(State(stand_in): Shared, headers: HeaderMap, body: String) -> Response {
    let refuse = |error: &str| (StatusCode::BAD_REQUEST, json(&json!({ "error": error }))).into_response();
    let Registration { client_id, client_secret, .. } = &stand_in.registration;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("{client_id}:{client_secret}"));
    let presented = headers.get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
    let expected = format!("Basic {basic}");
    if aws_lc_rs::constant_time::verify_slices_are_equal(presented, expected.as_bytes()).is_err() {
        return refuse("invalid_client");
    }
    let parameters = form(&body).unwrap_or_default();
    let field = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
    let grant = stand_in.codes.lock().unwrap_or_else(PoisonError::into_inner).remove(field("code"));
    let good = |grant: &Grant| {
        SystemClock.now() < grant.expires_at && grant.code_challenge == challenge(field("code_verifier"))
    };
    let Some(grant) = grant.filter(good) else { return refuse("invalid_grant") };
    match jose::sign(&stand_in.key, &[], &grant.claims) {
        Ok(id_token) => json(&json!({
            "access_token": RandomToken::random(&SystemEntropy).text(),
            "token_type": "Bearer",
            "expires_in": CODE_LIFETIME.as_secs(),
            "id_token": id_token,
        })),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn json(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
