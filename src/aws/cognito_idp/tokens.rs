//! Refresh and revocation of tokens.

use super::shapes::Parameters;
use super::sign_in::AuthResponse;
use crate::aws::call::Call;
use crate::aws::operation::{Answer, Empty, Operation, operations};
use crate::base::Secret;
use crate::directory::{RefreshFlow, Sender};
use serde::Deserialize;

pub const OPERATIONS: &[Operation] = operations! {
    Public "GetTokensFromRefreshToken" => get_tokens_from_refresh_token;
    Public "RevokeToken" => revoke_token;
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetTokensFromRefreshTokenRequest {
    refresh_token: String,
    client_id: String,
    #[serde(default, deserialize_with = "super::shapes::optional_secret")]
    client_secret: Option<Secret>,
    client_metadata: Option<Parameters>,
    device_key: Option<String>,
}

async fn get_tokens_from_refresh_token(
    call: &Call,
    request: GetTokensFromRefreshTokenRequest,
) -> Answer<AuthResponse> {
    let of = call.client(&request.client_id).await?;
    call.check_secret(&of, request.client_secret.as_ref())?;
    let tokens = &call.directory().tokens;
    let (issuer, token) = (call.issuer(&of.pool), &request.refresh_token);
    let sender = call.sender_with(&of, request.client_metadata.as_ref());
    let sender = Sender { device_key: request.device_key.as_deref(), ..sender };
    let issued = tokens.refresh(sender, &issuer, token, RefreshFlow::Tokens).await?;
    Ok(AuthResponse::tokens(issued))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RevokeTokenRequest {
    token: String,
    client_id: String,
    #[serde(default, deserialize_with = "super::shapes::optional_secret")]
    client_secret: Option<Secret>,
}

async fn revoke_token(call: &Call, request: RevokeTokenRequest) -> Answer<Empty> {
    let of = call.client(&request.client_id).await?;
    call.check_secret(&of, request.client_secret.as_ref())?;
    call.directory().tokens.revoke(call.sender(&of), &request.token).await?;
    Ok(Empty {})
}
