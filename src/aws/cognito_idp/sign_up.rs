//! Sign-up, its confirmation, and forgotten passwords.

use super::shapes::{Attribute, CodeDeliveryDetails, CodeSent, attributes_of, secret};
use crate::aws::call::Call;
use crate::aws::error::ApiError;
use crate::aws::operation::{Answer, Empty, Operation, operations};
use crate::base::Secret;
use crate::directory::{SignUp, Takeover};
use serde::{Deserialize, Serialize};

pub const OPERATIONS: &[Operation] = operations! {
    Public "SignUp" => sign_up;
    Public "ConfirmSignUp" => confirm_sign_up;
    Public "ResendConfirmationCode" => resend_confirmation_code;
    Public "ForgotPassword" => forgot_password;
    Public "ConfirmForgotPassword" => confirm_forgot_password;
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SignUpRequest {
    client_id: String,
    secret_hash: Option<String>,
    username: String,
    #[serde(default, deserialize_with = "super::shapes::optional_secret")]
    password: Option<Secret>,
    user_attributes: Option<Vec<Attribute>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SignUpResponse {
    user_confirmed: bool,
    user_sub: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code_delivery_details: Option<CodeDeliveryDetails>,
}

async fn sign_up(call: &Call, request: SignUpRequest) -> Answer<SignUpResponse> {
    let of =
        call.client_with_hash(&request.client_id, &request.username, request.secret_hash.as_deref()).await?;
    let password = request
        .password
        .ok_or_else(|| ApiError::invalid_parameter("Password is required for this user pool."))?;
    let attributes = attributes_of(request.user_attributes);
    let sign_up = SignUp { username: &request.username, password: &password, attributes: &attributes };
    let signed_up = call.directory().accounts.sign_up(call.sender(&of), sign_up).await?;
    Ok(SignUpResponse {
        user_confirmed: false,
        user_sub: signed_up.user.id,
        code_delivery_details: signed_up.delivery.map(Into::into),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConfirmSignUpRequest {
    client_id: String,
    secret_hash: Option<String>,
    username: String,
    #[serde(deserialize_with = "secret")]
    confirmation_code: Secret,
    #[serde(default)]
    force_alias_creation: bool,
}

async fn confirm_sign_up(call: &Call, request: ConfirmSignUpRequest) -> Answer<Empty> {
    let name = &request.username;
    let of = call.client_with_hash(&request.client_id, name, request.secret_hash.as_deref()).await?;
    let takeover = match request.force_alias_creation {
        true => Takeover::LastVerifier,
        false => Takeover::Refuse,
    };
    let code = &request.confirmation_code;
    call.directory().accounts.confirm_sign_up(call.sender(&of), name, code, takeover).await?;
    Ok(Empty {})
}

/// The request of a code by user name.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CodeRequest {
    client_id: String,
    secret_hash: Option<String>,
    username: String,
}

async fn resend_confirmation_code(call: &Call, request: CodeRequest) -> Answer<CodeSent> {
    let name = &request.username;
    let of = call.client_with_hash(&request.client_id, name, request.secret_hash.as_deref()).await?;
    Ok(call.directory().accounts.resend_sign_up_code(call.sender(&of), name).await?.into())
}

async fn forgot_password(call: &Call, request: CodeRequest) -> Answer<CodeSent> {
    let name = &request.username;
    let of = call.client_with_hash(&request.client_id, name, request.secret_hash.as_deref()).await?;
    Ok(call.directory().accounts.forgot_password(call.sender(&of), name).await?.into())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConfirmForgotPasswordRequest {
    client_id: String,
    secret_hash: Option<String>,
    username: String,
    #[serde(deserialize_with = "secret")]
    confirmation_code: Secret,
    #[serde(deserialize_with = "secret")]
    password: Secret,
}

async fn confirm_forgot_password(call: &Call, request: ConfirmForgotPasswordRequest) -> Answer<Empty> {
    let name = &request.username;
    let of = call.client_with_hash(&request.client_id, name, request.secret_hash.as_deref()).await?;
    let accounts = &call.directory().accounts;
    let (code, password) = (&request.confirmation_code, &request.password);
    accounts.confirm_forgot_password(call.sender(&of), name, code, password).await?;
    Ok(Empty {})
}
