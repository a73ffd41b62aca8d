//! Validation of answers.

use super::delivery::Failure;
use super::event::{Event, NoResponse};
use super::{
    CreatedChallenge, CustomMessageAnswer, DefinedChallenge, MappedAttributes, MigratedUser, PreSignUpAnswer,
    TokenAnswer, VerifiedAnswer,
};
use crate::jose::unique_keys_object;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Reads the `response` of an answer. Its members have the types of AWS, or there is no answer.
pub(super) fn read<E: Event>(answer: &[u8]) -> Result<E::Response, Failure> {
    typed(Value::Object(response(answer)?))
}

/// Returns the `response` of an answer, which is the event with the function's changes.
fn response(answer: &[u8]) -> Result<Map<String, Value>, Failure> {
    let mut event = unique_keys_object(answer).ok_or(Failure::NotJson)?;
    match event.remove("response") {
        Some(Value::Object(response)) => Ok(response),
        Some(_) => Err(Failure::Invalid("`response` is no object".to_owned())),
        None => Err(Failure::Invalid("`response` is missing".to_owned())),
    }
}

fn typed<T: DeserializeOwned>(response: Value) -> Result<T, Failure> {
    // The position and the type, and no value, are in the words of the error.
    serde_json::from_value(response).map_err(|error| Failure::Invalid(without_values(&error)))
}

/// Returns the words of an error without the value that is wrong.
fn without_values(error: &serde_json::Error) -> String {
    let words = error.to_string();
    let expected = words.split_once("expected ").map_or("another type", |(_, expected)| expected);
    format!("expected {expected}")
}

/// Checks the answer to an event with this `triggerSource`, for an operator.
///
/// # Errors
/// Returns why the answer is not valid.
pub fn check_answer(source: &str, answer: &[u8]) -> Result<(), String> {
    let response = response(answer).map_err(|failure| failure.to_string())?;
    let checked = match source.split('_').next().unwrap_or_default() {
        "PreSignUp" => typed::<PreSignUpAnswer>(response.into()).map(drop),
        "UserMigration" => typed::<MigratedUser>(response.into()).map(drop),
        "CustomMessage" => typed::<CustomMessageAnswer>(response.into()).map(drop),
        "InboundFederation" => typed::<MappedAttributes>(response.into()).map(drop),
        "DefineAuthChallenge" => typed::<DefinedChallenge>(response.into()).map(drop),
        "CreateAuthChallenge" => typed::<CreatedChallenge>(response.into()).map(drop),
        "VerifyAuthChallengeResponse" => typed::<VerifiedAnswer>(response.into()).map(drop),
        "TokenGeneration" => typed::<TokenAnswer>(response.into()).map(drop),
        "PostConfirmation" | "PreAuthentication" | "PostAuthentication" => {
            typed::<NoResponse>(response.into()).map(drop)
        }
        _ => return Err(format!("`{source}` is no triggerSource of a supported event")),
    };
    checked.map_err(|failure| failure.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_event_with_a_response_of_the_right_types() {
        let check = |source: &str, answer: &str| check_answer(source, answer.as_bytes());
        for (source, answer) in [
            ("PreSignUp_SignUp", r#"{"response":{"autoConfirmUser":true}}"#),
            ("PreSignUp_SignUp", r#"{"version":"1","response":{"autoConfirmUser":null,"further":1}}"#),
            ("PostConfirmation_ConfirmSignUp", r#"{"response":{}}"#),
            ("UserMigration_Authentication", r#"{"response":{"userAttributes":{"email":"a@b.example"}}}"#),
            ("CustomMessage_SignUp", r#"{"response":{"smsMessage":"{####}"}}"#),
            ("DefineAuthChallenge_Authentication", r#"{"response":{"challengeName":"CUSTOM_CHALLENGE"}}"#),
            ("VerifyAuthChallengeResponse_Authentication", r#"{"response":{"answerCorrect":true}}"#),
            ("InboundFederation_ExternalProvider", r#"{"response":{"userAttributesToMap":{"email":"a"}}}"#),
        ] {
            assert_eq!(check(source, answer), Ok(()), "{answer}");
        }
        for (source, answer) in [
            ("PreSignUp_SignUp", ""),
            ("PreSignUp_SignUp", "null"),
            ("PreSignUp_SignUp", "[]"),
            ("PreSignUp_SignUp", "{}"),
            ("PreSignUp_SignUp", r#"{"response":null}"#),
            ("PreSignUp_SignUp", r#"{"response":{"autoConfirmUser":"true"}}"#),
            ("PreSignUp_SignUp", r#"{"response":{"autoConfirmUser":1}}"#),
            ("PreSignUp_SignUp", r#"{"response":{},"response":{"autoConfirmUser":true}}"#),
            ("PreSignUp_SignUp", r#"{"response":{}} trailing"#),
            ("UserMigration_Authentication", r#"{"response":{"userAttributes":{"email":1}}}"#),
            ("CustomMessage_SignUp", r#"{"response":{"smsMessage":["a"]}}"#),
            ("CreateAuthChallenge_Authentication", r#"{"response":{"privateChallengeParameters":{"a":1}}}"#),
            ("VerifyAuthChallengeResponse_Authentication", r#"{"response":{"answerCorrect":"true"}}"#),
            (
                "InboundFederation_ExternalProvider",
                r#"{"response":{"userAttributesToMap":{"groups":["a"]}}}"#,
            ),
            ("Unknown_SignUp", r#"{"response":{}}"#),
        ] {
            assert!(check(source, answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn the_words_of_an_error_have_no_value() {
        let answer = r#"{"response":{"autoConfirmUser":"hunter2"}}"#;
        let words = check_answer("PreSignUp_SignUp", answer.as_bytes()).unwrap_err();
        assert!(!words.contains("hunter2") && words.contains("boolean"), "{words}");
    }
}
