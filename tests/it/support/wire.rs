//! The Cognito API over HTTP without an SDK, for requests that no SDK would send.

use super::aws::KEY;
use super::narthex::Narthex;
use super::visitor::Visitor;
use aws_lc_rs::{digest, hmac};
use narthex::base::{Clock as _, SystemClock, Timestamp};
use serde_json::Value;

const CONTENT_TYPE: &str = "application/x-amz-json-1.1";
const REGION: &str = "us-east-1";
/// The prefix of `X-Amz-Target`.
const SERVICE: &str = "AWSCognitoIdentityProviderService";

/// A client with kept connections.
pub struct Wire {
    client: reqwest::Client,
    origin: String,
}

/// A response.
#[derive(Clone, Debug, PartialEq)]
pub struct WireResponse {
    pub status: u16,
    /// `x-amzn-errortype`.
    pub error_type: String,
    /// `x-amzn-errormessage`.
    pub error_message: String,
    pub content_type: String,
    pub body: Value,
}

impl Wire {
    pub fn new(narthex: &Narthex) -> Self {
        let client = Visitor::with_client(narthex, |builder| builder.http1_only()).client;
        Self { client, origin: narthex.origin("auth") }
    }

    /// Sends a body to an operation, with the administrator's signature or without one.
    pub async fn send(&self, operation: &str, is_signed: bool, body: &str) -> WireResponse {
        let target = format!("{SERVICE}.{operation}");
        let mut request = self.client.post(format!("{}/", self.origin)).header("content-type", CONTENT_TYPE);
        if is_signed {
            let host = self.origin.strip_prefix("https://").unwrap();
            let date = date(SystemClock.now());
            request = request.header("authorization", authorization(host, &date, &target, body));
            request = request.header("x-amz-date", date);
        }
        let request = request.header("x-amz-target", target).body(body.to_owned());
        let response = request.send().await.unwrap();
        let header = |name: &str| {
            let value = response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            value.unwrap_or_default()
        };
        let (error_type, error_message) = (header("x-amzn-errortype"), header("x-amzn-errormessage"));
        let (status, content_type) = (response.status().as_u16(), header("content-type"));
        let body = response.bytes().await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {body:?}"));
        WireResponse { status, error_type, error_message, content_type, body }
    }
}

/// The time as `20261129T114752Z`.
fn date(now: Timestamp) -> String {
    let (days, seconds) = (now.seconds().div_euclid(86_400), now.seconds().rem_euclid(86_400));
    let (mut year, mut days) = (1970, days);
    let is_leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + i64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year}{month:02}{:02}T{hours:02}{minutes:02}{seconds:02}Z", days + 1)
}

/// Signature Version 4 of a request to `/`.
fn authorization(host: &str, date: &str, target: &str, body: &str) -> String {
    let day = &date[..8];
    let headers = "content-type;host;x-amz-date;x-amz-target";
    let canonical = format!(
        "POST\n/\n\ncontent-type:{CONTENT_TYPE}\nhost:{host}\nx-amz-date:{date}\nx-amz-target:{target}\n\n{headers}\n{}",
        sha256(body)
    );
    let scope = format!("{day}/{REGION}/cognito-idp/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(&canonical));
    let mac = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
    };
    let mut key = format!("AWS4{}", KEY.1).into_bytes();
    for part in [day, REGION, "cognito-idp", "aws4_request"] {
        key = mac(&key, part);
    }
    let signature = hex(&mac(&key, &text));
    let id = KEY.0;
    format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={headers}, Signature={signature}")
}

fn sha256(text: &str) -> String {
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
