//! `/oauth2/token` with the client credentials grant, `/oauth2/revoke` (RFC 7009) and
//! `/oauth2/introspect` (RFC 7662).

use super::client::{self, AuthenticatedClient};
use super::error::{EndpointError, OAuthError};
use super::{AppState, Reply, RequestData, Shared, unavailable};
use super::{dpop, grants};
use crate::base::Duration;
use crate::catalogue::{AppClient, Pool};
use crate::config::OAuthFlow;
use crate::pages::{ErrorResponse, HttpResponse, with_body};
use crate::store::StoreError;
use crate::token::{AccessToken, Proof, TokenError};
use axum::body::Bytes;
use axum::extract::State;
use http::{Method, StatusCode};
use serde::Serialize;

/// The time for which a revocation is kept after the token's expiry, because clocks differ.
const REVOCATION_GRACE: Duration = Duration::from_secs(3600);

/// The grant of devices without a browser (RFC 8628, section 3.4).
pub(super) const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A token response (RFC 6749, section 5.1).
#[derive(Serialize)]
struct TokenResponse<'a> {
    token_type: &'static str,
    expires_in: u64,
    scope: &'a str,
}

pub(super) async fn token(State(app): Shared, info: RequestData, body: Bytes) -> Reply {
    let issue = async |request: AuthenticatedClient<'_>| {
        let proof = dpop::proof(&app, &info, &Method::POST, "/oauth2/token", None)?;
        let proof = proof.as_ref();
        match request.required("grant_type")? {
            "client_credentials" => issue(&app, &info, &request, proof).await,
            "authorization_code" => grants::redeem_code(&app, &info, &request, proof).await,
            "refresh_token" => grants::refresh(&app, &info, &request, proof).await,
            DEVICE_GRANT => grants::redeem_device_code(&app, &info, &request, proof).await,
            _ => {
                let why = "the grant types are authorization_code, refresh_token, client_credentials and \
                           urn:ietf:params:oauth:grant-type:device_code";
                Err(OAuthError::new("unsupported_grant_type", why).into())
            }
        }
    };
    Reply(client::answer(&app, &info, "token", &body, issue).await)
}

pub(super) async fn revoke(State(app): Shared, info: RequestData, body: Bytes) -> Reply {
    let revoke = async |request: AuthenticatedClient<'_>| revoke_token(&app, &info, &request).await;
    Reply(client::answer(&app, &info, "revoke", &body, revoke).await)
}

pub(super) async fn introspect(State(app): Shared, info: RequestData, body: Bytes) -> Reply {
    let respond =
        async |request: AuthenticatedClient<'_>| introspection_response(&app, &info, &request).await;
    Reply(client::answer(&app, &info, "introspect", &body, respond).await)
}

/// Issues an access token to the client itself.
async fn issue(
    app: &AppState,
    info: &RequestData,
    request: &AuthenticatedClient<'_>,
    proof: Option<&Proof>,
) -> Result<HttpResponse, EndpointError> {
    request.check_confidential()?;
    match request.declared {
        Some(declared) => issue_declared(app, info, request, declared, proof).await,
        None => grants::issue_to_client(app, info, request, proof).await,
    }
}

/// Issues an access token to a client of the configuration; without I/O if it is a bearer token
/// that no function changes.
async fn issue_declared(
    app: &AppState,
    info: &RequestData,
    request: &AuthenticatedClient<'_>,
    (of_pool, client): (&Pool, &AppClient),
    proof: Option<&Proof>,
) -> Result<HttpResponse, EndpointError> {
    if !client.allows_flow(OAuthFlow::ClientCredentials) {
        let why = "this client may not use that grant: its allowed_oauth_flows do not name it";
        return Err(OAuthError::new("unauthorized_client", why).into());
    }
    let scopes = resolve_scopes(&client.allowed_oauth_scopes, request.parameter("scope"))?;
    match proof {
        Some(proof) => dpop::use_once(app, info, proof).await?,
        None if client.dpop_bound_access_tokens => return Err(dpop::reused().into()),
        None => {}
    }
    let scope = scopes.join(" ");
    let overrides = app.directory.client_token_overrides((&of_pool.id, &client.id), &scope).await;
    let overrides = overrides.map_err(|error| grants::refused(info, &error))?;
    let (now, key) = (app.clock.now(), proof.map(|proof| &*proof.thumbprint));
    let token = app.access_tokens.issue(of_pool, client, &scopes, (key, overrides.as_ref()), now);
    let token = token.map_err(|error| {
        tracing::error!(request_id = info.request_id, %error, "no access token was issued");
        ErrorResponse::internal()
    })?;
    program_response(&token, client.access_token_validity, &scope, proof)
}

/// Returns the response with the token of a program.
pub(super) fn program_response(
    token: &str,
    validity: Duration,
    scope: &str,
    proof: Option<&Proof>,
) -> Result<HttpResponse, EndpointError> {
    let beside =
        TokenResponse { token_type: token_type(proof.is_some()), expires_in: validity.as_secs(), scope };
    let beside = serde_json::to_string(&beside).map_err(|_| ErrorResponse::internal())?;
    let members = beside.trim_start_matches('{');
    // A token needs no escaping: RFC 7515, section 7.1 allows base64url and `.` only. Scanning it
    // would be the most expensive part of the response.
    let response = format!(r#"{{"access_token":"{token}",{members}"#);
    Ok(with_body(StatusCode::OK, "application/json", response))
}

/// Returns the type of a token (RFC 9449, section 5; RFC 6750, section 4).
pub(super) fn token_type(is_bound: bool) -> &'static str {
    if is_bound { "DPoP" } else { "Bearer" }
}

/// Returns the granted scopes: the requested ones, or all allowed ones by default. RFC 6749,
/// section 3.3: "the authorization server MUST either process the request using a pre-defined
/// default value or fail the request".
pub(super) fn resolve_scopes<'c>(
    allowed: &'c [String],
    requested: Option<&str>,
) -> Result<Vec<&'c str>, OAuthError> {
    let Some(requested) = requested else { return Ok(allowed.iter().map(String::as_str).collect()) };
    let mut granted = Vec::new();
    for scope in requested.split(' ').filter(|scope| !scope.is_empty()) {
        let Some(known) = allowed.iter().find(|known| *known == scope) else {
            return Err(OAuthError::new(
                "invalid_scope",
                "this client may not have a scope that it asks for",
            ));
        };
        if !granted.contains(&known.as_str()) {
            granted.push(known.as_str());
        }
    }
    if granted.is_empty() {
        return Err(OAuthError::new("invalid_scope", "`scope` names none"));
    }
    Ok(granted)
}

/// Revokes a token. RFC 7009, section 2.2: "The authorization server responds with HTTP status code
/// 200 if the token has been revoked successfully or if the client submitted an invalid token."
async fn revoke_token(
    app: &AppState,
    info: &RequestData,
    request: &AuthenticatedClient<'_>,
) -> Result<HttpResponse, EndpointError> {
    let token = request.required("token")?;
    // A token of a program; any other is a user's refresh token, or of no effect.
    let revocable = match request.declared {
        Some((of_pool, _)) => app.access_tokens.revocable(of_pool, token),
        None => grants::revocable(app, info, request, token).await?,
    };
    let token = match revocable {
        Ok(token) => token,
        // Section 2.2.1: "If the server responds with HTTP status code 503, the client must assume
        // the token still exists and may retry after a reasonable delay."
        Err(TokenError::NoKeys) => return Err(ErrorResponse::unavailable().into()),
        Err(_) => return grants::revoke(app, info, request, token).await,
    };
    // Section 2.1: it "verifies whether the token was issued to the client making the revocation
    // request. If this validation fails, the request is refused and the client is informed of the
    // error".
    if token.client_id != request.id {
        let why = "the token was issued to another client, which must revoke it";
        return Err(OAuthError::new("unauthorized_client", why).into());
    }
    // A token that has expired by the local clock is revoked, too: it would be valid again if the
    // clock is set back.
    let until = token.expires_at.max(app.clock.now()).plus(REVOCATION_GRACE);
    let entropy = &*app.entropy;
    if let Err(wait) = app.limits.client_revocations.check(Some(&request.id)) {
        let why = format!("too many revocations: wait {} s", wait.as_secs().max(1));
        return Err(OAuthError { retry_after: Some(wait), ..OAuthError::invalid_request(why) }.into());
    }
    app.limits.client_revocations.record(Some(request.id.clone()));
    let jti = &*token.jti;
    let failed = |error: StoreError| unavailable(info, &error);
    app.store
        .transaction(|tx| Box::pin(async move { tx.revoke_token(jti, until, entropy).await }))
        .await
        .map_err(failed)?;
    tracing::info!(
        target: "audit",
        event = "token_revoked",
        request_id = info.request_id,
        client = info.client(),
        client_id = request.id,
        jti,
    );
    Ok(HttpResponse::default())
}

/// Returns the introspection response. RFC 7662, section 2.2: for a token that is not active it
/// "SHOULD NOT include any additional information".
async fn introspection_response(
    app: &AppState,
    info: &RequestData,
    request: &AuthenticatedClient<'_>,
) -> Result<HttpResponse, EndpointError> {
    let response = match own_active_token(app, info, request).await? {
        Some(token) => {
            let mut revoked = false;
            for name in ["jti", "origin_jti"].into_iter().filter_map(|name| token.text(name)) {
                let answer = app.store.is_revoked(name).await;
                revoked |= answer.map_err(|error| unavailable(info, &error))?;
            }
            match revoked {
                true => inactive(),
                false => active(&token),
            }
        }
        None => inactive(),
    };
    Ok(with_body(StatusCode::OK, "application/json", response.to_string()))
}

fn inactive() -> serde_json::Value {
    serde_json::json!({ "active": false })
}

fn active(token: &AccessToken) -> serde_json::Value {
    let mut response = serde_json::json!({ "active": true, "token_type": token_type(token.key.is_some()) });
    for name in ["scope", "client_id", "username", "exp", "iat", "nbf", "sub", "aud", "iss", "jti", "cnf"] {
        if let Some(value) = token.claims.get(name) {
            response[name] = value.clone();
        }
    }
    response
}

/// Returns the claims of the request's token if it is an active token of the client's pool.
/// `token_type_hint` is ignored (RFC 7662, section 2.1: the server "MAY ignore this parameter").
async fn own_active_token(
    app: &AppState,
    info: &RequestData,
    request: &AuthenticatedClient<'_>,
) -> Result<Option<AccessToken>, EndpointError> {
    request.check_confidential()?;
    let token = request.required("token")?;
    match request.declared {
        Some((of_pool, _)) => Ok(app.access_tokens.verify(of_pool, token, app.clock.now()).ok()),
        None => grants::active_token(app, info, request, token).await,
    }
}
