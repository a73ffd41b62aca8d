//! Public keys of assertions as a JWK Set (RFC 7517, section 5) and as PEM; authorization server
//! metadata of user pools (RFC 8414).

use super::{AppState, Handled, Reply, RequestData, Shared};
use crate::catalogue;
use crate::config::{Config, OAuthFlow, UserPool};
use crate::directory::DirectoryError;
use crate::model::Pool;
use crate::pages::{ErrorResponse, HttpResponse, with_body};
use crate::token::KEY_SET_CACHE;
use axum::extract::{Path, State};
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL};
use http::{HeaderValue, StatusCode};
use serde_json::json;
use std::sync::Arc;

pub(super) async fn jwks(State(pool): Shared) -> Reply {
    Reply(Ok(public("application/json", pool.keys.current().jwk_set.clone())))
}

pub(super) async fn pem(State(pool): Shared, Path(kid): Path<String>) -> Reply {
    let keys = pool.keys.current();
    let key = keys.published.iter().find(|key| key.kid() == kid).ok_or_else(ErrorResponse::not_found);
    Reply(key.map(|key| public("application/x-pem-file", key.pem().to_owned())))
}

pub(super) async fn pool_jwks(State(pool): Shared, info: RequestData, Path(id): Path<String>) -> Reply {
    Reply(jwks_of(&pool, &info, &id).await)
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

pub(super) async fn metadata(State(pool): Shared, info: RequestData, Path(id): Path<String>) -> Reply {
    Reply(metadata_of(&pool, &info, &id).await)
}

/// Returns the metadata of a user pool. It omits the endpoints that its clients cannot use.
async fn metadata_of(app: &AppState, info: &RequestData, id: &str) -> Handled {
    let pool = user_pool(app, info, id).await?;
    let catalogue = app.catalogue.load();
    let issuer = catalogue.issuer_of(id);
    let mut metadata = json!({
        "issuer": issuer,
        "jwks_uri": format!("{}/.well-known/jwks.json", catalogue.config.pool_url(id)),
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [pool.settings.signing_algorithm],
    });
    if let Some((pool, declared)) = catalogue.declared_pool(id) {
        add_endpoints(&mut metadata, &catalogue.config, pool, declared);
    }
    Ok(public("application/json", metadata.to_string()))
}

/// Adds the token endpoints, which clients of the file can use.
fn add_endpoints(
    metadata: &mut serde_json::Value,
    config: &Config,
    pool: &catalogue::Pool,
    declared: &UserPool,
) {
    let url = &config.public_url;
    let how = ["client_secret_basic", "client_secret_post"];
    for (name, path) in [
        ("token_endpoint", "/oauth2/token"),
        ("revocation_endpoint", "/oauth2/revoke"),
        ("introspection_endpoint", "/oauth2/introspect"),
    ] {
        metadata[name] = url.join(path).into();
        metadata[format!("{name}_auth_methods_supported")] = json!(how);
    }
    let mut clients = pool.clients();
    let grants: &[&str] = match clients.any(|client| client.allows_flow(OAuthFlow::ClientCredentials)) {
        true => &["client_credentials"],
        false => &[],
    };
    let scopes: Vec<&String> = declared.resource_servers.iter().flat_map(|server| &server.scopes).collect();
    // RFC 8414, section 3.2: "Claims with zero elements MUST be omitted from the response." The
    // response types are REQUIRED.
    for (name, all) in [("grant_types_supported", json!(grants)), ("scopes_supported", json!(scopes))] {
        if all.as_array().is_some_and(|all| !all.is_empty()) {
            metadata[name] = all;
        }
    }
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
