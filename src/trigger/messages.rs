//! The event before a message is written.

use super::event::{Event, Metadata};
use crate::config::TriggerEvent;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The placeholder of the code or the temporary password.
pub const CODE_PARAMETER: &str = "{####}";
/// The placeholder of the user name.
pub const USERNAME_PARAMETER: &str = "{username}";
/// The placeholder of a link that confirms without a code.
pub const LINK_PARAMETER: &str = "{##Click Here##}";

/// The event before a message is written.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomMessage<'a> {
    /// The attributes of the user.
    pub user_attributes: BTreeMap<String, String>,
    /// The placeholder of the code. The function does not get the code itself.
    pub code_parameter: &'static str,
    /// The placeholder of the user name, in invitations.
    pub username_parameter: Option<&'static str>,
    /// The placeholder of a link.
    pub link_parameter: &'static str,
    /// What the app sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_metadata: Option<&'a Metadata>,
}

/// The answer to [`CustomMessage`]: texts in the place of those of the pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomMessageAnswer {
    /// The text message.
    pub sms_message: Option<String>,
    /// The e-mail, as HTML.
    pub email_message: Option<String>,
    /// The subject of the e-mail.
    pub email_subject: Option<String>,
}

impl Event for CustomMessage<'_> {
    const EVENT: TriggerEvent = TriggerEvent::CustomMessage;
    type Response = CustomMessageAnswer;
}
