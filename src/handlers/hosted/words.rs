//! The words for refusals of the directory, in the user's language.

use crate::directory::sign_in::Refusal;
use crate::directory::{DirectoryError, ErrorKind};
use crate::pages::Texts;
use crate::trigger::words_of_function;

/// Returns the words for a refused step of a sign-in.
pub(super) fn of_refusal(t: &'static Texts, refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::IncorrectPassword | Refusal::UserNotFound => &t.wrong_password,
        Refusal::UserDisabled => &t.user_disabled,
        Refusal::PasswordResetRequired => &t.reset_required,
        Refusal::TemporaryPasswordExpired => &t.temporary_password_expired,
        Refusal::AttemptsExceeded => &t.attempts_exceeded,
        Refusal::InvalidPassword(_) => &t.weak_password,
        Refusal::ReusedPassword => &t.reused_password,
        Refusal::AttributeMissing(_) | Refusal::AttributePresent(_) => &t.attribute_missing,
        Refusal::CodeMismatch => &t.wrong_code,
        Refusal::CodeExpired => &t.expired_code,
        Refusal::TokenCodeUsed => &t.used_code,
        Refusal::FactorNotFound => &t.no_factor,
        Refusal::InvalidSession
        | Refusal::FactorNotSetUp
        | Refusal::DeviceNotFound
        | Refusal::SessionExpired
        | Refusal::FlowNotEnabled(_)
        | Refusal::UnexpectedAnswer
        | Refusal::UserNotConfirmed
        | Refusal::InvalidSrpA => &t.session_expired,
    }
}

/// Returns the words for a refused operation; `None` for a failure that is not the user's. A
/// function of the pool has words of its own.
pub(in crate::handlers) fn of_error<'e>(t: &'static Texts, error: &'e DirectoryError) -> Option<&'e str> {
    Some(match error.kind() {
        ErrorKind::UserLambdaValidation => words_of_function(error.message()),
        ErrorKind::UsernameExists => &t.username_taken,
        ErrorKind::AliasExists => &t.address_taken,
        ErrorKind::InvalidPassword => &t.weak_password,
        ErrorKind::ReusedPassword => &t.reused_password,
        ErrorKind::CodeMismatch => &t.wrong_code,
        ErrorKind::CodeExpired | ErrorKind::SoftwareTokenNotFound => &t.expired_code,
        ErrorKind::CodeDelivery => &t.not_sent,
        ErrorKind::LimitExceeded => &t.too_many_messages,
        ErrorKind::InvalidParameter => &t.invalid_value,
        ErrorKind::TooManyRequests => &t.busy,
        ErrorKind::UserNotFound => &t.wrong_password,
        ErrorKind::NotAuthorized => &t.wrong_password,
        _ => return None,
    })
}

/// Returns the audit log's name of a refusal.
pub(super) fn reason(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::IncorrectPassword | Refusal::UserNotFound => "wrong_password",
        Refusal::UserDisabled => "user_disabled",
        Refusal::PasswordResetRequired => "password_reset_required",
        Refusal::TemporaryPasswordExpired => "temporary_password_expired",
        Refusal::AttemptsExceeded => "locked",
        Refusal::CodeMismatch | Refusal::CodeExpired | Refusal::TokenCodeUsed => "wrong_code",
        Refusal::FactorNotFound => "no_second_factor",
        Refusal::InvalidPassword(_)
        | Refusal::ReusedPassword
        | Refusal::AttributeMissing(_)
        | Refusal::AttributePresent(_) => "new_password_refused",
        Refusal::InvalidSession
        | Refusal::FactorNotSetUp
        | Refusal::DeviceNotFound
        | Refusal::SessionExpired
        | Refusal::FlowNotEnabled(_)
        | Refusal::UnexpectedAnswer
        | Refusal::UserNotConfirmed
        | Refusal::InvalidSrpA => "challenge_expired",
    }
}
