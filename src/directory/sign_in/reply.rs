//! Results of a step, for pages and APIs.

use super::{Challenge, Facts, Refusal, SessionError, StepUp};
use crate::base::{Duration, Timestamp};
use crate::directory::{CodeDelivery, DirectoryError, HashError, NewPasswordError, Sender, srp};
use crate::model::{Attributes, Factor, FirstFactor, User};
use crate::store::{StoreError, WorkError};
use std::collections::BTreeMap;

/// The result of a step.
#[derive(Debug)]
pub enum Reply {
    /// The client has to answer a challenge.
    Challenge(Box<ChallengeReply>),
    /// The user is authenticated.
    SignedIn(AuthenticatedUser),
    /// The sign-up is confirmed, and the user has to sign in.
    Confirmed,
    /// The step failed.
    Refused(Refusal),
}

/// A user who has signed in.
#[derive(Debug)]
pub struct AuthenticatedUser {
    /// The user.
    pub user: Box<User>,
    /// When the sign-in began.
    pub begun_at: Timestamp,
    /// When the password was set that the user has; `None` without one. Tokens and sessions are for
    /// it alone.
    pub password_set_at: Option<Timestamp>,
    /// The code that was the first factor; `None` for a password.
    pub first_code: Option<Factor>,
    /// The second factor, if there was one.
    pub factor: Option<Factor>,
    /// The device.
    pub device: SignInDevice,
    /// Whether functions of the pool alone were the first factor, so that its method is unknown.
    pub by_functions: bool,
    /// The session that gets the second factor; `None` for a new one.
    pub step_up: Option<StepUp>,
}

/// The device of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInDevice {
    /// The pool remembers none, or the user is on a page.
    Untracked,
    /// The client named none: it can have a new one remembered.
    New,
    /// The client named one, and did not prove it.
    Named,
    /// The client proved the one with this key.
    Proved(String),
}

/// A challenge, with what the client needs to answer it.
pub struct ChallengeReply {
    /// The challenge.
    pub challenge: Challenge,
    /// The `Session` string; empty for `PASSWORD_VERIFIER`, which has none.
    pub session: String,
    /// The values of `PASSWORD_VERIFIER`.
    pub exchange: Option<Exchange>,
    /// The values of `NEW_PASSWORD_REQUIRED`.
    pub new_password: Option<NewPasswordParameters>,
    /// The values of the challenges of factors.
    pub factors: FactorParameters,
    /// The values of `CUSTOM_CHALLENGE`.
    pub public: Option<PublicParameters>,
    /// Whether the challenge follows a wrong answer to another one.
    pub follows_wrong_answer: bool,
}

/// The values of `CUSTOM_CHALLENGE`.
#[derive(Debug)]
pub struct PublicParameters {
    /// `USERNAME`
    pub username: String,
    /// What the function answered.
    pub values: BTreeMap<String, String>,
}

/// The values of the challenges of factors.
#[derive(Debug, Default)]
pub struct FactorParameters {
    /// The first factors of which the user can choose one.
    pub first_choices: Vec<FirstFactor>,
    /// The second factors of which the user can choose one.
    pub choices: Vec<Factor>,
    /// Where the code was sent.
    pub sent: Option<CodeDelivery>,
}

impl FactorParameters {
    pub(super) fn of(facts: &Facts, sent: Option<CodeDelivery>) -> Self {
        let choices = facts.user.as_ref().map_or_else(Vec::new, |user| user.factors.clone());
        Self { first_choices: facts.first_factors.clone(), choices, sent }
    }
}

/// The values of `NEW_PASSWORD_REQUIRED`.
#[derive(Debug)]
pub struct NewPasswordParameters {
    /// `USER_ID_FOR_SRP`
    pub username: String,
    /// The attributes that the client can read.
    pub attributes: Attributes,
    /// The required attributes without a value.
    pub missing: Vec<String>,
}

impl NewPasswordParameters {
    pub(super) fn of(sender: Sender<'_>, user: User) -> Self {
        let settings = &sender.client.settings;
        let attributes = user.attributes.iter().filter(|(name, _)| settings.may_read(name)).collect();
        let required = sender.pool.settings.schema.iter();
        let required = required.filter(|attribute| attribute.required && attribute.name != "sub");
        let missing = required.map(|attribute| attribute.name.to_string());
        let missing = missing.filter(|name| !user.attributes.contains(name)).collect();
        Self { username: user.username, attributes, missing }
    }
}

/// The values of `PASSWORD_VERIFIER`.
pub struct Exchange {
    /// `SALT`, in hexadecimal digits.
    pub salt: String,
    /// `SRP_B`, in hexadecimal digits.
    pub server_public: String,
    /// `SECRET_BLOCK`, before base64.
    pub secret_block: Vec<u8>,
    /// `USER_ID_FOR_SRP` and `USERNAME`.
    pub user_id: String,
}

impl std::fmt::Debug for ChallengeReply {
    /// Leaves out what would answer the challenge.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChallengeReply").field("challenge", &self.challenge).finish_non_exhaustive()
    }
}

/// The public part of an exchange that has begun.
pub(super) struct BegunExchange {
    pub(super) challenge: srp::Challenge,
    pub(super) user_id: String,
}

impl ChallengeReply {
    pub(super) fn with_session(challenge: Challenge, session: String) -> Self {
        let factors = FactorParameters::default();
        let (exchange, new_password, public, follows_wrong_answer) = (None, None, None, false);
        Self { challenge, session, exchange, new_password, factors, public, follows_wrong_answer }
    }

    pub(super) fn with_exchange(challenge: Challenge, begun: BegunExchange, secret_block: Vec<u8>) -> Self {
        let srp::Challenge { salt, server_public, .. } = begun.challenge;
        let exchange = Exchange { salt, server_public, secret_block, user_id: begun.user_id };
        Self {
            challenge,
            session: String::new(),
            exchange: Some(exchange),
            new_password: None,
            factors: FactorParameters::default(),
            public: None,
            follows_wrong_answer: false,
        }
    }
}

/// Why a step could not be completed.
#[derive(Debug)]
pub enum SignInError {
    /// Too many passwords are being hashed: `TooManyRequestsException`.
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The transaction of the effects was refused, and nothing was written.
    Refused(Refusal),
    /// The directory refused a change, or the database failed.
    Directory(DirectoryError),
    /// The password could not be hashed.
    Hash(HashError),
}

impl std::fmt::Display for SignInError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Busy { retry_after } => {
                write!(f, "too many sign-ins; help: retry after {} s", retry_after.as_secs())
            }
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Directory(error) => error.fmt(f),
            Self::Hash(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SignInError {}

impl SignInError {
    /// Returns the error of work for which there is no place now.
    pub(super) fn busy() -> Self {
        Self::Busy { retry_after: Duration::from_secs(1) }
    }
}

impl From<StoreError> for SignInError {
    fn from(error: StoreError) -> Self {
        Self::Directory(error.into())
    }
}

impl From<DirectoryError> for SignInError {
    fn from(error: DirectoryError) -> Self {
        Self::Directory(error)
    }
}

impl From<Refusal> for SignInError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<HashError> for SignInError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy { retry_after } => Self::Busy { retry_after },
            error => Self::Hash(error),
        }
    }
}

impl WorkError for SignInError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Directory(DirectoryError::Store(error)) => Some(error),
            _ => None,
        }
    }
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Invalid => Self::InvalidSession,
            SessionError::Expired => Self::SessionExpired,
        }
    }
}

impl TryFrom<NewPasswordError> for Refusal {
    type Error = SignInError;

    /// Returns the refusal, or the failure as an error.
    fn try_from(error: NewPasswordError) -> Result<Self, SignInError> {
        match error {
            NewPasswordError::Policy(reason) => Ok(Self::InvalidPassword(reason)),
            NewPasswordError::Reused => Ok(Self::ReusedPassword),
            NewPasswordError::Hash(error) => Err(error.into()),
            NewPasswordError::Store(error) => Err(error.into()),
        }
    }
}
