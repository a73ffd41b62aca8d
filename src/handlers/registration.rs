//! `/{pool_id}/register`: app clients that register themselves (RFC 7591), with an initial access
//! token.

use super::error::{EndpointError, OAuthError};
use super::token::DEVICE_GRANT;
use super::{AppState, Handled, Reply, RequestData, Shared, metrics};
use crate::authn::rate_limit_key;
use crate::base::Secret;
use crate::catalogue::Pool;
use crate::config::{self, LOCAL_PROVIDER, Registration};
use crate::directory::pools::{self, ClientDescription, NewClient, NewSecret};
use crate::directory::{DirectoryError, ErrorKind};
use crate::jose::unique_keys_object;
use crate::model::AppClientSettings;
use crate::pages::{ErrorResponse, HttpResponse, with_body};
use crate::store::CheckedWork;
use axum::body::Bytes;
use axum::extract::{Path, State};
use http::StatusCode;
use http::header::AUTHORIZATION;
use serde::Deserialize;
use serde_json::{Value, json};

/// Maximum size of a request in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// The name of a client that says none.
const DEFAULT_NAME: &str = "app";
/// Maximum length of a name in bytes. Only ASCII characters are allowed.
const MAX_NAME_BYTES: usize = 50;
const CODE_GRANT: &str = "authorization_code";
const REFRESH_GRANT: &str = "refresh_token";
/// The grants that a client can register for. Others need an administrator.
const GRANTS: [&str; 3] = [CODE_GRANT, REFRESH_GRANT, DEVICE_GRANT];
/// How a client can authenticate (RFC 7591, section 2).
const METHODS: [&str; 3] = ["client_secret_basic", "client_secret_post", "none"];

/// The metadata of a client (section 2). RFC 7591, section 2: "The authorization server MUST ignore
/// any client metadata sent by the client that it does not understand".
#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    redirect_uris: Vec<String>,
    #[serde(default = "default_method")]
    token_endpoint_auth_method: String,
    #[serde(default = "default_grants")]
    grant_types: Vec<String>,
    #[serde(default = "default_response_types")]
    response_types: Vec<String>,
    client_name: Option<String>,
    scope: Option<String>,
    #[serde(default)]
    post_logout_redirect_uris: Vec<String>,
    #[serde(default)]
    require_pushed_authorization_requests: bool,
    #[serde(default)]
    dpop_bound_access_tokens: bool,
}

fn default_method() -> String {
    METHODS[0].to_owned()
}

fn default_grants() -> Vec<String> {
    vec![CODE_GRANT.to_owned()]
}

fn default_response_types() -> Vec<String> {
    vec!["code".to_owned()]
}

pub(super) async fn register(
    State(app): Shared,
    info: RequestData,
    Path(pool_id): Path<String>,
    body: Bytes,
) -> Reply {
    Reply(answer(&app, &info, &pool_id, &body).await)
}

async fn answer(app: &AppState, info: &RequestData, pool_id: &str, body: &[u8]) -> Handled {
    let catalogue = app.catalogue.load();
    let registration = catalogue
        .declared_pool(pool_id)
        .and_then(|(pool, declared)| Some((pool, declared, declared.registration.as_ref()?)));
    let Some((pool, declared, registration)) = registration else { return Err(ErrorResponse::not_found()) };
    let registered = match authorize(app, info, pool_id, registration) {
        Ok(()) => register_client(app, info, (pool, declared, registration), body).await,
        Err(error) => Err(error.into()),
    };
    let (response, result) = match registered {
        Ok(response) => (response, "success"),
        Err(EndpointError::Error(error)) => (error.to_response(), error.code),
        Err(EndpointError::Failure(failure)) => return Err(failure),
    };
    metrics::oauth("register", result);
    Ok(response)
}

/// Checks the initial access token, and the number of failures.
fn authorize(
    app: &AppState,
    info: &RequestData,
    pool_id: &str,
    registration: &Registration,
) -> Result<(), OAuthError> {
    let from = info.client.map(|address| (rate_limit_key(address), format!("register/{pool_id}")));
    if let Err(wait) = app.limits.client_failures.check(from.as_ref()) {
        let why = format!("too many failures from this address: wait {} s", wait.as_secs().max(1));
        return Err(OAuthError { retry_after: Some(wait), ..OAuthError::invalid_request(why) });
    }
    let header = info.header(AUTHORIZATION.as_str()).filter(|_| info.count(&AUTHORIZATION) == 1);
    let token = header.and_then(|text| text.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
    if token.is_some_and(|token| registration.accepts(token.trim())) {
        return Ok(());
    }
    app.limits.client_failures.record(from);
    tracing::warn!(
        target: "audit",
        event = "client_authentication_failed",
        request_id = info.request_id,
        client = info.client(),
        client_id = "",
        reason = "the initial access token is wrong",
    );
    // RFC 7591, section 3: the initial access token is "an OAuth 2.0 bearer token" (RFC 6750,
    // section 3.1).
    Err(OAuthError::new("invalid_token", "the initial access token is wrong"))
}

async fn register_client(
    app: &AppState,
    info: &RequestData,
    (pool, declared, registration): (&Pool, &config::UserPool, &Registration),
    body: &[u8],
) -> Result<HttpResponse, EndpointError> {
    let metadata = read(body)?;
    let mut settings = settings_of(&metadata, registration)?;
    check_name(&settings.name, declared)?;
    let providers = app.catalogue.load();
    let is_first = providers.pool.id == pool.id;
    let names = providers.config.providers.iter().filter(|_| is_first).map(|of| of.name.clone());
    let has_passwords = !is_first || declared.rules.password_sign_in;
    settings.identity_providers = names.chain(has_passwords.then(|| LOCAL_PROVIDER.to_owned())).collect();
    let secret = (metadata.token_endpoint_auth_method != "none").then_some(NewSecret::Generated);
    let new = &NewClient { settings, secret };
    let (now, entropy, pool_id) = (app.clock.now(), &*app.entropy, &*pool.id);
    let key = pool_id.to_owned();
    if let Err(wait) = app.limits.registrations.check(Some(&key)) {
        let why = format!("too many registrations: wait {} s", wait.as_secs().max(1));
        return Err(OAuthError { retry_after: Some(wait), ..OAuthError::invalid_request(why) }.into());
    }
    app.limits.registrations.record(Some(key));
    let register = app.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
        Box::pin(pools::register_client(tx, pool_id, new, now, entropy))
    });
    let registered = register.await.map_err(|error| refused(info, &error))?;
    tracing::info!(
        target: "audit",
        event = "client_registered",
        request_id = info.request_id,
        client = info.client(),
        client_id = registered.client.id,
        pool = pool_id,
        name = registered.client.settings.name,
    );
    let text = response(&registered, &metadata).to_string();
    Ok(with_body(StatusCode::CREATED, "application/json", text))
}

fn read(body: &[u8]) -> Result<Metadata, OAuthError> {
    let object = (body.len() <= MAX_BYTES).then(|| unique_keys_object(body)).flatten();
    let object = object.ok_or_else(|| metadata_error("the body is no JSON object, or has a name twice"))?;
    serde_json::from_value(Value::Object(object)).map_err(|error| metadata_error(error.to_string()))
}

/// Checks the name that the consent page shows.
fn check_name(name: &str, declared: &config::UserPool) -> Result<(), OAuthError> {
    let is_odd =
        name.trim() != name || name.contains("  ") || name.chars().any(|c| c.is_whitespace() && c != ' ');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || is_odd {
        let why = format!("`client_name` has 1 to {MAX_NAME_BYTES} characters, with single spaces alone");
        return Err(metadata_error(why));
    }
    match declared.clients.iter().any(|client| client.name.eq_ignore_ascii_case(name)) {
        true => Err(metadata_error("`client_name` is the name of another client")),
        false => Ok(()),
    }
}

/// Returns the settings of a client with this metadata.
fn settings_of(metadata: &Metadata, registration: &Registration) -> Result<AppClientSettings, OAuthError> {
    let grants = &metadata.grant_types;
    let has = |grant: &str| grants.iter().any(|known| known == grant);
    if let Some(grant) = grants.iter().find(|grant| !GRANTS.contains(&grant.as_str())) {
        return Err(metadata_error(format!("`grant_types` has `{grant}`, which cannot be registered")));
    }
    if !has(CODE_GRANT) && !has(DEVICE_GRANT) {
        return Err(metadata_error("`grant_types` has no grant that gives tokens"));
    }
    // Section 2.1: `authorization_code` and `code` belong together.
    if has(CODE_GRANT) && metadata.response_types != ["code"] {
        return Err(metadata_error("`response_types` must be [\"code\"]"));
    }
    if !METHODS.contains(&metadata.token_endpoint_auth_method.as_str()) {
        return Err(metadata_error(format!(
            "`token_endpoint_auth_method` must be one of {}",
            METHODS.join(", ")
        )));
    }
    if has(CODE_GRANT) && metadata.redirect_uris.is_empty() {
        return Err(redirect_error("`redirect_uris` is missing"));
    }
    let allowed = &registration.allowed_scopes;
    let scopes: Vec<String> = match &metadata.scope {
        None => allowed.clone(),
        Some(text) => text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect(),
    };
    if scopes.is_empty() || scopes.iter().any(|scope| !allowed.contains(scope)) {
        return Err(metadata_error(format!("`scope` must be of these: {}", allowed.join(" "))));
    }
    let mut settings = AppClientSettings {
        name: metadata.client_name.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned()),
        explicit_auth_flows: has(REFRESH_GRANT)
            .then(|| "ALLOW_REFRESH_TOKEN_AUTH".to_owned())
            .into_iter()
            .collect(),
        allowed_oauth_flows: has(CODE_GRANT).then(|| "code".to_owned()).into_iter().collect(),
        allowed_oauth_scopes: scopes,
        callback_urls: metadata.redirect_uris.clone(),
        logout_urls: metadata.post_logout_redirect_uris.clone(),
        ..AppClientSettings::default()
    };
    let extensions = &mut settings.extensions;
    extensions.is_registered = true;
    extensions.require_consent = registration.require_consent;
    extensions.device_authorization = has(DEVICE_GRANT);
    extensions.require_pushed_requests = metadata.require_pushed_authorization_requests;
    extensions.dpop_bound_access_tokens = metadata.dpop_bound_access_tokens;
    if let Some(why) = metadata.redirect_uris.iter().find_map(|uri| config::callback_url_fault(uri)) {
        return Err(redirect_error(format!("a redirect URI is not valid: {why}")));
    }
    Ok(settings)
}

/// Returns the response (section 3.2.1).
fn response(registered: &ClientDescription, metadata: &Metadata) -> Value {
    let ClientDescription { client, secrets } = registered;
    let settings = &client.settings;
    let mut response = json!({
        "client_id": client.id,
        "client_id_issued_at": client.created_at.seconds(),
        "client_name": settings.name,
        "redirect_uris": settings.callback_urls,
        "post_logout_redirect_uris": settings.logout_urls,
        "grant_types": metadata.grant_types,
        "response_types": metadata.response_types,
        "token_endpoint_auth_method": metadata.token_endpoint_auth_method,
        "scope": settings.allowed_oauth_scopes.join(" "),
        "require_pushed_authorization_requests": settings.extensions.require_pushed_requests,
        "dpop_bound_access_tokens": settings.extensions.dpop_bound_access_tokens,
    });
    if let Some(secret) = secrets.first() {
        response["client_secret"] = json!(Secret::expose(&secret.secret));
        // "REQUIRED if "client_secret" is issued. [...] 0 if it will not expire."
        response["client_secret_expires_at"] = json!(0);
    }
    response
}

fn metadata_error(why: impl Into<String>) -> OAuthError {
    OAuthError::new("invalid_client_metadata", why)
}

fn redirect_error(why: impl Into<String>) -> OAuthError {
    OAuthError::new("invalid_redirect_uri", why)
}

/// Returns the error of a refusal of the directory.
fn refused(info: &RequestData, error: &DirectoryError) -> EndpointError {
    match error.kind() {
        ErrorKind::Internal => {
            tracing::error!(request_id = info.request_id, %error, "no client was registered");
            ErrorResponse::unavailable().into()
        }
        _ => metadata_error(error.to_string()).into(),
    }
}
