//! Shapes that several operations have in common.

use crate::base::{Secret, Timestamp};
use crate::config::Channel;
use crate::directory::CodeDelivery;
use crate::model::{Attributes, SignInAttribute, User};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// `AttributeType`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attribute {
    /// The name.
    pub name: String,
    /// The value; empty removes the attribute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// String values by name: `AuthParameters`, `ClientMetadata`, `ChallengeParameters`.
pub type Parameters = BTreeMap<String, String>;

/// Returns the values of a list by name: `ValidationData`.
pub fn values_of(list: Vec<Attribute>) -> Parameters {
    list.into_iter().map(|Attribute { name, value }| (name, value.unwrap_or_default())).collect()
}

/// Returns attributes as the directory has them. Of two of one name the last is taken.
pub fn attributes_of(list: Option<Vec<Attribute>>) -> Attributes {
    let list = list.unwrap_or_default();
    list.into_iter().map(|Attribute { name, value }| (name, value.unwrap_or_default())).collect()
}

/// Returns attributes as `AttributeListType`.
pub fn attribute_list(attributes: &Attributes) -> Vec<Attribute> {
    let attribute =
        |(name, value): (&str, &str)| Attribute { name: name.to_owned(), value: Some(value.to_owned()) };
    attributes.iter().map(attribute).collect()
}

/// Returns all attributes of a user, `sub` first, as Cognito answers them.
pub fn attributes_of_user(user: &User) -> Vec<Attribute> {
    readable_attributes_of_user(user, |_| true)
}

/// Returns the attributes of a user that `may_read` names, with `sub` before them and `identities`
/// after them.
pub fn readable_attributes_of_user(user: &User, may_read: impl Fn(&str) -> bool) -> Vec<Attribute> {
    let all = user.all_attributes().into_iter();
    let readable = all.filter(|(name, _)| matches!(*name, "sub" | "identities") || may_read(name));
    let attribute =
        |(name, value): (&str, _)| Attribute { name: name.to_owned(), value: Some(Cow::into_owned(value)) };
    readable.map(attribute).collect()
}

/// A time as seconds since 1970, with milliseconds as the fraction.
#[derive(Clone, Copy, Debug)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (seconds, millis) = (self.0.millis().div_euclid(1000), self.0.millis().rem_euclid(1000));
        // Exact for every time: below 2^53 milliseconds.
        #[expect(clippy::cast_precision_loss, reason = "times are below 2^53")]
        let number = seconds as f64 + millis as f64 / 1000.0;
        serializer.serialize_f64(number)
    }
}

/// `UserType`
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct UserShape {
    username: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Vec<Attribute>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_attributes: Option<Vec<Attribute>>,
    user_create_date: Time,
    user_last_modified_date: Time,
    enabled: bool,
    user_status: &'static str,
}

impl UserShape {
    /// Returns a user with these attributes.
    pub fn new(user: &User, attributes: Vec<Attribute>) -> Self {
        Self {
            username: user.username.clone(),
            attributes: Some(attributes),
            user_attributes: None,
            user_create_date: Time(user.created_at),
            user_last_modified_date: Time(user.updated_at),
            enabled: user.enabled,
            user_status: user.status.name(),
        }
    }
}

impl UserShape {
    /// Returns a user with the attributes in `UserAttributes`, as `AdminGetUser` has them.
    pub fn with_user_attributes(user: &User, attributes: Vec<Attribute>) -> Self {
        Self { attributes: None, user_attributes: Some(attributes), ..Self::new(user, Vec::new()) }
    }
}

/// `CodeDeliveryDetailsType`
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CodeDeliveryDetails {
    destination: String,
    delivery_medium: &'static str,
    attribute_name: &'static str,
}

impl From<CodeDelivery> for CodeDeliveryDetails {
    fn from(delivery: CodeDelivery) -> Self {
        let medium = match delivery.channel {
            Channel::Email => "EMAIL",
            Channel::Sms => "SMS",
        };
        Self {
            destination: delivery.destination,
            delivery_medium: medium,
            attribute_name: delivery.attribute.name(),
        }
    }
}

/// A response whose only member says where a code was sent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CodeSent {
    code_delivery_details: CodeDeliveryDetails,
}

impl From<CodeDelivery> for CodeSent {
    fn from(delivery: CodeDelivery) -> Self {
        Self { code_delivery_details: delivery.into() }
    }
}

/// Reads a member that logs must not show.
pub fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

/// As [`secret`], for an optional member.
pub fn optional_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}

/// Returns the address attribute of this name.
pub fn address_attribute(name: &str) -> Option<SignInAttribute> {
    [SignInAttribute::Email, SignInAttribute::PhoneNumber].into_iter().find(|known| known.name() == name)
}

/// Returns attributes as a JSON object in a string, as `NEW_PASSWORD_REQUIRED` has them.
pub fn attribute_object(attributes: &Attributes) -> String {
    serde_json::to_string(attributes).unwrap_or_default()
}
