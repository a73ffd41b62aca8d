//! Sign-up, its confirmation, and forgotten passwords.

use super::shapes::{Attribute, CodeDeliveryDetails, CodeSent, Parameters, attributes_of, secret, values_of};
use crate::aws::call::Call;
use crate::aws::operation::{Answer, Empty, Operation, operations};
use crate::base::Secret;
use crate::directory::{Sender, SignUp, Takeover};
use crate::model::UserStatus;
use crate::trigger::ClientData;
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
    validation_data: Option<Vec<Attribute>>,
    client_metadata: Option<Parameters>,
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
    let attributes = attributes_of(request.user_attributes);
    let sign_up =
        SignUp { username: &request.username, password: request.password.as_ref(), attributes: &attributes };
    let validation_data = request.validation_data.map(values_of);
    let data = ClientData {
        client_metadata: request.client_metadata.as_ref(),
        validation_data: validation_data.as_ref(),
    };
    let sender = Sender { data, ..call.sender(&of) };
    let signed_up = call.directory().accounts.sign_up(sender, sign_up).await?;
    Ok(SignUpResponse {
        user_confirmed: signed_up.user.status == UserStatus::Confirmed,
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
    client_metadata: Option<Parameters>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfirmSignUpResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
}

async fn confirm_sign_up(call: &Call, request: ConfirmSignUpRequest) -> Answer<ConfirmSignUpResponse> {
    let name = &request.username;
    let of = call.client_with_hash(&request.client_id, name, request.secret_hash.as_deref()).await?;
    let takeover = match request.force_alias_creation {
        true => Takeover::LastVerifier,
        false => Takeover::Refuse,
    };
    let code = &request.confirmation_code;
    let sender = call.sender_with(&of, request.client_metadata.as_ref());
    let (user, verified) = call.directory().accounts.confirm_sign_up(sender, name, code, takeover).await?;
    // "If a user signs in with choice-based sign-in, the session signs them in" (ConfirmSignUp).
    let session = call.directory().sign_in.confirmed_session(sender, &user, verified).await;
    Ok(ConfirmSignUpResponse { session: session.map_err(super::sign_in::failed)? })
}

/// The request of a code by user name.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CodeRequest {
    client_id: String,
    secret_hash: Option<String>,
    username: String,
    client_metadata: Option<Parameters>,
}

async fn resend_confirmation_code(call: &Call, request: CodeRequest) -> Answer<CodeSent> {
    let name = &request.username;
    let of = call.client_with_hash(&request.client_id, name, request.secret_hash.as_deref()).await?;
    let sender = call.sender_with(&of, request.client_metadata.as_ref());
    Ok(call.directory().accounts.resend_sign_up_code(sender, name).await?.into())
}

async fn forgot_password(call: &Call, request: CodeRequest) -> Answer<CodeSent> {
    let name = &request.username;
    let of = call.client_with_hash(&request.client_id, name, request.secret_hash.as_deref()).await?;
    let sender = call.sender_with(&of, request.client_metadata.as_ref());
    Ok(call.directory().accounts.forgot_password(sender, name).await?.into())
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
    client_metadata: Option<Parameters>,
}

async fn confirm_forgot_password(call: &Call, request: ConfirmForgotPasswordRequest) -> Answer<Empty> {
    let name = &request.username;
    let of = call.client_with_hash(&request.client_id, name, request.secret_hash.as_deref()).await?;
    let accounts = &call.directory().accounts;
    let (code, password) = (&request.confirmation_code, &request.password);
    let sender = call.sender_with(&of, request.client_metadata.as_ref());
    accounts.confirm_forgot_password(sender, name, code, password).await?;
    Ok(Empty {})
}
