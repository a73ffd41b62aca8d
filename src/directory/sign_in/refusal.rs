//! Why a sign-in is refused, in AWS's words.

use super::Flow;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The app client may not use the flow.
    FlowNotEnabled(Flow),
    /// The answer does not belong to the state.
    UnexpectedAnswer,
    /// The challenge is void: the user, the status or the password changed since it was sent.
    InvalidSession,
    /// The challenge has expired.
    SessionExpired,
    /// The password or the proof is wrong, or there is no such user.
    IncorrectPassword,
    /// There is no such user, and the client may know it.
    UserNotFound,
    /// The user is disabled.
    UserDisabled,
    /// The user has not confirmed the sign-up.
    UserNotConfirmed,
    /// The user must set a new password with a code.
    PasswordResetRequired,
    /// The temporary password has expired.
    TemporaryPasswordExpired,
    /// Too many wrong passwords.
    AttemptsExceeded,
    /// The public value of Secure Remote Password is none.
    InvalidSrpA,
    /// The pool's policy refuses the new password; the reason.
    InvalidPassword(String),
    /// The new password is one of the user's earlier ones.
    ReusedPassword,
    /// A required attribute has no value.
    AttributeMissing(String),
    /// A required attribute has a value, and cannot be changed in this step.
    AttributePresent(String),
    /// The code is wrong.
    CodeMismatch,
    /// The code has expired, or none was sent.
    CodeExpired,
    /// The code of the software token was used before.
    TokenCodeUsed,
    /// A second factor is required, and the user has none that the pool allows.
    FactorNotFound,
    /// The software token is not set up yet.
    FactorNotSetUp,
    /// The user has no such device.
    DeviceNotFound,
}

impl Refusal {
    /// Returns the name of AWS's exception.
    pub fn exception(&self) -> &'static str {
        match self {
            Self::InvalidSession
            | Self::SessionExpired
            | Self::IncorrectPassword
            | Self::UserDisabled
            | Self::TemporaryPasswordExpired
            | Self::AttemptsExceeded => "NotAuthorizedException",
            Self::FlowNotEnabled(_)
            | Self::UnexpectedAnswer
            | Self::InvalidSrpA
            | Self::AttributeMissing(_)
            | Self::AttributePresent(_)
            | Self::FactorNotSetUp => "InvalidParameterException",
            Self::UserNotFound => "UserNotFoundException",
            Self::UserNotConfirmed => "UserNotConfirmedException",
            Self::PasswordResetRequired => "PasswordResetRequiredException",
            Self::InvalidPassword(_) => "InvalidPasswordException",
            Self::ReusedPassword => "PasswordHistoryPolicyViolationException",
            Self::CodeMismatch => "CodeMismatchException",
            Self::CodeExpired | Self::TokenCodeUsed => "ExpiredCodeException",
            Self::FactorNotFound => "MFAMethodNotFoundException",
            // Apps forget theirs for it, and sign in again.
            Self::DeviceNotFound => "ResourceNotFoundException",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::FlowNotEnabled(flow) => write!(f, "{} flow not enabled for this client", flow.name()),
            Self::UnexpectedAnswer => f.write_str("The answer does not belong to the challenge."),
            Self::InvalidSession => f.write_str("Invalid session for the user."),
            Self::SessionExpired => f.write_str("Invalid session for the user, session is expired."),
            Self::IncorrectPassword => f.write_str("Incorrect username or password."),
            Self::UserNotFound => f.write_str("User does not exist."),
            Self::UserDisabled => f.write_str("User is disabled."),
            Self::UserNotConfirmed => f.write_str("User is not confirmed."),
            Self::PasswordResetRequired => f.write_str("Password reset required for the user"),
            Self::TemporaryPasswordExpired => {
                f.write_str("Temporary password has expired and must be reset by an administrator.")
            }
            Self::AttemptsExceeded => f.write_str("Password attempts exceeded"),
            Self::InvalidSrpA => f.write_str("SRP_A is not a valid public value."),
            Self::InvalidPassword(reason) => f.write_str(reason),
            Self::ReusedPassword => f.write_str("Password has previously been used."),
            Self::AttributeMissing(name) => write!(f, "Invalid attributes given, {name} is missing"),
            Self::AttributePresent(name) => {
                write!(f, "Cannot modify an already provided attribute: {name}")
            }
            Self::CodeMismatch => f.write_str("Invalid verification code provided, please try again."),
            Self::CodeExpired => f.write_str("Invalid code provided, please request a code again."),
            Self::TokenCodeUsed => f.write_str("Your software token has already been used once."),
            Self::FactorNotFound => f.write_str("The user has no second factor, and can set up none."),
            Self::DeviceNotFound => f.write_str("Device does not exist."),
            Self::FactorNotSetUp => f.write_str("The software token is not verified."),
        }
    }
}

impl std::error::Error for Refusal {}
