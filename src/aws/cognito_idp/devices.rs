//! Remembered devices of users.

use super::factors::{admin_user, by_administrator, by_user};
use super::shapes::{Attribute, Time};
use crate::aws::call::{AdminCall, Call};
use crate::aws::operation::{Answer, Empty, Operation, operations};
use crate::directory::{ByUser, DeviceConfirmation, Page, PageRequest};
use crate::store::RememberedDevice;
use serde::{Deserialize, Serialize};

pub const OPERATIONS: &[Operation] = operations! {
    Public "ConfirmDevice" => confirm;
    Public "ForgetDevice" => forget;
    Public "GetDevice" => get;
    Public "ListDevices" => list;
    Public "UpdateDeviceStatus" => update_status;
    Admin "AdminForgetDevice" => admin_forget;
    Admin "AdminGetDevice" => admin_get;
    Admin "AdminListDevices" => admin_list;
    Admin "AdminUpdateDeviceStatus" => admin_update_status;
};

/// The status of a device that needs no second factor.
const REMEMBERED: &str = "remembered";

/// `DeviceType`
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeviceShape {
    device_key: String,
    device_attributes: Vec<Attribute>,
    device_create_date: Time,
    device_last_modified_date: Time,
    device_last_authenticated_date: Time,
}

impl From<RememberedDevice> for DeviceShape {
    fn from(of: RememberedDevice) -> Self {
        let status = if of.is_remembered { REMEMBERED } else { "not_remembered" };
        let attributes = [
            ("device_status", "valid"),
            ("device_name", &of.name),
            ("last_ip_used", &of.address),
            ("dev:device_remembered_status", status),
        ];
        let attribute = |(name, value): (&str, &str)| Attribute {
            name: name.to_owned(),
            value: Some(value.to_owned()).filter(|value| !value.is_empty()),
        };
        Self {
            device_attributes: attributes.into_iter().map(attribute).collect(),
            device_key: of.key,
            device_create_date: Time(of.created_at),
            device_last_modified_date: Time(of.changed_at),
            device_last_authenticated_date: Time(of.used_at),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeviceResponse {
    device: DeviceShape,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DevicesResponse {
    devices: Vec<DeviceShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pagination_token: Option<String>,
}

impl From<Page<RememberedDevice>> for DevicesResponse {
    fn from(page: Page<RememberedDevice>) -> Self {
        Self { devices: page.entries.into_iter().map(Into::into).collect(), pagination_token: page.token }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VerifierShape {
    password_verifier: Option<String>,
    salt: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ConfirmRequest {
    access_token: String,
    device_key: String,
    device_secret_verifier_config: Option<VerifierShape>,
    device_name: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfirmResponse {
    user_confirmation_necessary: bool,
}

async fn confirm(call: &Call, request: ConfirmRequest) -> Answer<ConfirmResponse> {
    let of = call.user(&request.access_token).await?;
    let secret = request.device_secret_verifier_config.as_ref();
    let text = |value: Option<&Option<String>>| value.cloned().flatten().unwrap_or_default();
    let (verifier, salt) = (text(secret.map(|of| &of.password_verifier)), text(secret.map(|of| &of.salt)));
    let device = DeviceConfirmation {
        key: &request.device_key,
        name: request.device_name.as_deref().unwrap_or_default(),
        verifier: &verifier,
        salt: &salt,
        address: call.address,
    };
    let devices = &call.directory().devices;
    let user_confirmation_necessary =
        devices.confirm(by_user(&of), (&of.device_key, &of.amr), device).await?;
    Ok(ConfirmResponse { user_confirmation_necessary })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeviceRequest {
    access_token: Option<String>,
    device_key: String,
}

async fn forget(call: &Call, request: DeviceRequest) -> Answer<Empty> {
    let of = call.user(request.access_token.as_deref().unwrap_or_default()).await?;
    call.directory().devices.forget(by_user(&of), &request.device_key).await?;
    Ok(Empty {})
}

async fn get(call: &Call, request: DeviceRequest) -> Answer<DeviceResponse> {
    let of = call.user(request.access_token.as_deref().unwrap_or_default()).await?;
    let device = call.directory().devices.get(&of.user, &request.device_key).await?;
    Ok(DeviceResponse { device: device.into() })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListRequest {
    access_token: String,
    limit: Option<u32>,
    pagination_token: Option<String>,
}

async fn list(call: &Call, request: ListRequest) -> Answer<DevicesResponse> {
    let of = call.user(&request.access_token).await?;
    let page = PageRequest { limit: request.limit, token: request.pagination_token.as_deref() };
    Ok(call.directory().devices.list(&of.user, page).await?.into())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatusRequest {
    access_token: String,
    device_key: String,
    device_remembered_status: Option<String>,
}

async fn update_status(call: &Call, request: StatusRequest) -> Answer<Empty> {
    let of = call.user(&request.access_token).await?;
    set_status(call, by_user(&of), &request.device_key, request.device_remembered_status.as_deref()).await
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AdminDeviceRequest {
    user_pool_id: String,
    username: String,
    device_key: String,
}

async fn admin_forget(call: &AdminCall, request: AdminDeviceRequest) -> Answer<Empty> {
    let (pool, user) = admin_user(call, &request.user_pool_id, &request.username).await?;
    call.directory().devices.forget(by_administrator(&pool, &user), &request.device_key).await?;
    Ok(Empty {})
}

async fn admin_get(call: &AdminCall, request: AdminDeviceRequest) -> Answer<DeviceResponse> {
    let (_, user) = admin_user(call, &request.user_pool_id, &request.username).await?;
    let device = call.directory().devices.get(&user, &request.device_key).await?;
    Ok(DeviceResponse { device: device.into() })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AdminListRequest {
    user_pool_id: String,
    username: String,
    limit: Option<u32>,
    pagination_token: Option<String>,
}

async fn admin_list(call: &AdminCall, request: AdminListRequest) -> Answer<DevicesResponse> {
    let (_, user) = admin_user(call, &request.user_pool_id, &request.username).await?;
    let page = PageRequest { limit: request.limit, token: request.pagination_token.as_deref() };
    Ok(call.directory().devices.list(&user, page).await?.into())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AdminStatusRequest {
    user_pool_id: String,
    username: String,
    device_key: String,
    device_remembered_status: Option<String>,
}

async fn admin_update_status(call: &AdminCall, request: AdminStatusRequest) -> Answer<Empty> {
    let (pool, user) = admin_user(call, &request.user_pool_id, &request.username).await?;
    let by = by_administrator(&pool, &user);
    set_status(call, by, &request.device_key, request.device_remembered_status.as_deref()).await
}

/// Sets the status of a device. Without one the device must exist, and stays as it is.
async fn set_status(call: &Call, by: ByUser<'_>, key: &str, status: Option<&str>) -> Answer<Empty> {
    let devices = &call.directory().devices;
    match status {
        Some(status) => devices.set_remembered(by, key, status == REMEMBERED).await?,
        None => drop(devices.get(by.user, key).await?),
    }
    Ok(Empty {})
}
