//! The exceptions of an operation: those that the model lists for it.
//!
//! SDKs in typed languages have a class for each listed exception of an operation, and an unknown
//! error for every other one.

use super::error::ApiError;
use super::model::OperationModel;

/// Exceptions of any operation: of signatures, policies, JSON, load and faults.
const COMMON: [&str; 8] = [
    "AccessDeniedException",
    "IncompleteSignatureException",
    "InternalErrorException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "SerializationException",
    "TooManyRequestsException",
    "UnrecognizedClientException",
];
const INVALID_PARAMETER: &str = "InvalidParameterException";
const NOT_AUTHORIZED: &str = "NotAuthorizedException";

/// Exceptions of the directory, with those in whose form an operation answers them that does not
/// list them: the first that it lists. Every operation lists `InvalidParameterException`.
///
/// A name that is taken: `AdminCreateUser` answers `UsernameExistsException` for an alias, as AWS
/// does (boto3, issue 3213).
const SUBSTITUTES: [(&str, &[&str]); 11] = [
    ("AliasExistsException", &["UsernameExistsException", INVALID_PARAMETER]),
    ("CodeDeliveryFailureException", &[INVALID_PARAMETER]),
    ("LimitExceededException", &[INVALID_PARAMETER]),
    ("EnableSoftwareTokenMFAException", &[NOT_AUTHORIZED]),
    ("MFAMethodNotFoundException", &[NOT_AUTHORIZED]),
    (NOT_AUTHORIZED, &["UnauthorizedException", INVALID_PARAMETER]),
    ("OperationNotEnabledException", &[NOT_AUTHORIZED, INVALID_PARAMETER]),
    ("PasswordHistoryPolicyViolationException", &["InvalidPasswordException", INVALID_PARAMETER]),
    ("RefreshTokenReuseException", &[NOT_AUTHORIZED]),
    ("ResourceNotFoundException", &["UnauthorizedException", INVALID_PARAMETER]),
    ("UserNotFoundException", &[NOT_AUTHORIZED, "UnauthorizedException"]),
];

/// Returns `error` as an exception that `model` lists.
///
/// In debug builds an exception without such a form is a server fault, so that tests find it.
pub fn as_listed(operation: &str, model: &OperationModel, error: ApiError) -> ApiError {
    let lists = |exception: &str| model.errors.iter().any(|listed| listed == exception);
    let exception = error.exception;
    if lists(exception) || COMMON.contains(&exception) {
        return error;
    }
    if exception == "LimitExceededException" && error.retry_after.is_some() {
        return ApiError { exception: "TooManyRequestsException", ..error };
    }
    let substitutes = SUBSTITUTES.iter().find(|(of, _)| *of == exception).map_or(&[][..], |(_, all)| *all);
    match substitutes.iter().find(|substitute| lists(substitute)) {
        Some(&substitute) => ApiError { exception: substitute, ..error },
        None if cfg!(debug_assertions) => {
            tracing::error!(operation, exception, "the model does not list an exception of the operation");
            ApiError::internal()
        }
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::COGNITO_IDP;
    use super::*;
    use crate::base::Duration;

    fn listed(operation: &str, error: ApiError) -> &'static str {
        as_listed(operation, COGNITO_IDP.operation(operation).unwrap(), error).exception
    }

    #[test]
    fn an_operation_answers_exceptions_that_the_model_lists() {
        for (operation, exception, expected) in [
            ("ConfirmSignUp", "AliasExistsException", "AliasExistsException"),
            ("AdminConfirmSignUp", "AliasExistsException", INVALID_PARAMETER),
            ("AdminSetUserPassword", "AliasExistsException", INVALID_PARAMETER),
            ("AdminCreateUser", "AliasExistsException", "UsernameExistsException"),
            ("AdminAddUserToGroup", "LimitExceededException", INVALID_PARAMETER),
            ("CreateIdentityProvider", "OperationNotEnabledException", NOT_AUTHORIZED),
            ("AddUserPoolClientSecret", "OperationNotEnabledException", INVALID_PARAMETER),
            ("RevokeToken", NOT_AUTHORIZED, "UnauthorizedException"),
            ("RevokeToken", "ResourceNotFoundException", "UnauthorizedException"),
            ("GlobalSignOut", "UserNotFoundException", NOT_AUTHORIZED),
            ("InitiateAuth", "RefreshTokenReuseException", NOT_AUTHORIZED),
            ("InitiateAuth", "MFAMethodNotFoundException", NOT_AUTHORIZED),
            ("GetUser", "UnrecognizedClientException", "UnrecognizedClientException"),
        ] {
            assert_eq!(listed(operation, ApiError::new(exception, "x")), expected, "{operation} {exception}");
        }
        let too_often = ApiError {
            retry_after: Some(Duration::from_secs(60)),
            ..ApiError::new("LimitExceededException", "x")
        };
        assert_eq!(listed("UpdateUserAttributes", too_often.clone()), "TooManyRequestsException");
        assert_eq!(listed("SignUp", too_often), "LimitExceededException");
    }

    #[test]
    fn an_exception_without_a_listed_form_is_a_fault() {
        let error = ApiError::new("GroupExistsException", "x");
        assert_eq!(listed("DeleteUser", error), "InternalErrorException");
    }

    #[test]
    fn every_substitute_is_an_exception_of_the_model() {
        for (exception, substitutes) in SUBSTITUTES {
            for name in substitutes.iter().chain([&exception]) {
                assert!(COGNITO_IDP.shape(name).exception, "{name}");
            }
        }
    }
}
