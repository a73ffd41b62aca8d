//! Events of sign-ins.

use super::event::{Event, Metadata, NoResponse};
use crate::config::TriggerEvent;
use serde::Serialize;
use std::collections::BTreeMap;

/// The event before a password is compared.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreAuthentication<'a> {
    /// The attributes of the user; none of a user who does not exist.
    pub user_attributes: BTreeMap<String, String>,
    /// What the app sends.
    pub validation_data: Option<&'a Metadata>,
    /// Whether there is no such user. The function is asked nevertheless where users are hidden.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub user_not_found: bool,
}

impl Event for PreAuthentication<'_> {
    const EVENT: TriggerEvent = TriggerEvent::PreAuthentication;
    type Response = NoResponse;
}

/// The event after a sign-in.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PostAuthentication<'a> {
    /// The attributes of the user.
    pub user_attributes: BTreeMap<String, String>,
    /// Whether the user signed in with a device for the first time.
    pub new_device_used: bool,
    /// What the app sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_metadata: Option<&'a Metadata>,
}

impl Event for PostAuthentication<'_> {
    const EVENT: TriggerEvent = TriggerEvent::PostAuthentication;
    type Response = NoResponse;
}
