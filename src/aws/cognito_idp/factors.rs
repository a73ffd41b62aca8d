//! The second factors of users: software tokens, preferences.

use super::shapes::secret;
use crate::aws::call::{AdminCall, Call, TokenCall};
use crate::aws::error::ApiError;
use crate::aws::operation::{Answer, Empty, Operation, operations};
use crate::base::Secret;
use crate::directory::sign_in::Refusal;
use crate::directory::{ByUser, FactorChange, PoolOfClient};
use crate::model::{Factor, FirstFactor, Pool, User, UserFactors};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub const OPERATIONS: &[Operation] = operations! {
    Public "AssociateSoftwareToken" => associate_software_token;
    Public "VerifySoftwareToken" => verify_software_token;
    Public "SetUserMFAPreference" => set_preference;
    Public "SetUserSettings" => set_settings;
    Public "GetUserAuthFactors" => auth_factors;
    Admin "AdminSetUserMFAPreference" => admin_set_preference;
    Admin "AdminSetUserSettings" => admin_set_settings;
    Admin "AdminGetUserAuthFactors" => admin_auth_factors;
    Admin "AdminDeleteSoftwareToken" => admin_delete_software_token;
};

/// The members about second factors of `GetUser` and `AdminGetUser`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MfaShape {
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_mfa_setting: Option<&'static str>,
    #[serde(rename = "UserMFASettingList", skip_serializing_if = "Vec::is_empty")]
    user_mfa_setting_list: Vec<&'static str>,
}

impl From<UserFactors> for MfaShape {
    fn from(of: UserFactors) -> Self {
        Self {
            preferred_mfa_setting: of.preferred.map(Factor::name),
            user_mfa_setting_list: of.enabled.iter().map(|factor| factor.name()).collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AssociateRequest {
    access_token: Option<String>,
    session: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AssociateResponse {
    secret_code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
}

async fn associate_software_token(call: &Call, request: AssociateRequest) -> Answer<AssociateResponse> {
    let directory = call.directory();
    if let Some(token) = &request.access_token {
        let of = call.user(token).await?;
        let token = directory.factors.new_token(&of.of.pool, &of.user).await?;
        return Ok(AssociateResponse { secret_code: token.secret.expose().to_owned(), session: None });
    }
    let session = session(request.session.as_deref())?;
    let of = client_of_session(call, session).await?;
    let new = directory.sign_in.new_token((&directory.factors, false), call.sender(&of), session);
    let (token, session) = new.await.map_err(super::sign_in::failed)?;
    Ok(AssociateResponse { secret_code: token.secret.expose().to_owned(), session: Some(session) })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VerifyRequest {
    access_token: Option<String>,
    session: Option<String>,
    #[serde(deserialize_with = "secret")]
    user_code: Secret,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct VerifyResponse {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
}

async fn verify_software_token(call: &Call, request: VerifyRequest) -> Answer<VerifyResponse> {
    let (directory, code) = (call.directory(), &request.user_code);
    if let Some(token) = &request.access_token {
        let of = call.user(token).await?;
        // `SetUserMFAPreference` turns it on.
        directory.factors.confirm_token(by_user(&of), code).await?;
        return Ok(VerifyResponse { status: "SUCCESS", session: None });
    }
    let session = session(request.session.as_deref())?;
    let of = client_of_session(call, session).await?;
    let (sign_in, factors) = (&directory.sign_in, (&directory.factors, false));
    let next = sign_in.confirm_token(factors, call.sender(&of), session, code).await;
    Ok(VerifyResponse { status: "SUCCESS", session: Some(next.map_err(super::sign_in::failed)?) })
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PreferenceShape {
    enabled: Option<bool>,
    preferred_mfa: Option<bool>,
}

#[derive(Deserialize)]
struct Preferences {
    #[serde(rename = "SMSMfaSettings")]
    sms: Option<PreferenceShape>,
    #[serde(rename = "SoftwareTokenMfaSettings")]
    software_token: Option<PreferenceShape>,
    #[serde(rename = "EmailMfaSettings")]
    email: Option<PreferenceShape>,
}

impl Preferences {
    /// Returns the changes. A member that is given without `Enabled` turns its factor off, as in
    /// AWS.
    fn changes(&self) -> Answer<Vec<(Factor, FactorChange)>> {
        let all = [
            (Factor::SoftwareToken, self.software_token),
            (Factor::Email, self.email),
            (Factor::Sms, self.sms),
        ];
        let given: Vec<_> = all.into_iter().filter_map(|(factor, of)| Some((factor, of?))).collect();
        if given.iter().filter(|(_, of)| of.preferred_mfa == Some(true)).count() > 1 {
            return Err(ApiError::invalid_parameter("Only one MFA method can be preferred."));
        }
        let change = |of: PreferenceShape| FactorChange {
            is_enabled: Some(of.enabled.unwrap_or(false)),
            is_preferred: of.preferred_mfa,
        };
        Ok(given.into_iter().map(|(factor, of)| (factor, change(of))).collect())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SetPreferenceRequest {
    access_token: String,
    #[serde(flatten)]
    preferences: Preferences,
}

async fn set_preference(call: &Call, request: SetPreferenceRequest) -> Answer<Empty> {
    let changes = request.preferences.changes()?;
    let of = call.user(&request.access_token).await?;
    call.directory().factors.change(by_user(&of), &changes).await?;
    Ok(Empty {})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AdminSetPreferenceRequest {
    user_pool_id: String,
    username: String,
    #[serde(flatten)]
    preferences: Preferences,
}

async fn admin_set_preference(call: &AdminCall, request: AdminSetPreferenceRequest) -> Answer<Empty> {
    let changes = request.preferences.changes()?;
    let (pool, user) = admin_user(call, &request.user_pool_id, &request.username).await?;
    call.directory().factors.change(by_administrator(&pool, &user), &changes).await?;
    Ok(Empty {})
}

/// `MFAOptionType`
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OptionShape {
    delivery_medium: Option<String>,
    attribute_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SetSettingsRequest {
    access_token: String,
    #[serde(rename = "MFAOptions")]
    options: Vec<OptionShape>,
}

/// The earlier form of `SetUserMFAPreference`, for text messages alone.
async fn set_settings(call: &Call, request: SetSettingsRequest) -> Answer<Empty> {
    let change = sms_change(&request.options)?;
    let of = call.user(&request.access_token).await?;
    call.directory().factors.change(by_user(&of), &[change]).await?;
    Ok(Empty {})
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AdminSetSettingsRequest {
    user_pool_id: String,
    username: String,
    #[serde(rename = "MFAOptions")]
    options: Vec<OptionShape>,
}

async fn admin_set_settings(call: &AdminCall, request: AdminSetSettingsRequest) -> Answer<Empty> {
    let change = sms_change(&request.options)?;
    let (pool, user) = admin_user(call, &request.user_pool_id, &request.username).await?;
    call.directory().factors.change(by_administrator(&pool, &user), &[change]).await?;
    Ok(Empty {})
}

/// Returns whether codes in text messages are turned on: "you can only use this operation to set
/// only SMS MFA". No options turn them off.
fn sms_change(options: &[OptionShape]) -> Answer<(Factor, FactorChange)> {
    let is_sms = |of: &OptionShape| {
        of.delivery_medium.as_deref() == Some("SMS") && of.attribute_name.as_deref() == Some("phone_number")
    };
    if !options.iter().all(is_sms) {
        return Err(ApiError::invalid_parameter("MFAOptions can have SMS to phone_number alone."));
    }
    let is_enabled = Some(!options.is_empty());
    Ok((Factor::Sms, FactorChange { is_enabled, is_preferred: None }))
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AuthFactorsResponse {
    username: String,
    #[serde(flatten)]
    mfa: MfaShape,
    configured_user_auth_factors: Vec<&'static str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AuthFactorsRequest {
    access_token: String,
}

async fn auth_factors(call: &Call, request: AuthFactorsRequest) -> Answer<AuthFactorsResponse> {
    let of = call.user(&request.access_token).await?;
    factors_of(call, &of.of.pool, of.user).await
}

/// A request about one user.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UserRequest {
    user_pool_id: String,
    username: String,
}

async fn admin_auth_factors(call: &AdminCall, request: UserRequest) -> Answer<AuthFactorsResponse> {
    let (pool, user) = admin_user(call, &request.user_pool_id, &request.username).await?;
    factors_of(call, &pool, user).await
}

async fn factors_of(call: &Call, pool: &Pool, user: User) -> Answer<AuthFactorsResponse> {
    let factors = &call.directory().factors;
    let mfa = factors.of_user(&user).await?.into();
    let first = factors.first_factors(pool, &user).await?.into_iter();
    let configured_user_auth_factors = first.map(FirstFactor::name).collect();
    Ok(AuthFactorsResponse { username: user.username, mfa, configured_user_auth_factors })
}

async fn admin_delete_software_token(call: &AdminCall, request: UserRequest) -> Answer<Empty> {
    let (pool, user) = admin_user(call, &request.user_pool_id, &request.username).await?;
    call.directory().factors.remove_token(by_administrator(&pool, &user)).await?;
    Ok(Empty {})
}

pub(super) fn by_user(of: &TokenCall) -> ByUser<'_> {
    ByUser { pool: &of.of.pool, user: &of.user, client_id: Some(&of.of.client.id) }
}

pub(super) fn by_administrator<'a>(pool: &'a Pool, user: &'a User) -> ByUser<'a> {
    ByUser { pool, user, client_id: None }
}

pub(super) async fn admin_user(call: &AdminCall, pool_id: &str, username: &str) -> Answer<(Arc<Pool>, User)> {
    let (pool, _) = call.pool(pool_id).await?;
    let user = call.directory().accounts.admin_user(&pool, username).await?;
    Ok((pool, user))
}

fn session(of: Option<&str>) -> Answer<&str> {
    of.ok_or_else(|| ApiError::invalid_parameter("Either AccessToken or Session is required."))
}

/// Returns the client to which the session was issued.
async fn client_of_session(call: &Call, session: &str) -> Answer<Arc<PoolOfClient>> {
    call.admit()?;
    let invalid = || ApiError::not_authorized(Refusal::InvalidSession.to_string());
    let client = crate::directory::sign_in::client_of_session(session).ok_or_else(invalid)?;
    call.directory().pools.client(client).await?.ok_or_else(invalid)
}
