//! The members of requests that create and change user pools.

use super::lambda_config;
use super::mfa_config::mode;
use super::schema::SchemaAttributeShape;
use crate::aws::error::ApiError;
use crate::aws::operation::{Answer, decode};
use crate::directory::pools::with_mode;
use crate::model::{
    DeviceMode, DeviceSettings, Factor, FirstFactor, Members, MfaMode, MfaSettings, PasswordPolicy,
    PoolSettings, Recovery, Schema, SignInAttribute, SignInSettings,
};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Members without an effect, and members whose form the settings do not hold. `UpdateUserPool` has
/// no `UsernameConfiguration`.
pub const KEPT: [&str; 15] = [
    "AccountRecoverySetting",
    "DcrConfiguration",
    "EmailConfiguration",
    "EmailVerificationMessage",
    "EmailVerificationSubject",
    "IssuerConfiguration",
    "KeyConfiguration",
    lambda_config::MEMBER,
    "SmsAuthenticationMessage",
    "SmsConfiguration",
    "SmsVerificationMessage",
    "UserPoolAddOns",
    "UserPoolTier",
    "UsernameConfiguration",
    "VerificationMessageTemplate",
];
/// The member of `AdminCreateUserConfig` that is kept.
pub const INVITATION: &str = "InviteMessageTemplate";
/// Members that repeat a member of `VerificationMessageTemplate`.
const MIRRORED: [(&str, &str); 3] = [
    ("EmailVerificationMessage", "EmailMessage"),
    ("EmailVerificationSubject", "EmailSubject"),
    ("SmsVerificationMessage", "SmsMessage"),
];
const TEMPLATE: &str = "VerificationMessageTemplate";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PoolRequest {
    pool_name: Option<String>,
    policies: Option<Policies>,
    deletion_protection: Option<String>,
    auto_verified_attributes: Option<Vec<SignInAttribute>>,
    alias_attributes: Option<Vec<SignInAttribute>>,
    username_attributes: Option<Vec<SignInAttribute>>,
    user_attribute_update_settings: Option<UpdateSettings>,
    user_pool_tags: Option<BTreeMap<String, Option<String>>>,
    admin_create_user_config: Option<AdminCreateUserConfig>,
    schema: Option<Vec<SchemaAttributeShape>>,
    username_configuration: Option<UsernameConfiguration>,
    account_recovery_setting: Option<AccountRecoverySetting>,
    mfa_configuration: Option<String>,
    sms_configuration: Option<Value>,
    device_configuration: Option<DeviceConfiguration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeviceConfiguration {
    #[serde(default)]
    challenge_required_on_new_device: bool,
    #[serde(default)]
    device_only_remembered_on_user_prompt: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Policies {
    password_policy: Option<PasswordPolicyShape>,
    sign_in_policy: Option<SignInPolicy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SignInPolicy {
    allowed_first_auth_factors: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PasswordPolicyShape {
    minimum_length: Option<u16>,
    require_uppercase: Option<bool>,
    require_lowercase: Option<bool>,
    require_numbers: Option<bool>,
    require_symbols: Option<bool>,
    password_history_size: Option<u16>,
    temporary_password_validity_days: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateSettings {
    attributes_require_verification_before_update: Option<Vec<SignInAttribute>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AdminCreateUserConfig {
    allow_admin_create_user_only: Option<bool>,
    unused_account_validity_days: Option<u16>,
    invite_message_template: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UsernameConfiguration {
    case_sensitive: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AccountRecoverySetting {
    recovery_mechanisms: Option<Vec<RecoveryOption>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RecoveryOption {
    priority: u8,
    name: String,
}

/// The settings that a request gives to a pool; defaults for what is absent.
pub struct RequestedPool {
    /// The settings.
    pub settings: PoolSettings,
    /// The addresses that are verified before an update, if the request names them.
    pub verify_before_update: Option<Vec<SignInAttribute>>,
    /// Who signs in with a second factor, if the request says so.
    pub mfa_mode: Option<MfaMode>,
}

impl RequestedPool {
    /// Reads the request of `CreateUserPool` or `UpdateUserPool`.
    ///
    /// # Errors
    /// Returns `InvalidParameterException`.
    pub fn read(request: Value) -> Answer<Self> {
        let (mut kept, triggers) = (kept_members(&request), lambda_config::read(&request)?);
        let request: PoolRequest = decode(request)?;
        let admin = request.admin_create_user_config;
        if let Some(template) = admin.as_ref().and_then(|of| of.invite_message_template.clone()) {
            kept.insert(INVITATION.to_owned(), template);
        }
        let verify_before_update = request
            .user_attribute_update_settings
            .map(|of| of.attributes_require_verification_before_update.unwrap_or_default());
        let schema = request.schema.unwrap_or_default().into_iter();
        let unused_days = admin.as_ref().and_then(|of| of.unused_account_validity_days);
        let mfa_mode = request.mfa_configuration.as_deref().map(mode);
        // A new pool with `SmsConfiguration` also sends codes in text messages, as in AWS.
        let sms = request.sms_configuration.map(|_| vec![Factor::SoftwareToken, Factor::Sms]);
        let factors = MfaSettings { mode: MfaMode::Off, factors: sms.unwrap_or_default() };
        let policies = request.policies.unwrap_or_default();
        let settings = PoolSettings {
            mfa: with_mode(&factors, mfa_mode.unwrap_or_default()),
            name: request.pool_name.unwrap_or_default(),
            schema: Schema::new(schema.map(SchemaAttributeShape::declaration).collect::<Answer<_>>()?),
            sign_in: SignInSettings {
                username_attributes: request.username_attributes.unwrap_or_default(),
                alias_attributes: request.alias_attributes.unwrap_or_default(),
                // "This is the default value." (UsernameConfigurationType, CaseSensitive)
                case_sensitive: request.username_configuration.is_none_or(|of| of.case_sensitive),
            },
            password_policy: password_policy(policies.password_policy, unused_days)?,
            first_factors: first_factors(policies.sign_in_policy)?,
            only_administrators_create: admin.and_then(|of| of.allow_admin_create_user_only) == Some(true),
            auto_verified: request.auto_verified_attributes.unwrap_or_default(),
            verify_before_update: verify_before_update.clone().unwrap_or_default(),
            recovery: recovery(request.account_recovery_setting)?,
            devices: request.device_configuration.map(devices).unwrap_or_default(),
            deletion_protection: request.deletion_protection.as_deref() == Some("ACTIVE"),
            tags: tags(request.user_pool_tags),
            triggers,
            kept,
            ..PoolSettings::default()
        };
        Ok(Self { settings, verify_before_update, mfa_mode })
    }
}

/// Returns tags; one without a value has an empty one.
pub fn tags(of: Option<BTreeMap<String, Option<String>>>) -> BTreeMap<String, String> {
    of.unwrap_or_default().into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect()
}

/// Returns the policy. SDKs send no `false`: in a policy that is given, an absent rule is none.
fn password_policy(of: Option<PasswordPolicyShape>, unused_days: Option<u16>) -> Answer<PasswordPolicy> {
    let default = PasswordPolicy::default();
    // "If you submit a value of 0, Amazon Cognito treats it as a null value."
    let unused_days = unused_days.filter(|days| *days > 0);
    let days = of.as_ref().and_then(|of| of.temporary_password_validity_days).filter(|days| *days > 0);
    if days.zip(unused_days).is_some_and(|(days, unused_days)| days != unused_days) {
        return Err(ApiError::invalid_parameter(
            "Please use TemporaryPasswordValidityDays in PasswordPolicy instead of UnusedAccountValidityDays",
        ));
    }
    let validity = days.or(unused_days).unwrap_or(default.temporary_password_validity_days);
    let default = PasswordPolicy { temporary_password_validity_days: validity, ..default };
    Ok(match of {
        Some(of) => PasswordPolicy {
            minimum_length: of.minimum_length.unwrap_or(default.minimum_length),
            require_uppercase: of.require_uppercase.unwrap_or(false),
            require_lowercase: of.require_lowercase.unwrap_or(false),
            require_numbers: of.require_numbers.unwrap_or(false),
            require_symbols: of.require_symbols.unwrap_or(false),
            history_size: of.password_history_size.unwrap_or(0),
            ..default
        },
        None => default,
    })
}

fn devices(of: DeviceConfiguration) -> DeviceSettings {
    let mode = if of.device_only_remembered_on_user_prompt { DeviceMode::OptIn } else { DeviceMode::Always };
    DeviceSettings { mode, replaces_factor: of.challenge_required_on_new_device }
}

/// Returns the first factors; a password alone, if there are none.
fn first_factors(of: Option<SignInPolicy>) -> Answer<Vec<FirstFactor>> {
    let Some(names) = of.and_then(|of| of.allowed_first_auth_factors) else {
        return Ok(vec![FirstFactor::Password]);
    };
    let mut factors = Vec::new();
    for name in names {
        let unknown = || ApiError::invalid_parameter(format!("{name} is not available as a first factor."));
        let factor = FirstFactor::parse(&name).ok_or_else(unknown)?;
        if !factors.contains(&factor) {
            factors.push(factor);
        }
    }
    Ok(factors)
}

/// Returns the recovery: the mechanisms in the order of their priorities, or `admin_only` alone.
fn recovery(of: Option<AccountRecoverySetting>) -> Answer<Recovery> {
    let Some(mut mechanisms) = of.and_then(|of| of.recovery_mechanisms) else {
        return Ok(Recovery::default());
    };
    mechanisms.sort_by_key(|mechanism| mechanism.priority);
    if mechanisms.windows(2).any(|pair| pair[0].priority == pair[1].priority) {
        return Err(ApiError::invalid_parameter("Two recovery mechanisms have the same priority."));
    }
    let names: Vec<&str> = mechanisms.iter().map(|mechanism| mechanism.name.as_str()).collect();
    let address = |name: &&str| match *name {
        "verified_email" => Some(SignInAttribute::Email),
        "verified_phone_number" => Some(SignInAttribute::PhoneNumber),
        _ => None,
    };
    match &*names {
        ["admin_only"] => Ok(Recovery::Administrator),
        names => names.iter().map(address).collect::<Option<_>>().map(Recovery::Addresses).ok_or_else(|| {
            ApiError::invalid_parameter(
                "Account Recovery Setting cannot use admin_only setting with any other recovery mechanisms.",
            )
        }),
    }
}

/// Returns the members to keep, in the form in which Cognito answers them.
fn kept_members(request: &Value) -> Members {
    let given = |name: &str| request.get(name).filter(|value| !value.is_null()).cloned();
    let mut kept: Members = KEPT.iter().filter_map(|name| Some(((*name).to_owned(), given(name)?))).collect();
    if let Some(email) = kept.get_mut("EmailConfiguration").and_then(Value::as_object_mut) {
        email.entry("EmailSendingAccount").or_insert_with(|| "COGNITO_DEFAULT".into());
    }
    let mut template = kept.remove(TEMPLATE).and_then(|value| value.as_object().cloned()).unwrap_or_default();
    template.entry("DefaultEmailOption").or_insert_with(|| "CONFIRM_WITH_CODE".into());
    for (member, name) in MIRRORED {
        if let Some(text) = template.get(name).cloned() {
            kept.insert(member.to_owned(), text);
        } else if let Some(text) = kept.get(member).cloned() {
            template.insert(name.to_owned(), text);
        }
    }
    kept.insert(TEMPLATE.to_owned(), Value::Object(template));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(request: Value) -> PoolSettings {
        RequestedPool::read(request).unwrap_or_else(|error| panic!("{error}")).settings
    }

    #[test]
    fn absent_members_have_cognitos_defaults() {
        let settings = read(json!({ "PoolName": "people", "Unknown": 1, "SmsConfiguration": null }));
        assert!(settings.sign_in.case_sensitive && !settings.deletion_protection);
        assert_eq!(settings.password_policy, PasswordPolicy::default());
        assert_eq!(
            Value::Object(settings.kept),
            json!({ TEMPLATE: { "DefaultEmailOption": "CONFIRM_WITH_CODE" } })
        );
        let policy =
            read(json!({ "Policies": { "PasswordPolicy": { "MinimumLength": 12 } } })).password_policy;
        assert!(!policy.require_symbols && !policy.require_numbers && policy.minimum_length == 12);
    }

    #[test]
    fn messages_and_their_template_repeat_each_other() {
        let kept = read(json!({ "EmailVerificationMessage": "A {####}" })).kept;
        assert_eq!(kept[TEMPLATE]["EmailMessage"], "A {####}");
        let kept = read(json!({ TEMPLATE: { "SmsMessage": "B {####}" } })).kept;
        assert_eq!(kept["SmsVerificationMessage"], "B {####}");
    }

    #[test]
    fn recovery_has_the_order_of_the_priorities() {
        let setting = |mechanisms: &[(u8, &str)]| {
            let of = mechanisms.iter().map(|(priority, name)| json!({ "Priority": priority, "Name": name }));
            let of = json!({ "AccountRecoverySetting": { "RecoveryMechanisms": of.collect::<Vec<_>>() } });
            RequestedPool::read(of).ok().map(|of| of.settings.recovery)
        };
        let order = setting(&[(2, "verified_phone_number"), (1, "verified_email")]);
        assert_eq!(
            order,
            Some(Recovery::Addresses(vec![SignInAttribute::Email, SignInAttribute::PhoneNumber]))
        );
        assert_eq!(setting(&[(1, "admin_only")]), Some(Recovery::Administrator));
        assert_eq!(setting(&[(1, "admin_only"), (2, "verified_email")]), None);
        assert_eq!(setting(&[(1, "verified_phone_number"), (1, "verified_email")]), None);
    }

    #[test]
    fn a_temporary_password_has_one_validity() {
        let days = |policy: u16, unused: u16| {
            let request = json!({
                "Policies": { "PasswordPolicy": { "TemporaryPasswordValidityDays": policy } },
                "AdminCreateUserConfig": { "UnusedAccountValidityDays": unused },
            });
            let read = RequestedPool::read(request).ok()?;
            Some(read.settings.password_policy.temporary_password_validity_days)
        };
        assert_eq!([days(0, 0), days(0, 3), days(5, 0)], [Some(7), Some(3), Some(5)]);
        assert_eq!([days(5, 5), days(5, 3)], [Some(5), None]);
    }
}
