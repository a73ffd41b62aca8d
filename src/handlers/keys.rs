//! Public keys of assertions as a JWK Set (RFC 7517, section 5) and as PEM; authorization server
//! metadata of user pools (RFC 8414).

use super::token::DEVICE_GRANT;
use super::{AppState, Handled, Reply, RequestData, Shared};
use crate::catalogue::Catalogue;
use crate::config::USER_SCOPES;
use crate::directory::DirectoryError;
use crate::jose::Algorithm;
use crate::model::{AcrLevel, Pool};
use crate::pages::{ErrorResponse, HttpResponse, Texts, with_body};
use crate::token::KEY_SET_CACHE;
use axum::extract::{Path, State};
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn jwks(State(app): Shared) -> Reply {
    Reply(Ok(public("application/json", app.keys.current().jwk_set.clone())))
}

pub(super) async fn pem(State(app): Shared, Path(kid): Path<String>) -> Reply {
    let keys = app.keys.current();
    let key = keys.published.iter().find(|key| key.kid() == kid).ok_or_else(ErrorResponse::not_found);
    Reply(key.map(|key| public("application/x-pem-file", key.pem().to_owned())))
}

pub(super) async fn pool_jwks(State(app): Shared, info: RequestData, Path(id): Path<String>) -> Reply {
    Reply(jwks_of(&app, &info, &id).await)
}

/// Returns the public keys of a user pool, of access tokens and id tokens.
async fn jwks_of(app: &AppState, info: &RequestData, id: &str) -> Handled {
    let pool = user_pool(app, info, id).await?;
    let keys = app.directory.tokens.jwk_set(&pool).await.map_err(|error| failed(info, &error))?;
    Ok(public("application/json", keys))
}

/// Returns the user pool with this id.
async fn user_pool(app: &AppState, info: &RequestData, id: &str) -> Result<Arc<Pool>, ErrorResponse> {
    let found = app.directory.pools.pool(id).await.map_err(|error| failed(info, &error))?;
    found.ok_or_else(ErrorResponse::not_found)
}

fn failed(info: &RequestData, error: &DirectoryError) -> ErrorResponse {
    tracing::error!(request_id = info.request_id, %error, "cannot read a user pool or its keys");
    ErrorResponse::unavailable()
}

pub(super) async fn metadata(State(app): Shared, info: RequestData, Path(id): Path<String>) -> Reply {
    Reply(metadata_of(&app, &info, &id).await)
}

/// Returns the metadata of a user pool.
async fn metadata_of(app: &AppState, info: &RequestData, id: &str) -> Handled {
    let pool = user_pool(app, info, id).await?;
    let catalogue = app.catalogue.load();
    let metadata = metadata_document(&catalogue, &pool);
    Ok(public("application/json", metadata.to_string()))
}

/// How a client can prove itself at the endpoints for tokens. Only clients of the file have keys.
const CLIENT_AUTHENTICATION: [&str; 4] =
    ["client_secret_basic", "client_secret_post", "none", "private_key_jwt"];

/// The grants of clients that are set to them.
const GRANTS: [&str; 5] =
    ["authorization_code", "refresh_token", "client_credentials", "implicit", DEVICE_GRANT];

/// Returns the metadata of a user pool (OpenID Connect Discovery 1.0, section 3; RFC 8414, section
/// 2). It names only what works.
fn metadata_document(catalogue: &Catalogue, pool: &Pool) -> Value {
    let issuer = catalogue.issuer_of(&pool.id);
    let url = |path: &str| catalogue.config.public_url.join(path);
    let declared = catalogue.declared_pool(&pool.id);
    let servers = declared.iter().flat_map(|(_, declared)| &declared.resource_servers);
    let scopes = servers.flat_map(|server| &server.scopes).map(String::as_str);
    let scopes: Vec<&str> = USER_SCOPES.into_iter().chain(scopes).collect();
    let algorithms: Vec<&str> = Algorithm::ALL.iter().map(|algorithm| algorithm.name()).collect();
    let has_keys = declared.is_some_and(|(pool, _)| pool.clients().any(|client| client.keys.is_some()));
    let authentication = &CLIENT_AUTHENTICATION[..if has_keys { 4 } else { 3 }];
    let mut metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": url("/oauth2/authorize"),
        "token_endpoint": url("/oauth2/token"),
        "token_endpoint_auth_methods_supported": authentication,
        "userinfo_endpoint": url("/oauth2/userInfo"),
        "introspection_endpoint": url("/oauth2/introspect"),
        "revocation_endpoint": url("/oauth2/revoke"),
        "revocation_endpoint_auth_methods_supported": authentication,
        "device_authorization_endpoint": url("/oauth2/device_authorization"),
        "pushed_authorization_request_endpoint": url("/oauth2/par"),
        "require_pushed_authorization_requests": false,
        "end_session_endpoint": url("/logout"),
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "frontchannel_logout_supported": true,
        "frontchannel_logout_session_supported": true,
        "jwks_uri": format!("{}/.well-known/jwks.json", catalogue.config.pool_url(&pool.id)),
        "response_types_supported": ["code", "token"],
        "response_modes_supported": ["query", "fragment"],
        "grant_types_supported": GRANTS,
        "scopes_supported": scopes,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [pool.settings.signing_algorithm],
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": algorithms,
        "prompt_values_supported": ["none", "login", "select_account", "consent"],
        "ui_locales_supported": Texts::languages(),
        "acr_values_supported": AcrLevel::names().collect::<Vec<_>>(),
        "authorization_response_iss_parameter_supported": true,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": false,
    });
    let confidential = authentication.iter().filter(|method| **method != "none");
    metadata["introspection_endpoint_auth_methods_supported"] = confidential.copied().collect();
    if declared.is_some_and(|(_, declared)| declared.registration.is_some()) {
        metadata["registration_endpoint"] =
            format!("{}/register", catalogue.config.pool_url(&pool.id)).into();
    }
    if has_keys {
        for endpoint in ["token", "revocation", "introspection"] {
            let name = format!("{endpoint}_endpoint_auth_signing_alg_values_supported");
            metadata[name] = json!(algorithms);
        }
    }
    metadata
}

/// Returns a public response, readable by scripts of any site.
fn public(content_type: &'static str, text: String) -> HttpResponse {
    let mut response = with_body(StatusCode::OK, content_type, text);
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if let Ok(value) = HeaderValue::from_str(&format!("public, max-age={}", KEY_SET_CACHE.as_secs())) {
        headers.insert(CACHE_CONTROL, value);
    }
    response
}
