//! `[user_pool.triggers]`: which function is called at which event of a user pool.

use super::key::{Key, Section, Type};
use super::reader::Table;
use super::types::TEXT;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(super) const SECTION: Section = Section {
    header: "[user_pool.triggers]",
    about: "Functions that are called at events of the pool: names of `[[trigger]]`.",
    keys: &[
        &PRE_SIGN_UP,
        &POST_CONFIRMATION,
        &PRE_AUTHENTICATION,
        &POST_AUTHENTICATION,
        &PRE_TOKEN_GENERATION,
        &PRE_TOKEN_GENERATION_VERSION,
        &USER_MIGRATION,
        &CUSTOM_MESSAGE,
        &DEFINE_AUTH_CHALLENGE,
        &CREATE_AUTH_CHALLENGE,
        &VERIFY_AUTH_CHALLENGE,
        &INBOUND_FEDERATION,
    ],
};
const PRE_SIGN_UP: Key<String> = Key::new(
    "pre_sign_up",
    TEXT,
    "Function that accepts or denies a new user, and may confirm the user or the addresses.",
)
.example("\"check-invitation\"");
const POST_CONFIRMATION: Key<String> = Key::new(
    "post_confirmation",
    TEXT,
    "Function that is called after a sign-up or a new password was confirmed.",
)
.example("\"welcome\"");
const PRE_AUTHENTICATION: Key<String> = Key::new(
    "pre_authentication",
    TEXT,
    "Function that allows or denies a sign-in before the password is compared.",
)
.example("\"office-hours\"");
const POST_AUTHENTICATION: Key<String> =
    Key::new("post_authentication", TEXT, "Function that is called after a sign-in.")
        .example("\"record-sign-in\"");
const PRE_TOKEN_GENERATION: Key<String> =
    Key::new("pre_token_generation", TEXT, "Function that changes the claims of tokens.")
        .example("\"claims\"");
const PRE_TOKEN_GENERATION_VERSION: Key<u8> = Key::new(
    "pre_token_generation_version",
    Type::ProviderChoice(&[("V1_0", 1), ("V2_0", 2), ("V3_0", 3)]),
    "Version of its event: `V1_0` changes ID tokens, `V2_0` also access tokens, `V3_0` also those of client credentials.",
)
.default("\"V1_0\"");
const USER_MIGRATION: Key<String> = Key::new(
    "user_migration",
    TEXT,
    "Function that is asked about unknown users. It gets their passwords, and may return the user to create.",
)
.example("\"old-directory\"");
const CUSTOM_MESSAGE: Key<String> =
    Key::new("custom_message", TEXT, "Function that writes the texts of messages.").example("\"texts\"");

const DEFINE_AUTH_CHALLENGE: Key<String> = Key::new(
    "define_auth_challenge",
    TEXT,
    "Function that decides which challenge follows in the flow `CUSTOM_AUTH`, and when it ends.",
)
.example("\"captcha\"");
const CREATE_AUTH_CHALLENGE: Key<String> =
    Key::new("create_auth_challenge", TEXT, "Function that makes a challenge of that flow.")
        .example("\"captcha\"");
const VERIFY_AUTH_CHALLENGE: Key<String> = Key::new(
    "verify_auth_challenge_response",
    TEXT,
    "Function that compares the answer to a challenge of that flow.",
)
.example("\"captcha\"");

const INBOUND_FEDERATION: Key<String> = Key::new(
    "inbound_federation",
    TEXT,
    "Function that changes what an identity provider says of a user, before it is mapped to attributes and groups.",
)
.example("\"clean-up\"");

/// An event of a user pool at which a function can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TriggerEvent {
    /// Before a user is added.
    PreSignUp,
    /// After a sign-up or a new password was confirmed.
    PostConfirmation,
    /// Before a password is compared.
    PreAuthentication,
    /// After a sign-in.
    PostAuthentication,
    /// Before tokens are signed.
    PreTokenGeneration,
    /// At a sign-in or a forgotten password of an unknown user.
    UserMigration,
    /// Before a message is written.
    CustomMessage,
    /// Before the next challenge of a sign-in.
    DefineAuthChallenge,
    /// When a challenge is made.
    CreateAuthChallenge,
    /// When the answer to a challenge is compared.
    VerifyAuthChallenge,
    /// Before what a provider says of a user is mapped to attributes.
    InboundFederation,
}

/// Each event with its key in the file and in the store, and its member of Cognito's
/// `LambdaConfig`.
pub const TRIGGER_EVENTS: [(TriggerEvent, &str, &str); 11] = [
    (TriggerEvent::PreSignUp, "pre_sign_up", "PreSignUp"),
    (TriggerEvent::PostConfirmation, "post_confirmation", "PostConfirmation"),
    (TriggerEvent::PreAuthentication, "pre_authentication", "PreAuthentication"),
    (TriggerEvent::PostAuthentication, "post_authentication", "PostAuthentication"),
    (TriggerEvent::PreTokenGeneration, "pre_token_generation", "PreTokenGeneration"),
    (TriggerEvent::UserMigration, "user_migration", "UserMigration"),
    (TriggerEvent::CustomMessage, "custom_message", "CustomMessage"),
    (TriggerEvent::DefineAuthChallenge, "define_auth_challenge", "DefineAuthChallenge"),
    (TriggerEvent::CreateAuthChallenge, "create_auth_challenge", "CreateAuthChallenge"),
    (TriggerEvent::VerifyAuthChallenge, "verify_auth_challenge_response", "VerifyAuthChallengeResponse"),
    (TriggerEvent::InboundFederation, "inbound_federation", "InboundFederation"),
];

impl TriggerEvent {
    /// Returns the key in the file and in the store.
    pub fn key(self) -> &'static str {
        TRIGGER_EVENTS.iter().find(|(event, ..)| *event == self).map_or("", |(_, key, _)| key)
    }

    /// Returns the name of Cognito's API, which is also in its errors.
    pub fn name(self) -> &'static str {
        TRIGGER_EVENTS.iter().find(|(event, ..)| *event == self).map_or("", |(.., name)| name)
    }
}

/// The functions of a user pool: the name of a `[[trigger]]` for each event that has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolTriggers {
    /// The names by the keys of events. A node of another version keeps keys that it does not know.
    pub names: BTreeMap<String, String>,
    /// The version of the event before tokens are signed: 1, 2 or 3.
    pub token_version: u8,
}

impl Default for PoolTriggers {
    /// Returns no functions.
    fn default() -> Self {
        Self { names: BTreeMap::new(), token_version: 1 }
    }
}

impl PoolTriggers {
    /// Returns the name of the function for an event.
    pub fn name(&self, event: TriggerEvent) -> Option<&str> {
        self.names.get(event.key()).map(String::as_str)
    }

    /// Sets the function for an event.
    pub fn set(&mut self, event: TriggerEvent, name: String) {
        self.names.insert(event.key().to_owned(), name);
    }

    /// Reads the table. `known` has the names of the functions.
    pub(super) fn read(table: &Table<'_>, known: &[String]) -> Option<Self> {
        let mut triggers = Self::default();
        for (event, key) in [
            (TriggerEvent::PreSignUp, &PRE_SIGN_UP),
            (TriggerEvent::PostConfirmation, &POST_CONFIRMATION),
            (TriggerEvent::PreAuthentication, &PRE_AUTHENTICATION),
            (TriggerEvent::PostAuthentication, &POST_AUTHENTICATION),
            (TriggerEvent::PreTokenGeneration, &PRE_TOKEN_GENERATION),
            (TriggerEvent::UserMigration, &USER_MIGRATION),
            (TriggerEvent::CustomMessage, &CUSTOM_MESSAGE),
            (TriggerEvent::DefineAuthChallenge, &DEFINE_AUTH_CHALLENGE),
            (TriggerEvent::CreateAuthChallenge, &CREATE_AUTH_CHALLENGE),
            (TriggerEvent::VerifyAuthChallenge, &VERIFY_AUTH_CHALLENGE),
            (TriggerEvent::InboundFederation, &INBOUND_FEDERATION),
        ] {
            if let Some(name) = table.get(key).and_then(|item| item.name_of("trigger", known)) {
                triggers.set(event, name);
            }
        }
        let version = table.read(&PRE_TOKEN_GENERATION_VERSION);
        table.finish();
        triggers.token_version = version?;
        Some(triggers)
    }
}
