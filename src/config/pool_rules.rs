//! Keys of `[[user_pool]]` for sign-in, sign-up, verification and recovery.

use super::client_sign_in::distinct;
use super::item::Item;
use super::key::{Key, Nested, Shape, Type};
use super::password_policy::{self, PasswordRules};
use super::pool_attribute::{self, MAX_CUSTOM, PoolAttribute};
use super::reader::Table;
use super::types::FLAG;

const ADDRESS_CHOICES: &[(&str, ContactAttribute)] =
    &[("email", ContactAttribute::Email), ("phone_number", ContactAttribute::PhoneNumber)];
const ADDRESS_WORDS: &[&str] = &["email", "phone_number"];
/// The value type of distinct contact attributes.
const ADDRESSES: Type<Vec<ContactAttribute>> =
    Type::Read(Shape::OneOrMore(&Shape::Words(ADDRESS_WORDS)), |item| {
        Some(distinct(item, |item| item.choice(ADDRESS_CHOICES)))
    });
const NONE: &str = "none";

pub(super) const USERNAME_ATTRIBUTES: Key<Vec<ContactAttribute>> = Key::new(
    "username_attributes",
    ADDRESSES,
    "Attributes that users sign in with instead of a user name. Fixed when the pool is created.",
)
.example("[\"email\"]");
pub(super) const ALIAS_ATTRIBUTES: Key<Vec<ContactAttribute>> = Key::new(
    "alias_attributes",
    Type::Read(Shape::OneOrMore(&Shape::Words(&["email", "phone_number", "preferred_username"])), |item| {
        let choices = [
            ADDRESS_CHOICES[0],
            ADDRESS_CHOICES[1],
            ("preferred_username", ContactAttribute::PreferredUsername),
        ];
        Some(distinct(item, |item| item.choice(&choices)))
    }),
    "Verified attributes that users sign in with besides the user name. Fixed when the pool is created.",
)
.example("[\"email\", \"preferred_username\"]");
pub(super) const CASE_SENSITIVE: Key<bool> = Key::new(
    "case_sensitive",
    FLAG,
    "Whether names that differ in case are of different users. Fixed when the pool is created.",
)
.default("false");
pub(super) const SIGN_UP: Key<bool> =
    Key::new("sign_up", FLAG, "Whether users can sign up. If not, only administrators create users.")
        .default("false");
pub(super) const PASSWORD_SIGN_IN: Key<bool> = Key::new(
    "password_sign_in",
    FLAG,
    "Whether users of the first pool can sign in to the apps of `[[route]]` with a password. App clients have \
     `identity_providers` for that.",
)
.default("false");
pub(super) const AUTO_VERIFIED: Key<Vec<ContactAttribute>> = Key::new(
    "auto_verified",
    Type::Read(Shape::OneOrMore(&Shape::Words(&["email", "phone_number", NONE])), addresses_or_none),
    "Addresses to which a code is sent at sign-up, or `\"none\"`.",
)
.default("[\"email\"]");
pub(super) const VERIFY_BEFORE_UPDATE: Key<Vec<ContactAttribute>> = Key::new(
    "verify_before_update",
    Type::Read(Shape::OneOrMore(&Shape::Words(&["email", "phone_number", NONE])), addresses_or_none),
    "Addresses whose earlier value stays until the new one is verified, or `\"none\"`.",
)
.default("[\"email\", \"phone_number\"]");
pub(super) const RECOVERY: Key<RecoveryRule> = Key::new(
    "recovery",
    Type::Read(Shape::OneOrMore(&Shape::Words(&["phone_number", "email", "admin_only"])), recovery),
    "Where the code for a forgotten password is sent: the first address that the user has verified. `\"admin_only\"` for none.",
)
.default("[\"phone_number\", \"email\"]");
pub(super) const TEMPORARY_PASSWORD_RECOVERY: Key<bool> = Key::new(
    "temporary_password_recovery",
    FLAG,
    "Whether a user whose temporary password was never replaced can set a new one with a code.",
)
.default("false");
const MFA_CHOICES: &[(&str, MfaRule)] =
    &[("off", MfaRule::Off), ("optional", MfaRule::Optional), ("required", MfaRule::Required)];
const FACTOR_CHOICES: &[(&str, FactorRule)] =
    &[("software_token", FactorRule::SoftwareToken), ("email", FactorRule::Email), ("sms", FactorRule::Sms)];
pub(super) const MFA: Key<MfaRule> = Key::new(
    "mfa",
    Type::Read(Shape::Words(&["off", "optional", "required"]), |item| item.choice(MFA_CHOICES)),
    "Whether users with a password sign in with a second factor: nobody, those who have set one up, or all.",
)
.default("\"off\"");
pub(super) const MFA_FACTORS: Key<Vec<FactorRule>> = Key::new(
    "mfa_factors",
    Type::Read(Shape::OneOrMore(&Shape::Words(&["software_token", "email", "sms"])), |item| {
        Some(distinct(item, |item| item.choice(FACTOR_CHOICES)))
    }),
    "The second factors that users can have: an authenticator app, codes in e-mails, codes in text messages.",
)
.default("[\"software_token\"]");
const FIRST_FACTOR_CHOICES: &[(&str, FirstFactorRule)] = &[
    ("password", FirstFactorRule::Password),
    ("email", FirstFactorRule::Email),
    ("sms", FirstFactorRule::Sms),
];
pub(super) const FIRST_FACTORS: Key<Vec<FirstFactorRule>> = Key::new(
    "first_factors",
    Type::Read(Shape::OneOrMore(&Shape::Words(&["password", "email", "sms"])), |item| {
        Some(distinct(item, |item| item.choice(FIRST_FACTOR_CHOICES)))
    }),
    "What users can sign in with: a password, a code in an e-mail, a code in a text message.",
)
.default("[\"password\"]");
const DEVICE_CHOICES: &[(&str, DeviceRule)] =
    &[("off", DeviceRule::Off), ("always", DeviceRule::Always), ("opt_in", DeviceRule::OptIn)];
pub(super) const REMEMBERED_DEVICES: Key<DeviceRule> = Key::new(
    "remembered_devices",
    Type::Read(Shape::Words(&["off", "always", "opt_in"]), |item| item.choice(DEVICE_CHOICES)),
    "Which devices of users of the Cognito API are remembered: none, all, or those of users who want it.",
)
.default("\"off\"");
pub(super) const DEVICE_REPLACES_FACTOR: Key<bool> = Key::new(
    "device_replaces_factor",
    FLAG,
    "Whether a sign-in with a remembered device needs no second factor.",
)
.default("false");
pub(super) const DELETION_PROTECTION: Key<bool> =
    Key::new("deletion_protection", FLAG, "Whether the pool cannot be deleted.").default("false");
pub(super) const PASSWORD_POLICY: Key<Nested> = Key::table("password_policy", &password_policy::SECTION);
pub(super) const ATTRIBUTES: Key<Nested> = Key::tables("attribute", &pool_attribute::SECTION);

/// An attribute that is a sign-in name or a contact address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactAttribute {
    /// `email`
    Email,
    /// `phone_number`
    PhoneNumber,
    /// `preferred_username`
    PreferredUsername,
}

/// The address to which the code for a forgotten password is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoveryRule {
    /// The first of these addresses that the user has verified.
    Addresses(Vec<ContactAttribute>),
    /// No address: only an administrator can reset the password.
    Administrator,
}

/// Whether users sign in with a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MfaRule {
    /// Nobody does.
    Off,
    /// Those who have set one up.
    Optional,
    /// All users.
    Required,
}

/// A second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorRule {
    /// An authenticator app.
    SoftwareToken,
    /// A code in an e-mail.
    Email,
    /// A code in a text message.
    Sms,
}

/// A first factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstFactorRule {
    /// A password.
    Password,
    /// A code in an e-mail.
    Email,
    /// A code in a text message.
    Sms,
}

/// Which devices are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRule {
    /// None.
    Off,
    /// All.
    Always,
    /// Those of users who want it.
    OptIn,
}

/// The rules of a user pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRules {
    /// The attributes that replace the user name at sign-in.
    pub username_attributes: Vec<ContactAttribute>,
    /// The attributes that are sign-in names in addition to the user name.
    pub alias_attributes: Vec<ContactAttribute>,
    /// Whether names that differ only in case belong to different users.
    pub case_sensitive: bool,
    /// Whether users can sign up.
    pub sign_up: bool,
    /// Whether users can sign in to the apps of routes with a password.
    pub password_sign_in: bool,
    /// The addresses to which a code is sent at sign-up.
    pub auto_verified: Vec<ContactAttribute>,
    /// The addresses whose earlier value is kept until the new one is verified.
    pub verify_before_update: Vec<ContactAttribute>,
    /// The address to which the code for a forgotten password is sent.
    pub recovery: RecoveryRule,
    /// Whether the pool cannot be deleted.
    pub deletion_protection: bool,
    /// Whether a user can use a code instead of a temporary password that was never replaced.
    pub temporary_password_recovery: bool,
    /// What users can sign in with.
    pub first_factors: Vec<FirstFactorRule>,
    /// Whether users sign in with a second factor.
    pub mfa: MfaRule,
    /// The second factors that users can have.
    pub mfa_factors: Vec<FactorRule>,
    /// Which devices are remembered.
    pub remembered_devices: DeviceRule,
    /// Whether a remembered device replaces the second factor.
    pub device_replaces_factor: bool,
    /// The rules for new passwords.
    pub password_policy: PasswordRules,
    /// The declared attributes.
    pub attributes: Vec<PoolAttribute>,
}

impl PoolRules {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let username_attributes = table.read(&USERNAME_ATTRIBUTES).unwrap_or_default();
        let alias_attributes = table.read(&ALIAS_ATTRIBUTES).unwrap_or_default();
        let case_sensitive = table.read(&CASE_SENSITIVE);
        let sign_up = table.read(&SIGN_UP);
        let password_sign_in = table.read(&PASSWORD_SIGN_IN);
        let auto_verified = table.read(&AUTO_VERIFIED);
        let verify_before_update = table.read(&VERIFY_BEFORE_UPDATE);
        let recovery = table.read(&RECOVERY);
        let deletion_protection = table.read(&DELETION_PROTECTION);
        let first_factors = table.read(&FIRST_FACTORS);
        let mfa = table.read(&MFA);
        let mfa_factors = table.read(&MFA_FACTORS);
        let remembered_devices = table.read(&REMEMBERED_DEVICES);
        let device_replaces_factor = table.read(&DEVICE_REPLACES_FACTOR);
        let temporary_password_recovery = table.read(&TEMPORARY_PASSWORD_RECOVERY);
        let password_policy = table.table(&PASSWORD_POLICY).and_then(|table| PasswordRules::read(&table));
        let attributes = table.distinct(&ATTRIBUTES, PoolAttribute::read, |attribute| {
            (attribute.name.clone(), format!("two attributes are named \"{}\"", attribute.name))
        });
        if !username_attributes.is_empty() && !alias_attributes.is_empty() {
            table.report(
                "a user pool has `username_attributes` or `alias_attributes`, not both",
                "remove one of them",
            );
        }
        if attributes.iter().filter(|attribute| attribute.is_custom()).count() > MAX_CUSTOM {
            table.report(
                format!("a user pool has at most {MAX_CUSTOM} custom attributes"),
                "remove some of them",
            );
        }
        Some(Self {
            username_attributes,
            alias_attributes,
            case_sensitive: case_sensitive?,
            sign_up: sign_up?,
            password_sign_in: password_sign_in?,
            auto_verified: auto_verified?,
            verify_before_update: verify_before_update?,
            recovery: recovery?,
            deletion_protection: deletion_protection?,
            temporary_password_recovery: temporary_password_recovery?,
            first_factors: first_factors?,
            mfa: mfa?,
            mfa_factors: mfa_factors?,
            remembered_devices: remembered_devices?,
            device_replaces_factor: device_replaces_factor?,
            password_policy: password_policy?,
            attributes,
        })
    }
}

/// Reads addresses, or the word `none`.
fn addresses_or_none(item: &Item<'_>) -> Option<Vec<ContactAttribute>> {
    let choices = [
        (ADDRESS_CHOICES[0].0, Some(ADDRESS_CHOICES[0].1)),
        (ADDRESS_CHOICES[1].0, Some(ADDRESS_CHOICES[1].1)),
        (NONE, None),
    ];
    let values = distinct(item, |item| item.choice(&choices));
    if values.contains(&None) && values.len() > 1 {
        item.report(
            format!("`{}` has \"none\" and addresses", item.key),
            "remove \"none\", or the addresses",
        );
        return None;
    }
    Some(values.into_iter().flatten().collect())
}

fn recovery(item: &Item<'_>) -> Option<RecoveryRule> {
    let choices = [
        (ADDRESS_CHOICES[0].0, Some(ADDRESS_CHOICES[0].1)),
        (ADDRESS_CHOICES[1].0, Some(ADDRESS_CHOICES[1].1)),
        ("admin_only", None),
    ];
    let values = distinct(item, |item| item.choice(&choices));
    match values.as_slice() {
        [None] => Some(RecoveryRule::Administrator),
        values if values.contains(&None) => {
            item.report(
                "`recovery` has \"admin_only\" and addresses",
                "write recovery = \"admin_only\", or the addresses",
            );
            None
        }
        values => Some(RecoveryRule::Addresses(values.iter().flatten().copied().collect())),
    }
}
