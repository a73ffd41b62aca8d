//! The grants of users at the token endpoint: authorization codes and refresh tokens. Also the
//! tokens of clients that were made through the API.

use super::client::AuthenticatedClient;
use super::error::{EndpointError, OAuthError};
use super::token::{program_response, resolve_scopes, token_type};
use super::{AppState, RequestData, dpop};
use crate::base::{Duration, RandomToken};
use crate::config::TrustedIssuer;
use crate::directory::{
    CodeRedemption, DeviceError, DeviceRedemption, DirectoryError, ErrorKind, IssuedTokens, PoolOfClient,
    RefreshFlow, Sender,
};
use crate::jose::Unverified;
use crate::pages::{ErrorResponse, HttpResponse, with_body};
use crate::token::{self, AccessToken, CodeError, KeySet, Proof, Revocable, TokenError};
use crate::trigger::ClientData;
use http::StatusCode;
use serde::Serialize;
use std::sync::Arc;

/// A token response (RFC 6749, section 5.1; OpenID Connect Core 1.0, section 3.1.3.3).
#[derive(Serialize)]
struct TokenResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    expires_in: u64,
    token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
}

/// Issues the tokens of an authorization code (RFC 6749, section 4.1.3).
pub(super) async fn redeem_code(
    app: &AppState,
    info: &RequestData,
    request: &AuthenticatedClient<'_>,
    proof: Option<&Proof>,
) -> Result<HttpResponse, EndpointError> {
    let of = request.in_directory(app, info).await?;
    check_flow(&of, "code")?;
    let code = request.required("code")?;
    let redirect_uri = request.required("redirect_uri")?;
    let verifier = request.parameter("code_verifier").unwrap_or_default();
    let invalid = || OAuthError::new("invalid_grant", "the code is not valid, or not for this request");
    let code = RandomToken::parse(code).ok_or_else(invalid)?;
    let issuer = app.catalogue.load().issuer_of(&of.pool.id);
    let is_public = request.is_public;
    let redemption = CodeRedemption { code: &code, redirect_uri, verifier, proof, is_public };
    let redeemed = app.directory.tokens.redeem_code(sender(&of, info), &issuer, redemption).await;
    match redeemed.map_err(|error| refused(info, &error))? {
        Ok(issued) => Ok(response(&issued, proof, Some(&issued.scope))),
        Err(error) => {
            if error == CodeError::Reused {
                let (client_id, pool) = (&*of.client.id, &*of.pool.id);
                tracing::warn!(target: "audit", event = "code_reused", request_id = info.request_id, client_id, pool);
            }
            tracing::info!(
                request_id = info.request_id,
                client_id = request.id,
                ?error,
                "a code was refused"
            );
            Err(invalid().into())
        }
    }
}

/// Issues the tokens of a device whose user has allowed it (RFC 8628, section 3.4).
pub(super) async fn redeem_device_code(
    app: &AppState,
    info: &RequestData,
    request: &AuthenticatedClient<'_>,
    proof: Option<&Proof>,
) -> Result<HttpResponse, EndpointError> {
    let of = request.in_directory(app, info).await?;
    if !of.client.settings.extensions.device_authorization {
        let why = "this client may not use that grant: `device_authorization` is not set";
        return Err(OAuthError::new("unauthorized_client", why).into());
    }
    let code = RandomToken::parse(request.required("device_code")?);
    let code = code.ok_or_else(|| OAuthError::new("invalid_grant", "there is no such device code"))?;
    let issuer = app.catalogue.load().issuer_of(&of.pool.id);
    let redemption = DeviceRedemption { code: &code, proof, is_public: request.is_public };
    let redeemed = app.directory.tokens.redeem_device_code(sender(&of, info), &issuer, redemption).await;
    let issued = redeemed.map_err(|error| refused(info, &error))?;
    // Section 3.5.
    let issued = issued.map_err(|error| match error {
        DeviceError::Unknown => OAuthError::new("invalid_grant", "there is no such device code"),
        DeviceError::Expired => OAuthError::new("expired_token", "the device code has expired: begin again"),
        DeviceError::Waiting => OAuthError::new("authorization_pending", "the user has not decided"),
        DeviceError::TooFast => OAuthError::new("slow_down", "ask 5 seconds less often"),
        DeviceError::Denied => OAuthError::new("access_denied", "the user denied it, or has signed out"),
    })?;
    Ok(response(&issued, proof, Some(&issued.scope)))
}

/// Issues new tokens for a refresh token (RFC 6749, section 6).
pub(super) async fn refresh(
    app: &AppState,
    info: &RequestData,
    request: &AuthenticatedClient<'_>,
    proof: Option<&Proof>,
) -> Result<HttpResponse, EndpointError> {
    let of = request.in_directory(app, info).await?;
    let token = request.required("refresh_token")?;
    let (sender, tokens) = (sender(&of, info), &app.directory.tokens);
    // Section 6: the requested scope "MUST NOT include any scope not originally granted". Before
    // the rotation: an error must leave the token as it is. The new tokens keep the whole scope.
    if let Some(asked) = request.parameter("scope") {
        let granted = tokens.scope_of_refresh_token(sender, token).await;
        let granted = granted.map_err(|error| refused(info, &error))?.unwrap_or_default();
        let is_granted = |asked: &str| asked.is_empty() || granted.split(' ').any(|granted| granted == asked);
        if !asked.split(' ').all(is_granted) {
            return Err(OAuthError::new("invalid_scope", "the refresh token was not granted a scope").into());
        }
    }
    let issuer = app.catalogue.load().issuer_of(&of.pool.id);
    let refreshed = tokens.refresh(sender, &issuer, token, RefreshFlow::Endpoint(proof)).await;
    let issued = refreshed.map_err(|error| refused(info, &error))?;
    Ok(response(&issued, proof, None))
}

/// Ends the family of a user's refresh token (RFC 7009).
pub(super) async fn revoke(
    app: &AppState,
    info: &RequestData,
    request: &AuthenticatedClient<'_>,
    token: &str,
) -> Result<HttpResponse, EndpointError> {
    let of = request.in_directory(app, info).await?;
    app.directory.tokens.revoke(sender(&of, info), token).await.map_err(|error| refused(info, &error))?;
    Ok(HttpResponse::default())
}

/// Issues an access token to a client that was made through the API (RFC 6749, section 4.4).
pub(super) async fn issue_to_client(
    app: &AppState,
    info: &RequestData,
    request: &AuthenticatedClient<'_>,
    proof: Option<&Proof>,
) -> Result<HttpResponse, EndpointError> {
    let of = request.in_directory(app, info).await?;
    check_flow(&of, "client_credentials")?;
    let settings = &of.client.settings;
    let scope = resolve_scopes(&settings.allowed_oauth_scopes, request.parameter("scope"))?.join(" ");
    if let Some(proof) = proof {
        dpop::use_once(app, info, proof).await?;
    }
    let issuer = app.catalogue.load().issuer_of(&of.pool.id);
    let key = proof.map(|proof| &*proof.thumbprint);
    let issued = app.directory.tokens.issue_to_client(&of, &issuer, &scope, key).await;
    let token = issued.map_err(|error| refused(info, &error))?;
    program_response(&token, Duration::from_secs(settings.access_token_validity), &scope, proof)
}

/// Returns the data for a revocation of an access token of the client's pool.
pub(super) async fn revocable(
    app: &AppState,
    info: &RequestData,
    request: &AuthenticatedClient<'_>,
    token: &str,
) -> Result<Result<Revocable, TokenError>, EndpointError> {
    let (issuer, keys) = issuer_of(app, info, request).await?;
    Ok(token::revocable(token, &issuer, &keys.verifying))
}

/// Returns the claims of an access token of the client's pool, if it is valid. The caller must
/// check whether it was revoked.
pub(super) async fn active_token(
    app: &AppState,
    info: &RequestData,
    request: &AuthenticatedClient<'_>,
    token: &str,
) -> Result<Option<AccessToken>, EndpointError> {
    let (issuer, keys) = issuer_of(app, info, request).await?;
    let Ok(token) = Unverified::read(token) else { return Ok(None) };
    Ok(token::verify(token, &issuer, &keys.verifying, app.clock.now()).ok())
}

/// Returns the pool of a client that was made through the API as an issuer, with its keys.
async fn issuer_of(
    app: &AppState,
    info: &RequestData,
    request: &AuthenticatedClient<'_>,
) -> Result<(TrustedIssuer, Arc<KeySet>), EndpointError> {
    let of = request.in_directory(app, info).await?;
    let keys = app.directory.tokens.access_token_keys(&of.pool).await;
    let keys = keys.map_err(|error| refused(info, &error))?;
    let (id, jwk_set) = (&of.pool.id, keys.jwk_set.clone());
    let issuer = app.catalogue.load().trusted_pool(id, id, jwk_set, keys.algorithms());
    Ok((issuer, keys))
}

/// Checks that a client may use a grant.
fn check_flow(of: &PoolOfClient, flow: &str) -> Result<(), OAuthError> {
    match of.client.settings.allows_oauth_flow(flow) {
        true => Ok(()),
        false => {
            let why = "this client may not use that grant: its allowed flows do not name it";
            Err(OAuthError::new("unauthorized_client", why))
        }
    }
}

fn sender<'a>(of: &'a PoolOfClient, info: &RequestData) -> Sender<'a> {
    Sender {
        pool: &of.pool,
        client: &of.client,
        keeps_verifiers: of.keeps_verifiers,
        network: Sender::network_of(info.client),
        address: info.client,
        language: None,
        redirect_uri: None,
        device_key: None,
        data: ClientData::default(),
    }
}

/// Returns the response with tokens. An ID token belongs to the scope `openid` (OpenID Connect Core
/// 1.0, section 3.1.2.1).
fn response(issued: &IssuedTokens, proof: Option<&Proof>, shown_scope: Option<&str>) -> HttpResponse {
    let is_openid = issued.scope.split(' ').any(|scope| scope == "openid");
    let response = TokenResponse {
        id_token: is_openid.then_some(&*issued.tokens.id_token),
        access_token: &issued.tokens.access_token,
        refresh_token: issued.refresh_token.as_deref(),
        expires_in: issued.tokens.expires_in.as_secs(),
        token_type: token_type(proof.is_some()),
        scope: shown_scope,
    };
    let text = serde_json::to_string(&response).unwrap_or_default();
    with_body(StatusCode::OK, "application/json", text)
}

/// Returns the OAuth error of a refusal of the directory.
pub(super) fn refused(info: &RequestData, error: &DirectoryError) -> EndpointError {
    match error.kind() {
        // A function of the pool failed: the client may try again.
        ErrorKind::Internal | ErrorKind::UnexpectedLambda | ErrorKind::InvalidLambdaResponse => {
            tracing::error!(request_id = info.request_id, %error, "no token was issued");
            ErrorResponse::unavailable().into()
        }
        ErrorKind::ProofRefused => dpop::reused().into(),
        ErrorKind::InvalidParameter => {
            OAuthError::new("unauthorized_client", "this client may not refresh tokens").into()
        }
        _ => OAuthError::new("invalid_grant", "the grant is not valid, has expired, or was revoked").into(),
    }
}
