//! The configuration of multi-factor authentication, which is off: `refuse_unsupported` refuses
//! every other one.

use crate::aws::call::AdminCall;
use crate::aws::operation::{Answer, Operation, operations};
use serde::{Deserialize, Serialize};

pub const OPERATIONS: &[Operation] = operations! {
    Admin "GetUserPoolMfaConfig" => mfa_config;
    Admin "SetUserPoolMfaConfig" => mfa_config;
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MfaConfigRequest {
    user_pool_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MfaConfigResponse {
    mfa_configuration: &'static str,
}

async fn mfa_config(call: &AdminCall, request: MfaConfigRequest) -> Answer<MfaConfigResponse> {
    call.stored_pool(&request.user_pool_id).await?;
    Ok(MfaConfigResponse { mfa_configuration: "OFF" })
}
