//! User pools, with their settings and groups.

use super::{DeviceSettings, FirstFactor, MfaSettings, PasswordPolicy, Schema};
use crate::base::Timestamp;
use crate::config::PoolTriggers;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Members of an API's request by name, as they were given.
pub type Members = serde_json::Map<String, serde_json::Value>;

/// A stored user pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The number by which database rows refer to the pool.
    pub no: i64,
    /// The id in the API, in tokens and in ARNs.
    pub id: String,
    /// Where the pool is declared.
    pub source: PoolSource,
    /// The settings.
    pub settings: PoolSettings,
    /// The number of changes, starting at 1.
    pub version: i64,
    /// Whether the pool is being deleted.
    pub state: PoolState,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
}

/// Where a pool is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolSource {
    /// In the configuration file.
    File,
    /// In a request to the API.
    Api,
}

/// Whether a pool is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolState {
    /// In use.
    Live,
    /// Being deleted: its rows are removed in batches.
    Deleting,
}

/// The settings of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolSettings {
    /// The name, which need not be unique.
    pub name: String,
    /// The attributes that users can have.
    pub schema: Schema,
    /// The names with which users sign in. Fixed when the pool is created.
    pub sign_in: SignInSettings,
    /// The limits on groups.
    pub quotas: Quotas,
    /// The rules for new passwords.
    pub password_policy: PasswordPolicy,
    /// Whether only administrators create users (`AllowAdminCreateUserOnly`).
    pub only_administrators_create: bool,
    /// The addresses to which a code is sent at sign-up. Entering the code verifies the address.
    pub auto_verified: Vec<SignInAttribute>,
    /// The addresses whose earlier value is kept until the new one is verified
    /// (`AttributesRequireVerificationBeforeUpdate`).
    pub verify_before_update: Vec<SignInAttribute>,
    /// The address to which the code for a forgotten password is sent.
    pub recovery: Recovery,
    /// Whether a user whose temporary password was never replaced can set a new one with a code.
    pub temporary_password_recovery: bool,
    /// The first factors.
    pub first_factors: Vec<FirstFactor>,
    /// The second factors.
    pub mfa: MfaSettings,
    /// The remembered devices.
    pub devices: DeviceSettings,
    /// Whether the pool cannot be deleted.
    pub deletion_protection: bool,
    /// The JOSE name of the signature algorithm of new signing keys.
    pub signing_algorithm: String,
    /// The tags.
    pub tags: BTreeMap<String, String>,
    /// The functions that are called at events.
    pub triggers: PoolTriggers,
    /// Members of Cognito's API that have no effect here, or whose form the other settings do not
    /// hold. Responses repeat them.
    pub kept: Members,
}

impl Default for PoolSettings {
    /// Returns Cognito's defaults.
    fn default() -> Self {
        Self {
            name: String::new(),
            schema: Schema::default(),
            sign_in: SignInSettings::default(),
            quotas: Quotas::default(),
            password_policy: PasswordPolicy::default(),
            only_administrators_create: false,
            auto_verified: Vec::new(),
            verify_before_update: Vec::new(),
            recovery: Recovery::default(),
            temporary_password_recovery: false,
            first_factors: vec![FirstFactor::Password],
            mfa: MfaSettings::default(),
            devices: DeviceSettings::default(),
            deletion_protection: false,
            signing_algorithm: "RS256".to_owned(),
            tags: BTreeMap::new(),
            triggers: PoolTriggers::default(),
            kept: Members::new(),
        }
    }
}

/// The address to which the code for a forgotten password is sent (`AccountRecoverySetting`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recovery {
    /// The first of these addresses that the user has verified.
    Addresses(Vec<SignInAttribute>),
    /// No address: an administrator sets a new password (`admin_only`).
    Administrator,
}

impl Default for Recovery {
    /// Returns Cognito's default order: a verified phone number, then a verified e-mail address.
    fn default() -> Self {
        Self::Addresses(vec![SignInAttribute::PhoneNumber, SignInAttribute::Email])
    }
}

/// The names with which users sign in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SignInSettings {
    /// The attributes that replace the user name at sign-in.
    pub username_attributes: Vec<SignInAttribute>,
    /// The attributes that are sign-in names in addition to the user name.
    pub alias_attributes: Vec<SignInAttribute>,
    /// Whether names that differ only in case belong to different users.
    pub case_sensitive: bool,
}

/// An attribute that can be a sign-in name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignInAttribute {
    /// `email`
    Email,
    /// `phone_number`
    PhoneNumber,
    /// `preferred_username`
    PreferredUsername,
}

impl SignInAttribute {
    /// Returns the name of the attribute.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::PhoneNumber => "phone_number",
            Self::PreferredUsername => "preferred_username",
        }
    }

    /// Returns the name of the attribute that states its verification, if there is one.
    pub fn verified_name(self) -> Option<&'static str> {
        match self {
            Self::Email => Some("email_verified"),
            Self::PhoneNumber => Some("phone_number_verified"),
            Self::PreferredUsername => None,
        }
    }
}

/// The limits on a pool's groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quotas {
    /// Maximum number of groups of the pool.
    pub groups: u32,
    /// Maximum number of groups of a user.
    pub groups_of_user: u32,
}

impl Default for Quotas {
    /// Returns Cognito's quotas: "10,000 groups a pool, 100 a user".
    fn default() -> Self {
        Self { groups: 10_000, groups_of_user: 100 }
    }
}

impl Default for Pool {
    /// Returns a pool that is not stored, with the default settings.
    fn default() -> Self {
        Self {
            no: 0,
            id: String::new(),
            source: PoolSource::File,
            settings: PoolSettings::default(),
            version: 1,
            state: PoolState::Live,
            created_at: Timestamp::from_millis(0),
            updated_at: Timestamp::from_millis(0),
        }
    }
}

/// A group of a user pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserGroup {
    /// The number by which database rows refer to the group.
    pub no: i64,
    /// The number of the group's pool.
    pub pool: i64,
    /// The name, unique in the pool.
    pub name: String,
    /// A description; may be empty.
    pub description: String,
    /// The ARN of the members' role; may be empty.
    pub role: String,
    /// The rank of the group's role: the lowest number applies.
    pub precedence: Option<u32>,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
}
