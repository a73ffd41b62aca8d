//! Events of custom challenges.

use super::PoolEvents;
use crate::base::Secret;
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::directory::sender::Sender;
use crate::directory::sign_in::{Definition, PrivateParameters};
use crate::model::User;
use crate::trigger::{
    ChallengeResult, CreateAuthChallenge, CreatedChallenge, DefineAuthChallenge, DefinedChallenge,
    VerifyAuthChallenge, user_attributes,
};
use std::collections::BTreeMap;

/// The challenge that functions make.
const CUSTOM: &str = "CUSTOM_CHALLENGE";
/// The challenge of a password, which the server makes.
const PASSWORD: &str = "PASSWORD_VERIFIER";
/// Maximum bytes of what a function keeps with a challenge: it is in the client's `Session`.
const MAX_PRIVATE_BYTES: usize = 1024;
/// Maximum bytes of what the client gets.
const MAX_PUBLIC_BYTES: usize = 16 * 1024;
/// Maximum characters of a challenge's name.
const MAX_METADATA_CHARS: usize = 100;

/// The user of a custom challenge.
#[derive(Clone, Copy)]
pub(in crate::directory) struct Challenged<'a> {
    /// The sender.
    pub sender: Sender<'a>,
    /// The name that the client sent.
    pub name: &'a str,
    /// The user; `None` for a name without one, as the functions see.
    pub user: Option<&'a User>,
}

impl Challenged<'_> {
    fn attributes(&self) -> BTreeMap<String, String> {
        self.user.map(user_attributes).unwrap_or_default()
    }

    fn username(&self) -> &str {
        self.user.map_or(self.name, |user| &user.username)
    }
}

impl PoolEvents {
    /// Asks the pool's function what follows the challenges so far.
    ///
    /// # Errors
    /// Returns `InvalidParameterException` for a pool without the function, the function's refusal,
    /// or why it gave no valid answer.
    pub(in crate::directory) async fn define_challenge(
        &self,
        of: Challenged<'_>,
        session: &[ChallengeResult],
    ) -> Outcome<Definition> {
        let event = DefineAuthChallenge {
            user_attributes: of.attributes(),
            session,
            client_metadata: of.sender.data.client_metadata,
            user_not_found: of.user.is_none(),
        };
        let subject = of.sender.subject(of.username());
        let answer = self.triggers.call(subject, "DefineAuthChallenge_Authentication", &event).await?;
        definition(&answer.ok_or_else(no_function)?)
    }

    /// Has the pool's function make a challenge.
    ///
    /// # Errors
    /// As [`PoolEvents::define_challenge`].
    pub(in crate::directory) async fn create_challenge(
        &self,
        of: Challenged<'_>,
        session: &[ChallengeResult],
    ) -> Outcome<CreatedChallenge> {
        let event = CreateAuthChallenge {
            user_attributes: of.attributes(),
            challenge_name: CUSTOM,
            session,
            client_metadata: of.sender.data.client_metadata,
            user_not_found: of.user.is_none(),
        };
        let subject = of.sender.subject(of.username());
        let answer = self.triggers.call(subject, "CreateAuthChallenge_Authentication", &event).await?;
        bounded(answer.ok_or_else(no_function)?)
    }

    /// Has the pool's function compare an answer. Returns whether it is right.
    ///
    /// # Errors
    /// As [`PoolEvents::define_challenge`].
    pub(in crate::directory) async fn verify_challenge(
        &self,
        of: Challenged<'_>,
        private: &PrivateParameters,
        answer: &Secret,
    ) -> Outcome<bool> {
        let event = VerifyAuthChallenge {
            user_attributes: of.attributes(),
            private_challenge_parameters: &private.0,
            challenge_answer: answer.expose(),
            client_metadata: of.sender.data.client_metadata,
            user_not_found: of.user.is_none(),
        };
        let subject = of.sender.subject(of.username());
        let name = "VerifyAuthChallengeResponse_Authentication";
        let answer = self.triggers.call(subject, name, &event).await?;
        Ok(answer.ok_or_else(no_function)?.answer_correct == Some(true))
    }
}

/// Returns what follows. A failure precedes everything else that the function answers.
fn definition(of: &DefinedChallenge) -> Outcome<Definition> {
    match (of.fail_authentication, of.issue_tokens, of.challenge_name.as_deref()) {
        (Some(true), ..) => Ok(Definition::Fail),
        (_, Some(true), _) => Ok(Definition::IssueTokens),
        (_, _, Some(CUSTOM)) => Ok(Definition::Custom),
        (_, _, Some(PASSWORD)) => Ok(Definition::Password),
        _ => Err(invalid("DefineAuthChallenge names no challenge.")),
    }
}

fn bounded(of: CreatedChallenge) -> Outcome<CreatedChallenge> {
    let size = |map: &Option<BTreeMap<String, String>>| {
        let entries = map.iter().flatten();
        entries.map(|(name, value)| name.len() + value.len() + 8).sum::<usize>()
    };
    let metadata = of.challenge_metadata.as_ref().map_or(0, |text| text.chars().count());
    let fits = size(&of.private_challenge_parameters) <= MAX_PRIVATE_BYTES
        && size(&of.public_challenge_parameters) <= MAX_PUBLIC_BYTES
        && metadata <= MAX_METADATA_CHARS;
    if fits { Ok(of) } else { Err(invalid("CreateAuthChallenge answers too many values.")) }
}

fn invalid(words: &str) -> DirectoryError {
    DirectoryError::new(ErrorKind::InvalidLambdaResponse, words.to_owned())
}

fn no_function() -> DirectoryError {
    DirectoryError::invalid("Custom auth lambda trigger is not configured for the user pool.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_precedes_tokens_and_these_a_challenge() {
        let of = |fail, issue, name: Option<&str>| {
            let challenge_name = name.map(str::to_owned);
            definition(&DefinedChallenge { challenge_name, issue_tokens: issue, fail_authentication: fail })
        };
        for (fail, issue, name, expected) in [
            (Some(true), Some(true), Some(CUSTOM), Definition::Fail),
            (Some(false), Some(true), Some(CUSTOM), Definition::IssueTokens),
            (None, None, Some(CUSTOM), Definition::Custom),
            (None, Some(false), Some(PASSWORD), Definition::Password),
        ] {
            assert_eq!(of(fail, issue, name).unwrap(), expected);
        }
        for name in [None, Some(""), Some("SMS_MFA")] {
            assert_eq!(of(None, None, name).unwrap_err().exception(), "InvalidLambdaResponseException");
        }
    }

    #[test]
    fn what_a_challenge_keeps_is_bounded() {
        let created = |length: usize| CreatedChallenge {
            private_challenge_parameters: Some(BTreeMap::from([("a".to_owned(), "x".repeat(length))])),
            ..CreatedChallenge::default()
        };
        assert!(bounded(created(MAX_PRIVATE_BYTES - 9)).is_ok());
        assert!(bounded(created(MAX_PRIVATE_BYTES - 8)).is_err());
        let named = CreatedChallenge {
            challenge_metadata: Some("x".repeat(MAX_METADATA_CHARS + 1)),
            ..CreatedChallenge::default()
        };
        assert!(bounded(named).is_err());
    }
}
