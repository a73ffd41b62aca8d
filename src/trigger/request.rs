//! The requests to a function, and the status of their answers.

use super::delivery::Failure;
use crate::base::{AwsSigner, Secret, Timestamp, hex};
use crate::config::{Trigger, TriggerCredentials};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use serde_json::{Value, json};

/// The id of a call, which is the same in all its tries.
const ID: HeaderName = HeaderName::from_static("x-narthex-id");
/// The time of a try, in seconds since 1970.
const TIMESTAMP: HeaderName = HeaderName::from_static("x-narthex-timestamp");
/// The HMAC-SHA256 of time, id and body, in hexadecimal digits.
const SIGNATURE: HeaderName = HeaderName::from_static("x-narthex-signature");
/// The header of an answer with the error of a function (AWS Lambda API Reference, `Invoke`).
pub(super) const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const CLIENT_CONTEXT: HeaderName = HeaderName::from_static("x-amz-client-context");
const INVOCATION_TYPE: HeaderName = HeaderName::from_static("x-amz-invocation-type");
/// The words of a function that refuses without any.
const NO_WORDS: &str = "Unhandled";

/// Returns the request that sends an event at `now`. Returns `None` if a value is not valid in a
/// header or a URI.
pub(super) fn write(trigger: &Trigger, id: &str, body: &[u8], now: Timestamp) -> Option<Request<Vec<u8>>> {
    let mut request = Request::post(address(trigger)).body(body.to_vec()).ok()?;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ID, HeaderValue::from_str(id).ok()?);
    match &trigger.credentials {
        TriggerCredentials::Http { secret } => {
            let time = now.seconds().to_string();
            headers.insert(SIGNATURE, HeaderValue::from_str(&signature(secret, &time, id, body)).ok()?);
            headers.insert(TIMESTAMP, HeaderValue::from_str(&time).ok()?);
        }
        TriggerCredentials::Lambda { access_key_id, secret_access_key, region } => {
            // The caller waits for the answer: "RequestResponse (default) – Invoke the function
            // synchronously."
            headers.insert(INVOCATION_TYPE, HeaderValue::from_static("RequestResponse"));
            // A function does not see the headers; it has this as `context.clientContext`.
            let context = STANDARD.encode(json!({ "custom": { "id": id } }).to_string());
            headers.insert(CLIENT_CONTEXT, HeaderValue::from_str(&context).ok()?);
            let signer = AwsSigner { access_key_id, secret: secret_access_key, region, service: "lambda" };
            signer.sign(&mut request, now)?;
        }
    }
    Some(request)
}

fn address(trigger: &Trigger) -> String {
    let url = trigger.url.as_str();
    match &trigger.credentials {
        TriggerCredentials::Http { .. } => url.to_owned(),
        TriggerCredentials::Lambda { .. } => {
            format!("{}/2015-03-31/functions/{}/invocations", url.trim_end_matches('/'), trigger.name)
        }
    }
}

/// Returns the HMAC of a request, in hexadecimal digits. The time is part of it, so that a receiver
/// can reject an old request.
fn signature(secret: &Secret, time: &str, id: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{time}.{id}.").as_bytes());
    context.update(body);
    hex(context.sign().as_ref())
}

/// Returns an answer, or the failure that its status states. `refused` is whether it has the header
/// of a function's error.
pub(super) fn judge(status: StatusCode, refused: bool, answer: Vec<u8>) -> Result<Vec<u8>, Failure> {
    match status {
        StatusCode::OK if !refused => Ok(answer),
        StatusCode::OK => Err(Failure::Denied(error_message(&answer).unwrap_or_else(|| NO_WORDS.to_owned()))),
        // A receiver of a POST refuses in this way.
        status if status.is_client_error() => {
            Err(error_message(&answer).map_or(Failure::Status(status), Failure::Denied))
        }
        status => Err(Failure::Status(status)),
    }
}

/// Returns the words of a function that refuses.
fn error_message(answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    answer.get("errorMessage")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::AUTHORIZATION;

    fn trigger(more: &str) -> Trigger {
        let text = format!("public_url = \"https://a.localhost\"\n[[trigger]]\nname = \"f\"\n{more}");
        let config = crate::config::Config::parse(&text, "test", std::path::Path::new("."), &|_| None);
        config.unwrap_or_else(|found| panic!("{found}")).triggers.remove(0)
    }

    #[test]
    fn a_post_is_signed_over_time_id_and_body() {
        let trigger = trigger("url = \"https://hooks.example/a\"\nsecret = \"0123456789abcdefghijkl\"");
        let request = write(&trigger, "id-1", b"{}", Timestamp::from_seconds(1_800_000_000)).unwrap();
        let header = |name: HeaderName| request.headers()[name].to_str().unwrap();
        assert_eq!(request.uri(), "https://hooks.example/a");
        assert_eq!((header(ID), header(TIMESTAMP)), ("id-1", "1800000000"));
        // printf '1800000000.id-1.{}' | openssl dgst -sha256 -hmac 0123456789abcdefghijkl
        assert_eq!(header(SIGNATURE), "1cfb3f177c4dfa59c9a62d43c626dd8f57b95c59dadde6f75f9a65137709e0f2");
    }

    #[test]
    fn an_invocation_is_signed_for_the_region_of_the_function() {
        let trigger = trigger(
            "kind = \"lambda\"\nurl = \"https://lambda.example/base/\"\naccess_key_id = \"AKIA\"\n\
             secret_access_key = \"s\"\nregion = \"eu-west-1\"",
        );
        let request = write(&trigger, "id-1", b"{}", Timestamp::from_seconds(1_800_000_000)).unwrap();
        assert_eq!(request.uri(), "https://lambda.example/base/2015-03-31/functions/f/invocations");
        let authorization = request.headers()[AUTHORIZATION].to_str().unwrap();
        assert!(authorization.contains("AKIA/20270115/eu-west-1/lambda/aws4_request"), "{authorization}");
        assert!(
            authorization.contains("x-amz-client-context;x-amz-date;x-amz-invocation-type"),
            "{authorization}"
        );
        let context = STANDARD.decode(request.headers()[CLIENT_CONTEXT].as_bytes()).unwrap();
        assert_eq!(context, br#"{"custom":{"id":"id-1"}}"#);
        assert!(!request.headers().contains_key(SIGNATURE));
    }

    #[test]
    fn a_status_decides_who_failed() {
        let judge = |status: u16, refused, body: &str| {
            judge(StatusCode::from_u16(status).unwrap(), refused, body.as_bytes().to_vec())
        };
        let error = r#"{"errorMessage":"Only staff","errorType":"Error"}"#;
        let denied = |words: &str| Err(Failure::Denied(words.to_owned()));
        let failed = |status: u16| Err(Failure::Status(StatusCode::from_u16(status).unwrap()));
        assert_eq!(judge(200, false, "{}"), Ok(b"{}".to_vec()));
        assert_eq!(judge(200, true, error), denied("Only staff"));
        assert_eq!(judge(200, true, "x"), denied("Unhandled"));
        assert_eq!(judge(403, false, error), denied("Only staff"));
        for (status, body) in [(404, "x"), (302, error), (500, error), (204, "")] {
            assert_eq!(judge(status, false, body), failed(status), "{status}");
        }
    }
}
