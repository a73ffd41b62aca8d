//! Why a function gave no valid answer, in AWS's words.

use super::delivery::Failure;
use crate::base::is_deceptive;
use crate::config::TriggerEvent;

/// Maximum characters of a function's words in an error.
const MAX_WORDS: usize = 300;
/// The words between the name of an event and those of its function.
const FAILED: &str = " failed with error ";
/// AWS's word for a service that does not answer.
const UNAVAILABLE: &str = "Service unavailable";
/// AWS's words for a function that does not answer in time.
const TIMEOUT: &str = "Socket timeout while invoking Lambda function";

/// The kind of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerErrorKind {
    /// The function refused (`UserLambdaValidationException`).
    Denied,
    /// The function did not answer (`UnexpectedLambdaException`).
    Unexpected,
    /// The answer is not valid (`InvalidLambdaResponseException`).
    InvalidResponse,
}

/// Why a function gave no valid answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerError {
    /// The kind.
    pub kind: TriggerErrorKind,
    /// AWS's words, with those of a function that refused.
    pub message: String,
}

impl TriggerError {
    /// Creates an error of the function for `event`.
    pub fn new(event: TriggerEvent, kind: TriggerErrorKind, words: String) -> Self {
        let (name, words) = (event.name(), shown(&words));
        let message = match kind {
            TriggerErrorKind::Denied => format!("{name}{FAILED}{words}."),
            TriggerErrorKind::Unexpected => format!("{name} invocation failed due to error {words}."),
            TriggerErrorKind::InvalidResponse => words,
        };
        Self { kind, message }
    }
}

impl std::fmt::Display for TriggerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TriggerError {}

/// Returns the function's own words in the message of a refusal.
pub fn words_of_function(message: &str) -> &str {
    let words = message.split_once(FAILED).map_or(message, |(_, words)| words);
    words.strip_suffix('.').unwrap_or(words)
}

/// Bounds the words of a function, and removes characters that could disguise them.
fn shown(words: &str) -> String {
    words.chars().filter(|c| !is_deceptive(*c)).take(MAX_WORDS).collect()
}

impl Failure {
    /// Returns the error for the client. Addresses and other details are for the log alone.
    pub(super) fn error(self, event: TriggerEvent) -> TriggerError {
        let (kind, words) = match self {
            Self::Denied(words) => (TriggerErrorKind::Denied, words),
            Self::Timeout | Self::Busy => (TriggerErrorKind::Unexpected, TIMEOUT.to_owned()),
            Self::Unreachable(_) | Self::Status(_) | Self::Undeclared => {
                (TriggerErrorKind::Unexpected, UNAVAILABLE.to_owned())
            }
            Self::TooLarge | Self::Invalid(_) => {
                (TriggerErrorKind::InvalidResponse, "Unrecognizable lambda output".to_owned())
            }
            Self::NotJson => (
                TriggerErrorKind::InvalidResponse,
                "Invalid lambda function output : Invalid JSON".to_owned(),
            ),
        };
        TriggerError::new(event, kind, words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_awss_words() {
        let error = |failure: Failure| {
            let error = failure.error(TriggerEvent::PreSignUp);
            (error.kind, error.message)
        };
        let (kind, message) = error(Failure::Denied("Only staff".to_owned()));
        assert_eq!((kind, &*message), (TriggerErrorKind::Denied, "PreSignUp failed with error Only staff."));
        assert_eq!(words_of_function(&message), "Only staff");
        let (kind, message) = error(Failure::Timeout);
        let words = "PreSignUp invocation failed due to error Socket timeout while invoking Lambda function.";
        assert_eq!((kind, &*message), (TriggerErrorKind::Unexpected, words));
        let (kind, message) = error(Failure::Invalid("secret detail".to_owned()));
        assert_eq!((kind, &*message), (TriggerErrorKind::InvalidResponse, "Unrecognizable lambda output"));
        assert!(!error(Failure::Unreachable("10.0.0.7 refused".to_owned())).1.contains("10.0.0.7"));
    }

    #[test]
    fn the_words_of_a_function_are_bounded_and_plain() {
        let error = Failure::Denied(format!("a\r\nb\u{202e}{}", "x".repeat(1000)));
        let message = error.error(TriggerEvent::PreSignUp).message;
        let words = words_of_function(&message);
        assert!(words.starts_with("abxx") && words.chars().count() == MAX_WORDS, "{words}");
    }
}
