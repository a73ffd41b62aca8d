//! Events of custom challenges.

use super::event::{Event, Metadata};
use crate::config::TriggerEvent;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A challenge that was answered in this sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChallengeResult {
    /// `SRP_A`, `PASSWORD_VERIFIER` or `CUSTOM_CHALLENGE`.
    pub challenge_name: String,
    /// Whether the answer was right.
    pub challenge_result: bool,
    /// What the function that made the challenge calls it.
    pub challenge_metadata: Option<String>,
}

/// The event before the next challenge of a sign-in.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DefineAuthChallenge<'a> {
    /// The attributes of the user; none of a user who does not exist.
    pub user_attributes: BTreeMap<String, String>,
    /// The challenges so far.
    pub session: &'a [ChallengeResult],
    /// What the app sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_metadata: Option<&'a Metadata>,
    /// Whether there is no such user.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub user_not_found: bool,
}

/// The answer to [`DefineAuthChallenge`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DefinedChallenge {
    /// The next challenge.
    pub challenge_name: Option<String>,
    /// Whether the sign-in is complete.
    pub issue_tokens: Option<bool>,
    /// Whether the sign-in has failed.
    pub fail_authentication: Option<bool>,
}

impl Event for DefineAuthChallenge<'_> {
    const EVENT: TriggerEvent = TriggerEvent::DefineAuthChallenge;
    type Response = DefinedChallenge;
}

/// The event that makes a challenge.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateAuthChallenge<'a> {
    /// The attributes of the user; none of a user who does not exist.
    pub user_attributes: BTreeMap<String, String>,
    /// `CUSTOM_CHALLENGE`.
    pub challenge_name: &'static str,
    /// The challenges so far.
    pub session: &'a [ChallengeResult],
    /// What the app sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_metadata: Option<&'a Metadata>,
    /// Whether there is no such user.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub user_not_found: bool,
}

/// The answer to [`CreateAuthChallenge`].
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CreatedChallenge {
    /// What the client gets.
    pub public_challenge_parameters: Option<BTreeMap<String, String>>,
    /// What the function that compares the answer gets.
    pub private_challenge_parameters: Option<BTreeMap<String, String>>,
    /// A name for the challenge.
    pub challenge_metadata: Option<String>,
}

impl std::fmt::Debug for CreatedChallenge {
    /// Leaves out the right answer.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedChallenge").finish_non_exhaustive()
    }
}

impl Event for CreateAuthChallenge<'_> {
    const EVENT: TriggerEvent = TriggerEvent::CreateAuthChallenge;
    type Response = CreatedChallenge;
}

/// The event that compares the answer to a challenge.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyAuthChallenge<'a> {
    /// The attributes of the user; none of a user who does not exist.
    pub user_attributes: BTreeMap<String, String>,
    /// What the function that made the challenge keeps.
    pub private_challenge_parameters: &'a BTreeMap<String, String>,
    /// The client's answer.
    pub challenge_answer: &'a str,
    /// What the app sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_metadata: Option<&'a Metadata>,
    /// Whether there is no such user.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub user_not_found: bool,
}

/// The answer to [`VerifyAuthChallenge`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VerifiedAnswer {
    /// Whether the client's answer is right.
    pub answer_correct: Option<bool>,
}

impl Event for VerifyAuthChallenge<'_> {
    const EVENT: TriggerEvent = TriggerEvent::VerifyAuthChallenge;
    type Response = VerifiedAnswer;
}
