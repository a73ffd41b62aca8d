//! Signatures of requests to AWS, version 4
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).

use super::{Secret, Timestamp, sha256};
use aws_lc_rs::hmac;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Request};
use std::fmt::Write as _;

const DATE: HeaderName = HeaderName::from_static("x-amz-date");

/// An access key, with the service and the region of its signatures.
#[derive(Clone, Copy, Debug)]
pub struct AwsSigner<'a> {
    /// The id of the access key.
    pub access_key_id: &'a str,
    /// The secret of the access key.
    pub secret: &'a Secret,
    /// The region.
    pub region: &'a str,
    /// The service, such as `lambda`.
    pub service: &'a str,
}

impl AwsSigner<'_> {
    /// Signs a request without a query: its method, path, host, body, and headers so far. Returns
    /// `None` for a request without a host, or with a value that is not valid in a header.
    pub fn sign(&self, request: &mut Request<Vec<u8>>, now: Timestamp) -> Option<()> {
        let time = chrono::DateTime::from_timestamp(now.seconds(), 0)?;
        let (date, time) = (time.format("%Y%m%d").to_string(), time.format("%Y%m%dT%H%M%SZ").to_string());
        let host = request.uri().authority()?.as_str().to_owned();
        request.headers_mut().insert(DATE, HeaderValue::from_str(&time).ok()?);
        let mut headers = vec![(HOST.as_str().to_owned(), host)];
        for (name, value) in request.headers().iter().filter(|(name, _)| is_signed(name)) {
            headers.push((name.as_str().to_owned(), value.to_str().ok()?.trim().to_owned()));
        }
        headers.sort();
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let names = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let canonical = format!(
            "{}\n{}\n\n{lines}\n{names}\n{}",
            request.method(),
            canonical_path(request.uri().path()),
            hex(&sha256(request.body()))
        );
        let Self { access_key_id, secret, region, service } = self;
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&sha256(canonical)));
        let mut key = format!("AWS4{}", secret.expose()).into_bytes();
        for part in [&date, *region, *service, "aws4_request", &to_sign] {
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes());
            key = tag.as_ref().to_vec();
        }
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={access_key_id}/{scope}, SignedHeaders={names}, Signature={}",
            hex(&key)
        );
        let mut authorization = HeaderValue::from_str(&authorization).ok()?;
        authorization.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, authorization);
        Some(())
    }
}

/// Returns whether the signature covers a header. Proxies may change others.
fn is_signed(name: &HeaderName) -> bool {
    *name == CONTENT_TYPE || name.as_str().starts_with("x-amz-")
}

/// Encodes a path that is encoded already: services other than S3 sign it encoded twice.
fn canonical_path(path: &str) -> String {
    path.bytes().fold(String::with_capacity(path.len()), |mut encoded, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                encoded.push(char::from(byte));
            }
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
        encoded
    })
}

/// Returns bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_encoded_once_more() {
        assert_eq!(
            canonical_path("/2015-03-31/functions/a_b/invocations"),
            "/2015-03-31/functions/a_b/invocations"
        );
        assert_eq!(canonical_path("/a%20b:c"), "/a%2520b%3Ac");
    }

    /// The expected signature is that of botocore for the same request.
    #[test]
    fn the_signature_covers_the_headers_of_aws_and_the_body() {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let signer = AwsSigner {
            access_key_id: "AKIDEXAMPLE",
            secret: &secret,
            region: "eu-central-1",
            service: "lambda",
        };
        let signed = |body: &str, invocation: &str| {
            let mut request = Request::post("https://lambda.example/2015-03-31/functions/f/invocations")
                .header(CONTENT_TYPE, "application/json")
                .header("x-amz-invocation-type", invocation)
                .header("user-agent", "not signed")
                .body(body.as_bytes().to_vec())
                .unwrap();
            signer.sign(&mut request, Timestamp::from_seconds(1_800_000_000)).unwrap();
            request.headers()[AUTHORIZATION].to_str().unwrap().to_owned()
        };
        let authorization = signed("{}", "RequestResponse");
        let names = "SignedHeaders=content-type;host;x-amz-date;x-amz-invocation-type, ";
        assert!(authorization.contains(names), "{authorization}");
        assert!(authorization.contains("Credential=AKIDEXAMPLE/20270115/eu-central-1/lambda/aws4_request, "));
        assert!(
            authorization
                .ends_with("Signature=b71fabee969475199f391ec0a340cb23ff9c02addfdfc71fd80753ac7d767636"),
            "{authorization}"
        );
        assert_ne!(authorization, signed("{ }", "RequestResponse"));
        assert_ne!(authorization, signed("{}", "Event"));
    }
}
