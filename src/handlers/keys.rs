//! Public keys of assertions as a JWK Set (RFC 7517, section 5) and as PEM; authorization server
//! metadata of the user pool (RFC 8414).

use super::{AppState, Handled, Reply, Shared};
use crate::config::OAuthFlow;
use crate::pages::{ErrorResponse, HttpResponse, with_body};
use crate::token::KEY_SET_CACHE;
use axum::extract::{Path, State};
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL};
use http::{HeaderValue, StatusCode};
use serde_json::json;

pub(super) async fn jwks(State(pool): Shared) -> Reply {
    Reply(Ok(public("application/json", pool.keys.current().jwk_set.clone())))
}

pub(super) async fn pem(State(pool): Shared, Path(kid): Path<String>) -> Reply {
    let keys = pool.keys.current();
    let key = keys.published.iter().find(|key| key.kid() == kid).ok_or_else(ErrorResponse::not_found);
    Reply(key.map(|key| public("application/x-pem-file", key.pem().to_owned())))
}

pub(super) async fn pool_jwks(State(pool): Shared, Path(id): Path<String>) -> Reply {
    Reply(of_pool(&pool, &id, |pool| {
        // A 404 is not cacheable, because keys may be created at any moment.
        let keys = pool.access_tokens.keys().ok_or_else(ErrorResponse::not_found)?;
        Ok(keys.jwk_set.clone())
    }))
}

/// Returns the metadata of the user pool. It omits the endpoints that outside clients cannot use.
pub(super) async fn metadata(State(pool): Shared, Path(id): Path<String>) -> Reply {
    Reply(of_pool(&pool, &id, |pool| {
        let catalogue = pool.catalogue.load();
        let (url, issuer) = (&catalogue.config.public_url, &catalogue.pool.issuer);
        let mut clients = catalogue.pool.clients();
        let grants: &[&str] = match clients.any(|client| client.allows_flow(OAuthFlow::ClientCredentials)) {
            true => &["client_credentials"],
            false => &[],
        };
        let servers = &catalogue.config.user_pool.resource_servers;
        let scopes: Vec<&String> = servers.iter().flat_map(|server| &server.scopes).collect();
        let how = ["client_secret_basic", "client_secret_post"];
        let mut metadata = json!({
            "issuer": issuer,
            "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
            "token_endpoint": url.join("/oauth2/token"),
            "token_endpoint_auth_methods_supported": how,
            "revocation_endpoint": url.join("/oauth2/revoke"),
            "revocation_endpoint_auth_methods_supported": how,
            "introspection_endpoint": url.join("/oauth2/introspect"),
            "introspection_endpoint_auth_methods_supported": how,
            "response_types_supported": [],
        });
        // RFC 8414, section 3.2: "Claims with zero elements MUST be omitted from the response." The
        // one above is REQUIRED.
        for (name, all) in [("grant_types_supported", json!(grants)), ("scopes_supported", json!(scopes))] {
            if all.as_array().is_some_and(|all| !all.is_empty()) {
                metadata[name] = all;
            }
        }
        Ok(metadata.to_string())
    }))
}

fn of_pool(
    pool: &AppState,
    id: &str,
    text: impl FnOnce(&AppState) -> Result<String, ErrorResponse>,
) -> Handled {
    match pool.catalogue.load().pool.id == id {
        true => Ok(public("application/json", text(pool)?)),
        false => Err(ErrorResponse::not_found()),
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
