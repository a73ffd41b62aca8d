//! `UserPoolType`: a user pool as Cognito describes it.

use super::lambda_config;
use super::pool_request::{INVITATION, KEPT};
use super::schema::SchemaAttributeShape;
use super::shapes::Time;
use crate::aws::operation::{Answer, encode};
use crate::model::{
    DeviceMode, DeviceSettings, Members, PasswordPolicy, Pool, PoolDomain, PoolSettings, Recovery,
    SignInAttribute,
};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UserPoolShape<'a> {
    id: &'a str,
    name: &'a str,
    arn: String,
    policies: Policies,
    deletion_protection: &'static str,
    lambda_config: Value,
    last_modified_date: Time,
    creation_date: Time,
    schema_attributes: Vec<SchemaAttributeShape>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    auto_verified_attributes: &'a [SignInAttribute],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    alias_attributes: &'a [SignInAttribute],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    username_attributes: &'a [SignInAttribute],
    verification_message_template: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_attribute_update_settings: Option<Value>,
    mfa_configuration: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_configuration: Option<Value>,
    estimated_number_of_users: i64,
    email_configuration: Value,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    user_pool_tags: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_domain: Option<&'a str>,
    admin_create_user_config: AdminCreateUserConfig<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_recovery_setting: Option<Value>,
    user_pool_tier: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policies {
    password_policy: PasswordPolicyShape,
    sign_in_policy: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PasswordPolicyShape {
    minimum_length: u16,
    require_uppercase: bool,
    require_lowercase: bool,
    require_numbers: bool,
    require_symbols: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_history_size: Option<u16>,
    temporary_password_validity_days: u16,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AdminCreateUserConfig<'a> {
    allow_admin_create_user_only: bool,
    unused_account_validity_days: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    invite_message_template: Option<&'a Value>,
}

/// What a description has besides the pool itself.
pub struct PoolFacts {
    /// The ARN.
    pub arn: String,
    /// The number of its users.
    pub users: i64,
    /// Its domains.
    pub domains: Vec<PoolDomain>,
}

/// Returns the description of a pool.
///
/// # Errors
/// Returns `InternalErrorException` if it is no JSON.
pub fn describe(pool: &Pool, facts: PoolFacts) -> Answer<Value> {
    let settings = &pool.settings;
    let PoolFacts { arn, users, domains } = facts;
    let domain = |is_custom: bool| {
        domains.iter().map(|of| of.domain.as_str()).find(|domain| domain.contains('.') == is_custom)
    };
    let (before, lambda_config) = (&settings.verify_before_update, lambda_config::describe(settings, &arn));
    let shape = UserPoolShape {
        id: &pool.id,
        name: &settings.name,
        arn,
        policies: policies(settings),
        deletion_protection: if settings.deletion_protection { "ACTIVE" } else { "INACTIVE" },
        lambda_config,
        last_modified_date: Time(pool.updated_at),
        creation_date: Time(pool.created_at),
        schema_attributes: settings.schema.iter().map(Into::into).collect(),
        auto_verified_attributes: &settings.auto_verified,
        alias_attributes: &settings.sign_in.alias_attributes,
        username_attributes: &settings.sign_in.username_attributes,
        verification_message_template: json!({ "DefaultEmailOption": "CONFIRM_WITH_CODE" }),
        user_attribute_update_settings: (!before.is_empty())
            .then(|| json!({ "AttributesRequireVerificationBeforeUpdate": before })),
        mfa_configuration: settings.mfa.mode.name(),
        device_configuration: devices(settings.devices),
        estimated_number_of_users: users,
        email_configuration: json!({ "EmailSendingAccount": "COGNITO_DEFAULT" }),
        user_pool_tags: &settings.tags,
        domain: domain(false),
        custom_domain: domain(true),
        admin_create_user_config: AdminCreateUserConfig {
            allow_admin_create_user_only: settings.only_administrators_create,
            unused_account_validity_days: settings.password_policy.temporary_password_validity_days,
            invite_message_template: settings.kept.get(INVITATION),
        },
        account_recovery_setting: recovery(settings),
        user_pool_tier: "ESSENTIALS",
    };
    with_kept(&shape, &KEPT, &settings.kept)
}

/// Returns a shape with those of the kept members that `names` lists.
///
/// # Errors
/// Returns `InternalErrorException` if the shape is no JSON.
pub fn with_kept(shape: &impl Serialize, names: &[&str], kept: &Members) -> Answer<Value> {
    let mut value = encode(shape)?;
    if let Value::Object(members) = &mut value {
        let kept = names.iter().filter_map(|name| kept.get_key_value(*name));
        members.extend(kept.map(|(name, value)| (name.clone(), value.clone())));
    }
    Ok(value)
}

fn policies(settings: &PoolSettings) -> Policies {
    let of: &PasswordPolicy = &settings.password_policy;
    let first: Vec<_> = settings.first_factors.iter().map(|factor| factor.name()).collect();
    Policies {
        password_policy: PasswordPolicyShape {
            minimum_length: of.minimum_length,
            require_uppercase: of.require_uppercase,
            require_lowercase: of.require_lowercase,
            require_numbers: of.require_numbers,
            require_symbols: of.require_symbols,
            password_history_size: Some(of.history_size).filter(|size| *size > 0),
            temporary_password_validity_days: of.temporary_password_validity_days,
        },
        sign_in_policy: json!({ "AllowedFirstAuthFactors": first }),
    }
}

/// Returns what the pool does with devices; `None` if it remembers none.
fn devices(of: DeviceSettings) -> Option<Value> {
    let only_on_prompt = of.mode == DeviceMode::OptIn;
    of.is_on().then(|| {
        json!({ "ChallengeRequiredOnNewDevice": of.replaces_factor,
            "DeviceOnlyRememberedOnUserPrompt": only_on_prompt })
    })
}

/// Returns the recovery of a pool of the configuration file; the API's pools keep the member.
fn recovery(settings: &PoolSettings) -> Option<Value> {
    let name = |attribute: &SignInAttribute| format!("verified_{}", attribute.name());
    let names = match &settings.recovery {
        of if *of == Recovery::default() => return None,
        Recovery::Administrator => vec!["admin_only".to_owned()],
        Recovery::Addresses(of) => of.iter().map(name).collect(),
    };
    let mechanism = |(priority, name): (u8, String)| json!({ "Priority": priority, "Name": name });
    Some(json!({ "RecoveryMechanisms": (1..).zip(names).map(mechanism).collect::<Vec<_>>() }))
}
