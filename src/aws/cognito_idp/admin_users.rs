//! Users, for administrators.

use super::factors::MfaShape;
use super::shapes::{
    Attribute, Parameters, UserShape, attributes_of, attributes_of_user, optional_secret, secret, values_of,
};
use crate::aws::call::AdminCall;
use crate::aws::error::ApiError;
use crate::aws::operation::{Answer, Empty, Operation, operations};
use crate::base::Secret;
use crate::directory::{AdminNewUser, Administration, Invitation, Takeover};
use crate::model::SignInAttribute;
use crate::trigger::ClientData;
use serde::{Deserialize, Serialize};

pub const OPERATIONS: &[Operation] = operations! {
    Admin "AdminCreateUser" => create_user;
    Admin "AdminGetUser" => get_user;
    Admin "AdminConfirmSignUp" => confirm_sign_up;
    Admin "AdminSetUserPassword" => set_password;
    Admin "AdminResetUserPassword" => reset_password;
    Admin "AdminUpdateUserAttributes" => update_attributes;
    Admin "AdminDeleteUserAttributes" => delete_attributes;
    Admin "AdminEnableUser" => enable;
    Admin "AdminDisableUser" => disable;
    Admin "AdminDeleteUser" => delete;
    Admin "AdminUserGlobalSignOut" => sign_out_everywhere;
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateUserRequest {
    user_pool_id: String,
    username: String,
    user_attributes: Option<Vec<Attribute>>,
    #[serde(default, deserialize_with = "optional_secret")]
    temporary_password: Option<Secret>,
    force_alias_creation: Option<bool>,
    message_action: Option<MessageAction>,
    desired_delivery_mediums: Option<Vec<Medium>>,
    validation_data: Option<Vec<Attribute>>,
    client_metadata: Option<Parameters>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum MessageAction {
    Resend,
    Suppress,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Medium {
    Sms,
    Email,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CreateUserResponse {
    user: UserShape,
}

async fn create_user(call: &AdminCall, request: CreateUserRequest) -> Answer<CreateUserResponse> {
    let pool = call.pool(&request.user_pool_id).await?;
    let invitation = invitation(&request);
    let validation_data = request.validation_data.map(values_of);
    let data = ClientData {
        client_metadata: request.client_metadata.as_ref(),
        validation_data: validation_data.as_ref(),
    };
    let administration = Administration { data, ..call.administration(&pool) };
    let accounts = &call.directory().accounts;
    let user = match request.message_action {
        Some(MessageAction::Resend) => {
            let (name, password) = (&request.username, request.temporary_password);
            accounts.admin_resend_invitation(administration, name, &invitation, password).await?
        }
        Some(MessageAction::Suppress) | None => {
            let new = AdminNewUser {
                username: request.username,
                attributes: attributes_of(request.user_attributes),
                temporary_password: request.temporary_password,
                invitation,
                takeover: match request.force_alias_creation {
                    Some(true) => Takeover::LastVerifier,
                    Some(false) | None => Takeover::Refuse,
                },
            };
            accounts.admin_create_user(administration, new).await?
        }
    };
    let attributes = attributes_of_user(&user);
    Ok(CreateUserResponse { user: UserShape::new(&user, attributes) })
}

/// Returns where the invitation that a request asks for is sent.
fn invitation(request: &CreateUserRequest) -> Invitation {
    let attribute = |medium: &Medium| match medium {
        Medium::Sms => SignInAttribute::PhoneNumber,
        Medium::Email => SignInAttribute::Email,
    };
    match (request.message_action, request.desired_delivery_mediums.as_deref()) {
        (Some(MessageAction::Suppress), _) => Invitation::Suppress,
        (_, None | Some([])) => Invitation::Default,
        (_, Some(mediums)) => Invitation::Send(mediums.iter().map(attribute).collect()),
    }
}

/// A request about one user.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UserRequest {
    user_pool_id: String,
    username: String,
    client_metadata: Option<Parameters>,
}

#[derive(Serialize)]
struct GetUserResponse {
    #[serde(flatten)]
    user: UserShape,
    #[serde(flatten)]
    mfa: MfaShape,
}

async fn get_user(call: &AdminCall, request: UserRequest) -> Answer<GetUserResponse> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    let user = call.directory().accounts.admin_user(&pool, &request.username).await?;
    let mfa = call.directory().factors.of_user(&user).await?.into();
    Ok(GetUserResponse { user: UserShape::with_user_attributes(&user, attributes_of_user(&user)), mfa })
}

async fn confirm_sign_up(call: &AdminCall, request: UserRequest) -> Answer<Empty> {
    let pool = call.pool(&request.user_pool_id).await?;
    let administration = call.administration_with(&pool, request.client_metadata.as_ref());
    call.directory().accounts.admin_confirm_sign_up(administration, &request.username).await?;
    Ok(Empty {})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SetPasswordRequest {
    user_pool_id: String,
    username: String,
    #[serde(deserialize_with = "secret")]
    password: Secret,
    permanent: Option<bool>,
}

async fn set_password(call: &AdminCall, request: SetPasswordRequest) -> Answer<Empty> {
    let pool = call.pool(&request.user_pool_id).await?;
    let password = (&request.password, request.permanent.unwrap_or_default());
    let accounts = &call.directory().accounts;
    accounts.admin_set_password(call.administration(&pool), &request.username, password).await?;
    Ok(Empty {})
}

async fn reset_password(call: &AdminCall, request: UserRequest) -> Answer<Empty> {
    let pool = call.pool(&request.user_pool_id).await?;
    let accounts = &call.directory().accounts;
    let administration = call.administration_with(&pool, request.client_metadata.as_ref());
    accounts.admin_reset_password(administration, &request.username).await?;
    Ok(Empty {})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateAttributesRequest {
    user_pool_id: String,
    username: String,
    user_attributes: Vec<Attribute>,
    client_metadata: Option<Parameters>,
}

async fn update_attributes(call: &AdminCall, request: UpdateAttributesRequest) -> Answer<Empty> {
    let pool = call.pool(&request.user_pool_id).await?;
    let changes = attributes_of(Some(request.user_attributes));
    let administration = call.administration_with(&pool, request.client_metadata.as_ref());
    call.directory().accounts.admin_update_attributes(administration, &request.username, &changes).await?;
    Ok(Empty {})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteAttributesRequest {
    user_pool_id: String,
    username: String,
    user_attribute_names: Vec<String>,
}

async fn delete_attributes(call: &AdminCall, request: DeleteAttributesRequest) -> Answer<Empty> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    let names: Vec<&str> = request.user_attribute_names.iter().map(String::as_str).collect();
    call.directory().accounts.admin_delete_attributes(&pool, &request.username, &names).await?;
    Ok(Empty {})
}

async fn enable(call: &AdminCall, request: UserRequest) -> Answer<Empty> {
    set_enabled(call, &request, true).await
}

async fn disable(call: &AdminCall, request: UserRequest) -> Answer<Empty> {
    set_enabled(call, &request, false).await
}

async fn set_enabled(call: &AdminCall, request: &UserRequest, enabled: bool) -> Result<Empty, ApiError> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    call.directory().accounts.admin_set_enabled(&pool, &request.username, enabled).await?;
    Ok(Empty {})
}

async fn delete(call: &AdminCall, request: UserRequest) -> Answer<Empty> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    call.directory().accounts.admin_delete_user(&pool, &request.username).await?;
    Ok(Empty {})
}

async fn sign_out_everywhere(call: &AdminCall, request: UserRequest) -> Answer<Empty> {
    let (pool, _) = call.pool(&request.user_pool_id).await?;
    call.directory().accounts.admin_sign_out_everywhere(&pool, &request.username).await?;
    Ok(Empty {})
}
