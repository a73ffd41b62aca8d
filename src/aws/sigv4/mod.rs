//! Verification of AWS Signature Version 4, in the `Authorization` header and in the query
//! (IAM User Guide, "Create a signed AWS API request").

use super::error::ApiError;
use crate::base::{Duration, Secret, Timestamp};
use aws_lc_rs::{constant_time, hmac};
use http::{HeaderMap, Method};
use std::fmt::Write as _;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Maximum difference between the time of a signature and the clock.
const MAX_SKEW: Duration = Duration::from_mins(15);
/// Maximum lifetime of a signature in the query, in seconds.
const MAX_EXPIRES: u64 = 7 * 86_400;
/// Headers whose values a signature must cover: another host or operation is another request.
const MUST_BE_SIGNED: [&str; 2] = ["host", "x-amz-target"];
/// Maximum signed headers.
const MAX_SIGNED_HEADERS: usize = 64;

/// A request, as far as a signature covers it.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as the client sent it, percent-encoded.
    pub path: &'a str,
    /// The query as the client sent it, without `?`.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
}

/// A signature as presented by a client.
#[derive(Debug)]
pub struct Presented {
    /// The id of the access key.
    pub access_key_id: String,
    /// The region of the credential scope.
    pub region: String,
    /// The service of the credential scope.
    service: String,
    /// The date of the credential scope, `YYYYMMDD`.
    date: String,
    /// When the request was signed, `YYYYMMDD'T'HHMMSS'Z'`.
    timestamp: String,
    /// How long a signature in the query is valid; 0 in a header.
    expires: u64,
    signed_headers: Vec<String>,
    signature: String,
    in_query: bool,
}

impl Presented {
    /// Reads the signature of a request.
    ///
    /// # Errors
    /// Returns `MissingAuthenticationTokenException` if there is none, and
    /// `IncompleteSignatureException` if a part is missing or malformed.
    pub fn read(request: &SignedRequest<'_>) -> Result<Self, ApiError> {
        let mut header = request.headers.get_all(http::header::AUTHORIZATION).iter();
        match (header.next(), header.next()) {
            (Some(value), None) => Self::of_header(value.to_str().unwrap_or_default(), request.headers),
            (Some(_), Some(_)) => Err(incomplete("Authorization header occurs twice.")),
            (None, _) if request.query.contains("X-Amz-Signature=") => Self::of_query(request.query),
            (None, _) => {
                Err(ApiError::new("MissingAuthenticationTokenException", "Missing Authentication Token"))
            }
        }
    }

    fn of_header(value: &str, headers: &HeaderMap) -> Result<Self, ApiError> {
        let parts =
            value.strip_prefix(ALGORITHM).and_then(|rest| rest.strip_prefix(' ')).ok_or_else(|| {
                ApiError::new("MissingAuthenticationTokenException", "Missing Authentication Token")
            })?;
        let (mut credential, mut signed, mut signature) = (None, None, None);
        for part in parts.split(',') {
            let (slot, value) = match part.trim().split_once('=') {
                Some(("Credential", value)) => (&mut credential, value),
                Some(("SignedHeaders", value)) => (&mut signed, value),
                Some(("Signature", value)) => (&mut signature, value),
                _ => return Err(incomplete("Authorization header has an unknown parameter.")),
            };
            if slot.replace(value).is_some() {
                return Err(incomplete("Authorization header has a parameter twice."));
            }
        }
        let need = |value: Option<&str>, name: &str| {
            value
                .map(str::to_owned)
                .ok_or_else(|| incomplete(format!("Authorization header requires '{name}' parameter.")))
        };
        let date = headers.get("x-amz-date").and_then(|value| value.to_str().ok());
        let timestamp = date
            .ok_or_else(|| incomplete("Authorization header requires existence of 'X-Amz-Date' header."))?;
        Self::new(
            &need(credential, "Credential")?,
            &need(signed, "SignedHeaders")?,
            need(signature, "Signature")?,
            timestamp.to_owned(),
            (0, false),
        )
    }

    fn of_query(query: &str) -> Result<Self, ApiError> {
        let parameters = parameters(query);
        let get = |name: &str| {
            let mut values = parameters.iter().filter(|(key, _)| key == name.as_bytes());
            match (values.next(), values.next()) {
                (Some((_, value)), None) => Ok(String::from_utf8_lossy(value).into_owned()),
                _ => Err(incomplete(format!("The query requires one '{name}'."))),
            }
        };
        if get("X-Amz-Algorithm")? != ALGORITHM {
            return Err(incomplete(format!("X-Amz-Algorithm must be {ALGORITHM}.")));
        }
        let expires =
            get("X-Amz-Expires")?.parse().ok().filter(|expires| (1..=MAX_EXPIRES).contains(expires));
        let expires =
            expires.ok_or_else(|| incomplete("X-Amz-Expires must be between 1 and 604800 seconds."))?;
        let (credential, signed) = (get("X-Amz-Credential")?, get("X-Amz-SignedHeaders")?);
        Self::new(&credential, &signed, get("X-Amz-Signature")?, get("X-Amz-Date")?, (expires, true))
    }

    fn new(
        credential: &str,
        signed_headers: &str,
        signature: String,
        timestamp: String,
        (expires, in_query): (u64, bool),
    ) -> Result<Self, ApiError> {
        let parts: Vec<&str> = credential.split('/').collect();
        let [id, date, region, service, "aws4_request"] = parts[..] else {
            return Err(incomplete(
                "Credential must have 5 parts: {access key id}/{date}/{region}/{service}/aws4_request.",
            ));
        };
        if seconds_of(&timestamp).is_none() || !timestamp.starts_with(date) || date.len() != 8 {
            return Err(incomplete("Date must be in ISO-8601 'basic format', and that of the credential."));
        }
        let signed_headers: Vec<String> = signed_headers.split(';').map(str::to_owned).collect();
        let is_sorted = signed_headers.windows(2).all(|pair| pair[0] < pair[1]);
        if !is_sorted || signed_headers.len() > MAX_SIGNED_HEADERS {
            return Err(incomplete("SignedHeaders must be sorted, in lower case, and each occur once."));
        }
        Ok(Self {
            access_key_id: id.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            date: date.to_owned(),
            timestamp,
            expires,
            signed_headers,
            signature,
            in_query,
        })
    }

    /// Checks the credential scope and the signature.
    ///
    /// # Errors
    /// Returns `InvalidSignatureException`.
    pub fn verify(
        &self,
        request: &SignedRequest<'_>,
        secret: &Secret,
        (region, service): (&str, &str),
        now: Timestamp,
    ) -> Result<(), ApiError> {
        if self.region != region {
            return Err(invalid(format!(
                "Credential should be scoped to a valid region, not '{}'.",
                shown(&self.region)
            )));
        }
        if self.service != service {
            return Err(invalid(format!("Credential should be scoped to correct service: '{service}'.")));
        }
        self.check_time(now)?;
        for name in MUST_BE_SIGNED {
            let is_signed = self.signed_headers.iter().any(|signed| signed == name);
            if !is_signed && (name == "host" || request.headers.contains_key(name)) {
                return Err(invalid(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")));
            }
        }
        let key = self.signing_key(secret);
        let expected = hmac::sign(&key, self.string_to_sign(request)?.as_bytes());
        let presented = hex_digest(&self.signature);
        let is_equal = |presented: [u8; 32]| {
            constant_time::verify_slices_are_equal(expected.as_ref(), &presented).is_ok()
        };
        match presented.is_some_and(is_equal) {
            true => Ok(()),
            false => Err(invalid(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                 Access Key and signing method. Consult the service documentation for details.",
            )),
        }
    }

    fn check_time(&self, now: Timestamp) -> Result<(), ApiError> {
        let signed_at = Timestamp::from_seconds(seconds_of(&self.timestamp).unwrap_or_default());
        if signed_at.since(now) > MAX_SKEW {
            return Err(invalid(format!("Signature not yet current: {} is later than now.", self.timestamp)));
        }
        let lifetime = if self.in_query { Duration::from_secs(self.expires) } else { MAX_SKEW };
        if now.since(signed_at) > lifetime {
            return Err(invalid(format!(
                "Signature expired: {} is now earlier than allowed.",
                self.timestamp
            )));
        }
        Ok(())
    }

    /// Derives the key of one day, region and service.
    fn signing_key(&self, secret: &Secret) -> hmac::Key {
        let mut key = format!("AWS4{}", secret.expose()).into_bytes();
        for part in [&self.date, &self.region, &self.service, "aws4_request"] {
            let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), part.as_bytes());
            key = mac.as_ref().to_vec();
        }
        hmac::Key::new(hmac::HMAC_SHA256, &key)
    }

    fn string_to_sign(&self, request: &SignedRequest<'_>) -> Result<String, ApiError> {
        let digest = hex(&crate::base::sha256(self.canonical_request(request)?));
        let Self { timestamp, date, region, service, .. } = self;
        Ok(format!("{ALGORITHM}\n{timestamp}\n{date}/{region}/{service}/aws4_request\n{digest}"))
    }

    fn canonical_request(&self, request: &SignedRequest<'_>) -> Result<String, ApiError> {
        let mut text = format!(
            "{}\n{}\n{}\n",
            request.method,
            canonical_path(request.path),
            canonical_query(request.query)
        );
        for name in &self.signed_headers {
            let mut values = request.headers.get_all(name.as_str()).iter().peekable();
            if values.peek().is_none() {
                return Err(invalid(format!("the signed header '{}' is missing", shown(name))));
            }
            let _ = write!(text, "{name}:");
            let mut separator = "";
            for value in values {
                let value = value
                    .to_str()
                    .map_err(|_| invalid(format!("the signed header '{}' is not ASCII", shown(name))))?;
                let _ = write!(text, "{separator}{}", collapsed(value));
                separator = ",";
            }
            text.push('\n');
        }
        let _ =
            write!(text, "\n{}\n{}", self.signed_headers.join(";"), hex(&crate::base::sha256(request.body)));
        Ok(text)
    }
}

fn incomplete(message: impl Into<std::borrow::Cow<'static, str>>) -> ApiError {
    ApiError::new("IncompleteSignatureException", message)
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> ApiError {
    ApiError::new("InvalidSignatureException", message)
}

/// Returns a client's text for a message: bounded.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Returns the value without leading, trailing and repeated spaces.
fn collapsed(value: &str) -> String {
    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Encodes each segment of a percent-encoded path once more, as all services but S3 have it.
fn canonical_path(path: &str) -> String {
    if path.is_empty() {
        return "/".to_owned();
    }
    path.split('/').map(|segment| uri_encoded(segment.as_bytes())).collect::<Vec<_>>().join("/")
}

/// Returns the parameters in order, each encoded, without the signature.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = parameters(query)
        .iter()
        .filter(|(name, _)| name != b"X-Amz-Signature")
        .map(|(name, value)| (uri_encoded(name), uri_encoded(value)))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Returns the decoded parameters of a query.
fn parameters(query: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(name, value)| (percent_decoded(name), percent_decoded(value))).collect()
}

/// Decodes `%XX`; another `%` stays.
fn percent_decoded(text: &str) -> Vec<u8> {
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))
        });
        decoded.push(hex.unwrap_or(byte));
        at += if hex.is_some() { 3 } else { 1 };
    }
    decoded
}

/// Encodes all but unreserved characters (RFC 3986, section 2.3).
fn uri_encoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(*byte))
            }
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the 64 hexadecimal digits of a signature.
fn hex_digest(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, digits) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// Reads `YYYYMMDD'T'HHMMSS'Z'` as seconds since 1970.
fn seconds_of(text: &str) -> Option<i64> {
    let time = chrono::NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok()?;
    (text.len() == 16).then(|| time.and_utc().timestamp())
}

#[cfg(test)]
mod tests;
