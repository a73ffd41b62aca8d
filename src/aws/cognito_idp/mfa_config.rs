//! The second factors of a pool.

use crate::aws::call::AdminCall;
use crate::aws::operation::{Answer, Operation, operations};
use crate::directory::pools::{self, EMAIL_MFA, MfaChange, PoolChanges, SMS_MFA};
use crate::model::{Factor, Members, MfaMode, Pool};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub const OPERATIONS: &[Operation] = operations! {
    Admin "GetUserPoolMfaConfig" => get_mfa_config;
    Admin "SetUserPoolMfaConfig" => set_mfa_config;
};

/// The text of a message, in `SmsMfaConfiguration` and in the pool itself.
const SMS_TEXT: &str = "SmsAuthenticationMessage";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetMfaConfigRequest {
    user_pool_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SetMfaConfigRequest {
    user_pool_id: String,
    sms_mfa_configuration: Option<Members>,
    software_token_mfa_configuration: Option<SoftwareTokenShape>,
    email_mfa_configuration: Option<Members>,
    mfa_configuration: Option<String>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SoftwareTokenShape {
    #[serde(default)]
    enabled: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MfaConfigResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    sms_mfa_configuration: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    software_token_mfa_configuration: Option<SoftwareTokenShape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_mfa_configuration: Option<Value>,
    mfa_configuration: &'static str,
}

/// Returns the mode of this name in Cognito's API; `Off` for another one, which the model refuses.
pub fn mode(name: &str) -> MfaMode {
    MfaMode::NAMES.iter().find(|(_, known)| *known == name).map_or(MfaMode::Off, |(mode, _)| *mode)
}

async fn get_mfa_config(call: &AdminCall, request: GetMfaConfigRequest) -> Answer<MfaConfigResponse> {
    Ok(describe(&call.stored_pool(&request.user_pool_id).await?))
}

async fn set_mfa_config(call: &AdminCall, request: SetMfaConfigRequest) -> Answer<MfaConfigResponse> {
    let token = request.software_token_mfa_configuration.is_some_and(|of| of.enabled);
    let texts = [
        (Factor::Email, EMAIL_MFA, request.email_mfa_configuration),
        (Factor::Sms, SMS_MFA, request.sms_mfa_configuration),
    ];
    let mut change = MfaChange {
        mode: request.mfa_configuration.as_deref().map(mode),
        factors: token.then_some(Factor::SoftwareToken).into_iter().collect(),
        texts: Members::new(),
    };
    for (factor, name, members) in texts {
        if let Some(members) = members {
            change.factors.push(factor);
            change.texts.insert(name.to_owned(), Value::Object(members));
        }
    }
    let changes = &PoolChanges { mfa: Some(change), ..PoolChanges::default() };
    let (id, now, entropy) = (&*request.user_pool_id, call.now(), call.entropy());
    let changed = call.change(id, |tx| Box::pin(pools::update_pool(tx, id, changes, now, entropy))).await?;
    Ok(describe(&changed))
}

fn describe(pool: &Pool) -> MfaConfigResponse {
    let (mfa, kept) = (&pool.settings.mfa, &pool.settings.kept);
    let configured = |factor: Factor, name: &str| {
        let has = mfa.factors.contains(&factor);
        has.then(|| kept.get(name).cloned().unwrap_or_else(|| sms_of_pool(kept, factor)))
    };
    MfaConfigResponse {
        sms_mfa_configuration: configured(Factor::Sms, SMS_MFA),
        software_token_mfa_configuration: mfa
            .factors
            .contains(&Factor::SoftwareToken)
            .then_some(SoftwareTokenShape { enabled: true }),
        email_mfa_configuration: configured(Factor::Email, EMAIL_MFA),
        mfa_configuration: mfa.mode.name(),
    }
}

/// Returns what the members of the pool itself say about text messages.
fn sms_of_pool(kept: &Members, factor: Factor) -> Value {
    let names = [SMS_TEXT, "SmsConfiguration"];
    let of_pool = names.iter().filter_map(|name| Some(((*name).to_owned(), kept.get(*name)?.clone())));
    match factor {
        Factor::Sms => Value::Object(of_pool.collect()),
        Factor::SoftwareToken | Factor::Email => json!({}),
    }
}
