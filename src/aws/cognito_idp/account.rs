//! Operations of a signed-in user on the own account, with an access token.

use super::factors::MfaShape;
use super::shapes::{
    Attribute, CodeDeliveryDetails, CodeSent, Parameters, address_attribute, attributes_of,
    readable_attributes_of_user, secret,
};
use crate::aws::call::Call;
use crate::aws::error::ApiError;
use crate::aws::operation::{Answer, Empty, Operation, operations};
use crate::base::Secret;
use crate::directory::Current;
use crate::model::SignInAttribute;
use serde::{Deserialize, Serialize};

pub const OPERATIONS: &[Operation] = operations! {
    Public "GetUser" => get_user;
    Public "ChangePassword" => change_password;
    Public "UpdateUserAttributes" => update_user_attributes;
    Public "DeleteUserAttributes" => delete_user_attributes;
    Public "GetUserAttributeVerificationCode" => get_user_attribute_verification_code;
    Public "VerifyUserAttribute" => verify_user_attribute;
    Public "DeleteUser" => delete_user;
    Public "GlobalSignOut" => global_sign_out;
};

/// A request with nothing but an access token.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TokenRequest {
    access_token: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetUserResponse {
    username: String,
    user_attributes: Vec<Attribute>,
    #[serde(flatten)]
    mfa: MfaShape,
}

async fn get_user(call: &Call, request: TokenRequest) -> Answer<GetUserResponse> {
    let of = call.user(&request.access_token).await?;
    let settings = &of.of.client.settings;
    let user_attributes = readable_attributes_of_user(&of.user, |name| settings.may_read(name));
    let mfa = call.directory().factors.of_user(&of.user).await?.into();
    Ok(GetUserResponse { username: of.user.username, user_attributes, mfa })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ChangePasswordRequest {
    access_token: String,
    #[serde(default, deserialize_with = "super::shapes::optional_secret")]
    previous_password: Option<Secret>,
    #[serde(deserialize_with = "secret")]
    proposed_password: Secret,
}

async fn change_password(call: &Call, request: ChangePasswordRequest) -> Answer<Empty> {
    let of = call.user(&request.access_token).await?;
    let incorrect = || ApiError::not_authorized("Incorrect username or password.");
    let previous = request.previous_password.ok_or_else(incorrect)?;
    let current = Current { family: Some(&of.origin_jti), ..Current::default() };
    let passwords = (&previous, &request.proposed_password);
    let accounts = &call.directory().accounts;
    accounts.change_password(call.sender(&of.of), &of.user, current, passwords).await?;
    Ok(Empty {})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateUserAttributesRequest {
    access_token: String,
    user_attributes: Vec<Attribute>,
    client_metadata: Option<Parameters>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateUserAttributesResponse {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    code_delivery_details_list: Vec<CodeDeliveryDetails>,
}

async fn update_user_attributes(
    call: &Call,
    request: UpdateUserAttributesRequest,
) -> Answer<UpdateUserAttributesResponse> {
    let of = call.user(&request.access_token).await?;
    let changes = attributes_of(Some(request.user_attributes));
    let accounts = &call.directory().accounts;
    let sender = call.sender_with(&of.of, request.client_metadata.as_ref());
    let (_, sent) = accounts.update_own_attributes(sender, &of.user, &changes).await?;
    Ok(UpdateUserAttributesResponse {
        code_delivery_details_list: sent.into_iter().map(Into::into).collect(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteUserAttributesRequest {
    access_token: String,
    user_attribute_names: Vec<String>,
}

async fn delete_user_attributes(call: &Call, request: DeleteUserAttributesRequest) -> Answer<Empty> {
    let of = call.user(&request.access_token).await?;
    let names: Vec<&str> = request.user_attribute_names.iter().map(String::as_str).collect();
    call.directory().accounts.delete_own_attributes(call.sender(&of.of), &of.user, &names).await?;
    Ok(Empty {})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VerificationCodeRequest {
    access_token: String,
    attribute_name: String,
    client_metadata: Option<Parameters>,
}

async fn get_user_attribute_verification_code(
    call: &Call,
    request: VerificationCodeRequest,
) -> Answer<CodeSent> {
    let of = call.user(&request.access_token).await?;
    let attribute = verifiable(&request.attribute_name)?;
    let sender = call.sender_with(&of.of, request.client_metadata.as_ref());
    Ok(call.directory().accounts.send_attribute_code(sender, &of.user, attribute).await?.into())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VerifyUserAttributeRequest {
    access_token: String,
    attribute_name: String,
    #[serde(deserialize_with = "secret")]
    code: Secret,
}

async fn verify_user_attribute(call: &Call, request: VerifyUserAttributeRequest) -> Answer<Empty> {
    let of = call.user(&request.access_token).await?;
    let attribute = verifiable(&request.attribute_name)?;
    let accounts = &call.directory().accounts;
    accounts.verify_own_attribute(call.sender(&of.of), &of.user, attribute, &request.code).await?;
    Ok(Empty {})
}

async fn delete_user(call: &Call, request: TokenRequest) -> Answer<Empty> {
    let of = call.user(&request.access_token).await?;
    call.directory().accounts.delete_own_account(call.sender(&of.of), &of.user).await?;
    Ok(Empty {})
}

async fn global_sign_out(call: &Call, request: TokenRequest) -> Answer<Empty> {
    let of = call.user(&request.access_token).await?;
    call.directory().accounts.sign_out_everywhere(&of.user).await?;
    Ok(Empty {})
}

/// Returns the address attribute of this name, which a code can verify.
fn verifiable(name: &str) -> Answer<SignInAttribute> {
    address_attribute(name)
        .ok_or_else(|| ApiError::invalid_parameter(format!("Attribute {name} cannot be verified.")))
}
