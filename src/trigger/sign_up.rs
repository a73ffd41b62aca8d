//! Events of new users.

use super::event::{Event, Metadata, NoResponse};
use crate::config::TriggerEvent;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The event before a user is added.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PreSignUp<'a> {
    /// The attributes of the user.
    pub user_attributes: BTreeMap<&'a str, &'a str>,
    /// What the app sends for the validation of the sign-up.
    pub validation_data: Option<&'a Metadata>,
    /// What the app sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_metadata: Option<&'a Metadata>,
}

/// The answer to [`PreSignUp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PreSignUpAnswer {
    /// Whether the user needs no code.
    pub auto_confirm_user: Option<bool>,
    /// Whether the e-mail address is verified.
    pub auto_verify_email: Option<bool>,
    /// Whether the telephone number is verified.
    pub auto_verify_phone: Option<bool>,
}

impl Default for PreSignUpAnswer {
    /// Returns an answer that changes nothing.
    fn default() -> Self {
        let no = Some(false);
        Self { auto_confirm_user: no, auto_verify_email: no, auto_verify_phone: no }
    }
}

impl Event for PreSignUp<'_> {
    const EVENT: TriggerEvent = TriggerEvent::PreSignUp;
    type Response = PreSignUpAnswer;
}

/// The event after a sign-up or a new password was confirmed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PostConfirmation<'a> {
    /// The attributes of the user.
    pub user_attributes: BTreeMap<String, String>,
    /// What the app sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_metadata: Option<&'a Metadata>,
}

impl Event for PostConfirmation<'_> {
    const EVENT: TriggerEvent = TriggerEvent::PostConfirmation;
    type Response = NoResponse;
}
