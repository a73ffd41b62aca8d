//! Errors of directory operations, with the exceptions and words of Cognito.

use super::new_password::NewPasswordError;
use super::password::HashError;
use crate::base::Duration;
use crate::message::EnqueueError;
use crate::model::SchemaViolations;
use crate::store::{StoreError, WorkError};
use std::borrow::Cow;
use std::fmt;

/// The kind of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no such user.
    UserNotFound,
    /// The user name has a holder.
    UsernameExists,
    /// The alias has a holder.
    AliasExists,
    /// The group's name is taken.
    GroupExists,
    /// There is no such group.
    GroupNotFound,
    /// There is no such pool.
    PoolNotFound,
    /// A parameter is not valid.
    InvalidParameter,
    /// The operation is not allowed.
    NotAuthorized,
    /// A quota is used up, or there were too many attempts.
    LimitExceeded,
    /// The code is wrong.
    CodeMismatch,
    /// The code has expired, or none was sent.
    CodeExpired,
    /// No message can be sent to the user.
    CodeDelivery,
    /// The policy refuses the password.
    InvalidPassword,
    /// The password is one of the user's earlier ones.
    ReusedPassword,
    /// The pool does not allow software tokens, or the user has none.
    SoftwareTokenNotFound,
    /// The first code of a software token is wrong.
    TokenCodeMismatch,
    /// The operation does not fit the user's status.
    UnsupportedUserState,
    /// The user has not confirmed the sign-up.
    UserNotConfirmed,
    /// The user must set a new password with a code.
    PasswordResetRequired,
    /// A refresh token was used again after its rotation.
    RefreshTokenReuse,
    /// A proof of the client's key is required, or was used before.
    ProofRefused,
    /// There is no such app client.
    ClientNotFound,
    /// There is no such domain, identity provider, resource server or secret.
    ResourceNotFound,
    /// The pool has an identity provider of this name.
    DuplicateProvider,
    /// The device was confirmed before.
    DeviceKeyExists,
    /// The grants do not fit each other, or the client.
    InvalidOAuthFlow,
    /// No resource server has the scope.
    ScopeDoesNotExist,
    /// The configuration file declares it.
    ReadOnly,
    /// A function of the pool refused.
    UserLambdaValidation,
    /// A function of the pool did not answer.
    UnexpectedLambda,
    /// The answer of a function of the pool is not valid.
    InvalidLambdaResponse,
    /// There is too much work.
    TooManyRequests,
    /// The database failed.
    Internal,
}

/// Every kind with the name of its exception and the default message.
const KINDS: [(ErrorKind, &str, &str); 33] = [
    (ErrorKind::UserNotFound, "UserNotFoundException", "User does not exist."),
    (ErrorKind::UsernameExists, "UsernameExistsException", "User already exists"),
    (ErrorKind::AliasExists, "AliasExistsException", "An account with the given email already exists."),
    (ErrorKind::GroupExists, "GroupExistsException", "A group with the name already exists."),
    (ErrorKind::GroupNotFound, "ResourceNotFoundException", "Group not found."),
    (ErrorKind::PoolNotFound, "ResourceNotFoundException", "User pool does not exist."),
    (ErrorKind::InvalidParameter, "InvalidParameterException", "Invalid parameter."),
    (ErrorKind::NotAuthorized, "NotAuthorizedException", "Not authorized."),
    (ErrorKind::LimitExceeded, "LimitExceededException", "Limit exceeded."),
    (
        ErrorKind::CodeMismatch,
        "CodeMismatchException",
        "Invalid verification code provided, please try again.",
    ),
    (ErrorKind::CodeExpired, "ExpiredCodeException", "Invalid code provided, please request a code again."),
    (ErrorKind::CodeDelivery, "CodeDeliveryFailureException", "The code could not be sent."),
    (ErrorKind::InvalidPassword, "InvalidPasswordException", "Password did not conform with policy."),
    (
        ErrorKind::ReusedPassword,
        "PasswordHistoryPolicyViolationException",
        "Password has previously been used.",
    ),
    (
        ErrorKind::SoftwareTokenNotFound,
        "SoftwareTokenMFANotFoundException",
        "Software Token MFA has not been enabled for the user pool.",
    ),
    (ErrorKind::TokenCodeMismatch, "EnableSoftwareTokenMFAException", "Code mismatch"),
    (ErrorKind::UnsupportedUserState, "UnsupportedUserStateException", "User is in an unsupported state."),
    (ErrorKind::UserNotConfirmed, "UserNotConfirmedException", "User is not confirmed."),
    (
        ErrorKind::PasswordResetRequired,
        "PasswordResetRequiredException",
        "Password reset required for the user",
    ),
    (
        ErrorKind::RefreshTokenReuse,
        "RefreshTokenReuseException",
        "Refresh token has been used before and is now invalidated.",
    ),
    (
        ErrorKind::ProofRefused,
        "NotAuthorizedException",
        "The tokens of the client are bound to a key: a DPoP proof is missing, or was used before.",
    ),
    (ErrorKind::ClientNotFound, "ResourceNotFoundException", "User pool client does not exist."),
    (ErrorKind::ResourceNotFound, "ResourceNotFoundException", "Resource not found."),
    (ErrorKind::DeviceKeyExists, "DeviceKeyExistsException", "The device is confirmed already."),
    (ErrorKind::DuplicateProvider, "DuplicateProviderException", "Provider already exists."),
    (ErrorKind::InvalidOAuthFlow, "InvalidOAuthFlowException", "Invalid OAuth flow."),
    (ErrorKind::ScopeDoesNotExist, "ScopeDoesNotExistException", "Scope does not exist."),
    (ErrorKind::ReadOnly, "OperationNotEnabledException", "Declared in the configuration file."),
    (ErrorKind::UserLambdaValidation, "UserLambdaValidationException", "The function refused."),
    (ErrorKind::UnexpectedLambda, "UnexpectedLambdaException", "The function did not answer."),
    (ErrorKind::InvalidLambdaResponse, "InvalidLambdaResponseException", "Unrecognizable lambda output"),
    (ErrorKind::TooManyRequests, "TooManyRequestsException", "Rate exceeded"),
    (ErrorKind::Internal, "InternalErrorException", "Internal error."),
];

/// Why an operation of the directory failed.
#[derive(Debug)]
pub enum DirectoryError {
    /// The operation was refused.
    Refused {
        /// The kind.
        kind: ErrorKind,
        /// The message for the client.
        message: Cow<'static, str>,
        /// When to try again, if that can help.
        retry_after: Option<Duration>,
    },
    /// The database failed.
    Store(StoreError),
}

impl DirectoryError {
    /// Creates an error with a message of its own.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused { kind, message: message.into(), retry_after: None }
    }

    /// Creates an error that passes: when to try again.
    pub fn for_now(kind: ErrorKind, message: &'static str, retry_after: Duration) -> Self {
        Self::Refused { kind, message: message.into(), retry_after: Some(retry_after) }
    }

    /// Returns when to try again, if that can help.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Store(_) => None,
        }
    }

    /// Creates an error of a parameter.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidParameter, message)
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused { kind, .. } => *kind,
            Self::Store(_) => ErrorKind::Internal,
        }
    }

    /// Returns the name of the exception in Cognito's API.
    pub fn exception(&self) -> &'static str {
        self.kind().entry().1
    }

    /// Returns the message for the client. The database's own words are not among them.
    pub fn message(&self) -> &str {
        match self {
            Self::Refused { message, .. } => message,
            Self::Store(_) => ErrorKind::Internal.entry().2,
        }
    }
}

impl ErrorKind {
    fn entry(self) -> &'static (ErrorKind, &'static str, &'static str) {
        KINDS.iter().find(|(kind, ..)| *kind == self).expect("invariant: the table has every kind")
    }
}

impl From<ErrorKind> for DirectoryError {
    fn from(kind: ErrorKind) -> Self {
        Self::new(kind, kind.entry().2)
    }
}

impl From<StoreError> for DirectoryError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<SchemaViolations> for DirectoryError {
    fn from(violations: SchemaViolations) -> Self {
        Self::invalid(violations.to_string())
    }
}

/// AWS's words for a limit on codes.
pub(super) const TOO_MANY_ATTEMPTS: &str = "Attempt limit exceeded, please try after some time.";

impl From<EnqueueError> for DirectoryError {
    fn from(error: EnqueueError) -> Self {
        match error {
            EnqueueError::TooMany(_, wait) => {
                Self::for_now(ErrorKind::LimitExceeded, TOO_MANY_ATTEMPTS, wait)
            }
            // The remedy is the operator's.
            error => {
                tracing::warn!(%error, "no message was sent");
                ErrorKind::CodeDelivery.into()
            }
        }
    }
}

impl From<HashError> for DirectoryError {
    fn from(error: HashError) -> Self {
        match error {
            HashError::Busy { retry_after } => {
                Self::for_now(ErrorKind::TooManyRequests, "Rate exceeded", retry_after)
            }
            error => {
                tracing::error!(%error, "a password was not hashed");
                ErrorKind::Internal.into()
            }
        }
    }
}

impl From<NewPasswordError> for DirectoryError {
    fn from(error: NewPasswordError) -> Self {
        match error {
            NewPasswordError::Policy(reason) => Self::new(ErrorKind::InvalidPassword, reason),
            NewPasswordError::Reused => ErrorKind::ReusedPassword.into(),
            NewPasswordError::Hash(error) => error.into(),
            NewPasswordError::Store(error) => error.into(),
        }
    }
}

impl WorkError for DirectoryError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Refused { .. } => None,
        }
    }
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { message, .. } => write!(f, "{}: {message}", self.exception()),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DirectoryError {}

/// The result of an operation of the directory.
pub(super) type Outcome<T> = std::result::Result<T, DirectoryError>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_databases_words_are_not_for_clients() {
        let error = DirectoryError::from(StoreError::Corrupt("row 7 of alice@corp.example".into()));
        assert_eq!((error.exception(), error.message()), ("InternalErrorException", "Internal error."));
        let error = DirectoryError::from(ErrorKind::UserNotFound);
        assert_eq!((error.exception(), error.message()), ("UserNotFoundException", "User does not exist."));
        assert_eq!(error.to_string(), "UserNotFoundException: User does not exist.");
    }
}
