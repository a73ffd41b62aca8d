//! The event of an unknown user, who may be known to another system.

use super::event::{Event, Metadata};
use crate::config::TriggerEvent;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The event of an unknown user.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserMigration<'a> {
    /// The password; none after a forgotten one.
    pub password: Option<&'a str>,
    /// What the app sends for the validation of a sign-in.
    pub validation_data: Option<&'a Metadata>,
    /// What the app sends with a forgotten password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_metadata: Option<&'a Metadata>,
}

impl std::fmt::Debug for UserMigration<'_> {
    /// Leaves out the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserMigration").finish_non_exhaustive()
    }
}

/// The answer to [`UserMigration`]: the user to create, or no attributes for nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MigratedUser {
    /// The attributes.
    pub user_attributes: Option<BTreeMap<String, String>>,
    /// The status: `CONFIRMED`; the user has to set a new password with another one.
    pub final_user_status: Option<String>,
    /// Whether a message is sent. Narthex sends none.
    pub message_action: Option<String>,
    /// The kinds of the message.
    pub desired_delivery_mediums: Option<Vec<String>>,
    /// What becomes of a verified alias that another user holds.
    pub force_alias_creation: Option<bool>,
    /// Whether a text message is a second factor; of no effect.
    #[serde(rename = "enableSMSMFA", skip_serializing_if = "Option::is_none")]
    pub enable_sms_mfa: Option<bool>,
}

impl Event for UserMigration<'_> {
    const EVENT: TriggerEvent = TriggerEvent::UserMigration;
    type Response = MigratedUser;
}
