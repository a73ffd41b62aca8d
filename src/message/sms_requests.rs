//! The requests of each SMS service, and the interpretation of their responses.

use super::errors::SendError;
use crate::base::{AwsSigner, Timestamp};
use crate::config::{Sms, SmsShape};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use serde_json::{Value, json};
use url::form_urlencoded;

const FORM: &str = "application/x-www-form-urlencoded";

/// Returns the request that sends `text` to `number`, which begins with `+`. Returns `None` if a
/// value is not valid in a header or URI.
pub(super) fn request(sms: &Sms, number: &str, text: &str, now: Timestamp) -> Option<Request<Vec<u8>>> {
    let account = sms.account.as_deref().unwrap_or_default();
    let secret = sms.secret.as_ref().map(|secret| secret.expose()).unwrap_or_default();
    let (kind, body) = match sms.shape {
        SmsShape::Json => {
            let body = json!({ "to": number, "from": sms.from, "text": text });
            ("application/json", body.to_string())
        }
        shape => (FORM, form(&fields(shape, sms, number, text, (account, secret)))),
    };
    let mut request = Request::new(body.into_bytes());
    *request.method_mut() = sms.method.clone();
    *request.uri_mut() = sms.url.as_str().parse().ok()?;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let authorization = match (sms.shape, &sms.account, &sms.secret) {
        (SmsShape::Sns, ..) => {
            let (region, secret) = (&*sms.region, sms.secret.as_ref()?);
            let signer = AwsSigner { access_key_id: account, secret, region, service: "sns" };
            signer.sign(&mut request, now)?;
            None
        }
        (SmsShape::Twilio, ..) | (SmsShape::Json, Some(_), Some(_)) => {
            Some(format!("Basic {}", STANDARD.encode(format!("{account}:{secret}"))))
        }
        (SmsShape::Json, None, Some(_)) => Some(format!("Bearer {secret}")),
        _ => None,
    };
    if let Some(authorization) = authorization {
        request.headers_mut().insert(AUTHORIZATION, sensitive(&authorization)?);
    }
    for (name, value) in &sms.headers {
        request.headers_mut().insert(name, sensitive(value.expose())?);
    }
    Some(request)
}

fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Returns the form fields of a request.
fn fields<'a>(
    shape: SmsShape,
    sms: &'a Sms,
    number: &'a str,
    text: &'a str,
    (account, secret): (&'a str, &'a str),
) -> Vec<(&'static str, &'a str)> {
    match shape {
        // https://www.twilio.com/docs/messaging/api/message-resource: a messaging service SID
        // begins with MG.
        SmsShape::Twilio => {
            let sender = if sms.from.starts_with("MG") { "MessagingServiceSid" } else { "From" };
            vec![("To", number), (sender, &sms.from), ("Body", text)]
        }
        // https://developer.vonage.com/en/api/sms: numbers have no `+`.
        SmsShape::Vonage => vec![
            ("api_key", account),
            ("api_secret", secret),
            ("from", sms.from.trim_start_matches('+')),
            ("to", number.trim_start_matches('+')),
            ("text", text),
            ("type", if text.is_ascii() { "text" } else { "unicode" }),
        ],
        // https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
        _ => {
            let is_number = sms.from.starts_with('+');
            let sender = if is_number { "AWS.MM.SMS.OriginationNumber" } else { "AWS.SNS.SMS.SenderID" };
            vec![
                ("Action", "Publish"),
                ("Version", "2010-03-31"),
                ("PhoneNumber", number),
                ("Message", text),
                ("MessageAttributes.entry.1.Name", "AWS.SNS.SMS.SMSType"),
                ("MessageAttributes.entry.1.Value.DataType", "String"),
                ("MessageAttributes.entry.1.Value.StringValue", "Transactional"),
                ("MessageAttributes.entry.2.Name", sender),
                ("MessageAttributes.entry.2.Value.DataType", "String"),
                ("MessageAttributes.entry.2.Value.StringValue", &sms.from),
            ]
        }
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Interprets a response.
///
/// # Errors
/// Returns an error for a response without success. After a response of an intermediary
/// ([`StatusCode::BAD_GATEWAY`], [`StatusCode::GATEWAY_TIMEOUT`]), the outcome is unknown.
pub(super) fn judge(shape: SmsShape, status: StatusCode, body: &[u8]) -> Result<(), SendError> {
    let words = || format!("the service answered {status}{}", reason(shape, body));
    match status {
        status if status.is_success() && shape == SmsShape::Vonage => vonage(body),
        status if status.is_success() => Ok(()),
        // The service, or a proxy in front of it, may have processed the text.
        StatusCode::BAD_GATEWAY
        | StatusCode::GATEWAY_TIMEOUT
        | StatusCode::INTERNAL_SERVER_ERROR
        | StatusCode::REQUEST_TIMEOUT => Err(SendError::Doubtful(words())),
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::TOO_MANY_REQUESTS => Err(SendError::Unavailable(words())),
        status if status.is_server_error() || status.is_redirection() => Err(SendError::Unavailable(words())),
        _ => Err(SendError::Rejected(words())),
    }
}

/// Returns the service's reason for an error. The rest of a response may contain the text with its
/// code.
fn reason(shape: SmsShape, body: &[u8]) -> String {
    match shape {
        // https://www.twilio.com/docs/usage/twilios-response
        SmsShape::Twilio => {
            let answer: Value = serde_json::from_slice(body).unwrap_or_default();
            format!(": {} {}", answer["code"], answer["message"])
        }
        // https://docs.aws.amazon.com/sns/latest/api/CommonErrors.html
        SmsShape::Sns => {
            let text = String::from_utf8_lossy(body);
            let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
            code.map(|(code, _)| format!(": {code}")).unwrap_or_default()
        }
        SmsShape::Vonage | SmsShape::Json => String::new(),
    }
}

/// Interprets Vonage's response, whose status is always 200
/// (<https://api.support.vonage.com/hc/en-us/articles/204014733>).
fn vonage(body: &[u8]) -> Result<(), SendError> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = &answer["messages"][0];
    let words = || format!("status {}: {}", message["status"], message["error-text"]);
    match message["status"].as_str() {
        Some("0") => Ok(()),
        // A parameter, the sender or the number is not valid, so that a retry would have the same
        // result.
        Some("2" | "3" | "6" | "7" | "15" | "22" | "29" | "33") => Err(SendError::Rejected(words())),
        Some(_) => Err(SendError::Unavailable(words())),
        None => Err(SendError::Doubtful("the service's answer has no status".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sms(shape: &str, more: &str) -> Sms {
        let text = format!(
            "public_url = \"https://a.localhost\"\n[sms]\nshape = \"{shape}\"\nallowed_prefixes = \"+\"\n{more}"
        );
        let config = crate::config::Config::parse(&text, "test", std::path::Path::new("."), &|_| None);
        config.unwrap().sms.unwrap()
    }

    fn sent(sms: &Sms) -> (String, String, String) {
        let now = Timestamp::from_seconds(1_800_000_000);
        let request = request(sms, "+4915112345678", "Code 1 & ü", now).unwrap();
        let authorization =
            request.headers().get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        let body = String::from_utf8(request.body().clone()).unwrap();
        (request.uri().to_string(), authorization.unwrap_or_default(), body)
    }

    const ACCOUNT: &str = "account = \"AC1\"\nsecret = \"s\"\nfrom = \"+4930123456\"";

    #[test]
    fn each_service_gets_its_documented_request() {
        let (url, authorization, body) = sent(&sms("twilio", ACCOUNT));
        assert_eq!(url, "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json");
        assert_eq!(authorization, "Basic QUMxOnM=");
        assert_eq!(body, "To=%2B4915112345678&From=%2B4930123456&Body=Code+1+%26+%C3%BC");
        let (url, authorization, body) = sent(&sms("vonage", ACCOUNT));
        assert_eq!((url.as_str(), authorization.as_str()), ("https://rest.nexmo.com/sms/json", ""));
        assert_eq!(
            body,
            "api_key=AC1&api_secret=s&from=4930123456&to=4915112345678&text=Code+1+%26+%C3%BC&type=unicode"
        );
        let json = "url = \"https://a.example/x\"\nsecret = \"s\"\nfrom = \"A\"";
        let (url, authorization, body) = sent(&sms("json", json));
        assert_eq!((url.as_str(), authorization.as_str()), ("https://a.example/x", "Bearer s"));
        assert_eq!(body, r#"{"from":"A","text":"Code 1 & ü","to":"+4915112345678"}"#);
    }

    /// The signature was computed by botocore 1.44.8 (`SigV4Auth`) for the same request.
    #[test]
    fn a_request_to_sns_is_signed() {
        let (url, authorization, body) = sent(&sms("sns", ACCOUNT));
        assert_eq!(url, "https://sns.us-east-1.amazonaws.com/");
        assert!(body.starts_with("Action=Publish&Version=2010-03-31&PhoneNumber=%2B4915112345678&Message="));
        assert_eq!(
            authorization,
            "AWS4-HMAC-SHA256 Credential=AC1/20270115/us-east-1/sns/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, Signature=c29e016a05281bfdb75fa8d1d2d258b5d9731d6d8ab07b0e8cc703f99fe90f6e"
        );
    }

    #[test]
    fn answers_are_judged_by_who_can_do_something() {
        let of = |status: u16, body: &str| {
            judge(SmsShape::Vonage, StatusCode::from_u16(status).unwrap(), body.as_bytes())
        };
        assert_eq!(of(200, r#"{"messages":[{"status":"0"}]}"#), Ok(()));
        assert!(matches!(of(200, r#"{"messages":[{"status":"1"}]}"#), Err(SendError::Unavailable(_))));
        for status in ["3", "7", "15", "22"] {
            let body = format!(r#"{{"messages":[{{"status":"{status}"}}]}}"#);
            assert!(matches!(of(200, &body), Err(SendError::Rejected(_))), "{status}");
        }
        assert!(matches!(of(200, "{}"), Err(SendError::Doubtful(_))));
        for (status, kind) in
            [(400, "R"), (401, "U"), (408, "D"), (429, "U"), (500, "D"), (502, "D"), (503, "U"), (302, "U")]
        {
            let error = judge(SmsShape::Json, StatusCode::from_u16(status).unwrap(), b"").unwrap_err();
            assert!(format!("{error:?}").starts_with(kind), "{status}: {error:?}");
        }
        assert_eq!(judge(SmsShape::Json, StatusCode::ACCEPTED, b""), Ok(()));
    }

    #[test]
    fn an_error_has_the_services_reason_and_not_the_text() {
        let of = |shape, body: &str| {
            judge(shape, StatusCode::BAD_REQUEST, body.as_bytes()).unwrap_err().to_string()
        };
        let twilio = of(SmsShape::Twilio, r#"{"code": 21211, "message": "Invalid 'To'", "body": "424242"}"#);
        assert_eq!(twilio, "the service answered 400 Bad Request: 21211 \"Invalid 'To'\"");
        let sns =
            of(SmsShape::Sns, "<ErrorResponse><Error><Code>InvalidParameter</Code><Message>424242</Message>");
        assert_eq!(sns, "the service answered 400 Bad Request: InvalidParameter");
        assert_eq!(of(SmsShape::Json, "424242"), "the service answered 400 Bad Request");
    }
}
