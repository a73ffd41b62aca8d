//! The record of a request for the access log, and its two formats.

use crate::authn::Principal;
use crate::base::{MonotonicTime, Timestamp};
use crate::config::AccessLogFormat;
use crate::gateway::request::{RequestInfo, path_part};
use chrono::DateTime;
use http::header::{HOST, REFERER, USER_AGENT};
use http::{HeaderName, HeaderValue};
use pingora_http::RequestHeader;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The maximum number of bytes of a client's value, since records wait in memory.
const MAX_VALUE: usize = 2048;

/// The record of a request. Unknown values are empty or `None`.
#[derive(Debug, Default)]
pub struct AccessRecord {
    /// The time at which its head was read.
    pub time: Option<Timestamp>,
    /// The same time, from which the duration is measured.
    pub started_at: Option<MonotonicTime>,
    pub request_id: String,
    pub client: Option<IpAddr>,
    pub method: String,
    pub host: String,
    /// The path and query, unchanged.
    pub target: String,
    pub protocol: &'static str,
    pub user_agent: String,
    pub referer: String,
    /// The name of the user, and the `sub`.
    pub user: String,
    pub sub: String,
    pub route: String,
    pub upstream: Option<SocketAddr>,
    /// The response's status; 0 without a response.
    pub status: u16,
    /// The number of bytes of the response's body.
    pub bytes: Option<usize>,
    pub duration: Duration,
}

impl AccessRecord {
    /// Returns a record with the data of a head alone, for a request that is refused because of its
    /// head.
    pub fn of_head(head: &RequestHeader) -> Self {
        let text = |name: HeaderName| head.headers.get(name).map(HeaderValue::as_bytes).map(bounded_value);
        let authority = head.uri.authority().map(|authority| authority.as_str().to_owned());
        Self {
            method: bounded_value(head.method.as_str().as_bytes()),
            host: authority.or_else(|| text(HOST)).unwrap_or_default(),
            target: address(head.raw_path()),
            protocol: match head.version {
                http::Version::HTTP_10 => "HTTP/1.0",
                http::Version::HTTP_2 => "HTTP/2.0",
                _ => "HTTP/1.1",
            },
            user_agent: text(USER_AGENT).unwrap_or_default(),
            referer: head.headers.get(REFERER).map(|value| address(value.as_bytes())).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Returns a record of a request whose head was read.
    pub fn of(head: &RequestHeader, incoming: &RequestInfo) -> Self {
        Self {
            time: Some(incoming.received.wall),
            started_at: Some(incoming.received.monotonic),
            request_id: incoming.request_id.clone(),
            client: incoming.client,
            host: incoming.host.to_string(),
            ..Self::of_head(head)
        }
    }

    /// Returns a record of bytes that did not reach the HTTP parser, from their first line.
    pub fn of_bytes(head: &[u8]) -> Self {
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
        // Any other byte ends the method, because the method must never contain a query.
        let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let method = line.iter().position(|byte| !is_letter(byte)).unwrap_or(line.len());
        let (method, rest) = line.split_at(method);
        let target = rest.trim_ascii_start();
        let target = target.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        Self {
            method: bounded_value(method),
            target: address(target),
            protocol: "HTTP/1.1",
            ..Self::default()
        }
    }

    /// Sets the principal of the request.
    pub fn set_principal(&mut self, principal: &Principal) {
        self.sub = principal.subject().to_owned();
        self.user = principal.user().map(|user| user.username.clone()).unwrap_or_default();
    }

    /// Returns the path, with the query if `query` is set.
    pub fn path(&self, query: bool) -> &str {
        if query { &self.target } else { path_part(&self.target) }
    }

    /// Appends the record as a line.
    pub fn write(&self, form: &mut LineFormatter, line: &mut String) {
        match form.format {
            AccessLogFormat::Json => self.write_json(form, line),
            AccessLogFormat::Combined => self.write_combined(form, line),
        }
        line.push('\n');
    }

    fn client_text(&self) -> String {
        self.client.map(|client| client.to_canonical().to_string()).unwrap_or_default()
    }

    fn write_json(&self, form: &mut LineFormatter, line: &mut String) {
        let upstream = self.upstream.map(|address| address.to_string()).unwrap_or_default();
        let time = self.time.unwrap_or(Timestamp::from_millis(0));
        _ = write!(line, "{{\"time\":\"{}.{:03}Z\",", form.second(time), time.millis().rem_euclid(1000));
        let texts = [
            ("request_id", &*self.request_id),
            ("client", &self.client_text()),
            ("method", &self.method),
            ("host", &self.host),
            ("path", self.path(form.query)),
            ("protocol", self.protocol),
            ("route", &self.route),
            ("upstream", &upstream),
            ("user", &self.user),
            ("sub", &self.sub),
            ("user_agent", &self.user_agent),
        ];
        for (name, value) in texts {
            // Unknown values are left out.
            if !value.is_empty() {
                line.push('"');
                line.push_str(name);
                line.push_str("\":");
                push_json(value, line);
                line.push(',');
            }
        }
        if let Some(bytes) = self.bytes {
            _ = write!(line, "\"bytes\":{bytes},");
        }
        let (millis, micros) = (self.duration.as_millis(), self.duration.subsec_micros() % 1000);
        _ = write!(line, "\"duration_ms\":{millis}.{micros:03},\"status\":{}}}", self.status);
    }

    fn write_combined(&self, form: &mut LineFormatter, line: &mut String) {
        let or_dash = |text: &str, line: &mut String| match text.is_empty() {
            true => line.push('-'),
            false => push_escaped(text, line),
        };
        or_dash(&self.client_text(), line);
        line.push_str(" - ");
        push_user(if self.user.is_empty() { &self.sub } else { &self.user }, line);
        let time = self.time.unwrap_or(Timestamp::from_millis(0));
        _ = write!(line, " [{} +0000] \"", form.second(time));
        or_dash(&self.method, line);
        line.push(' ');
        or_dash(self.path(form.query), line);
        _ = write!(line, " {}\" {} ", self.protocol, self.status);
        match self.bytes {
            Some(bytes) => _ = write!(line, "{bytes}"),
            None => line.push('-'),
        }
        line.push_str(" \"");
        or_dash(if form.query { &self.referer } else { path_part(&self.referer) }, line);
        line.push_str("\" \"");
        or_dash(&self.user_agent, line);
        line.push('"');
    }
}

/// A formatter of lines. It caches the text of the last second, which most lines share with the
/// previous one.
pub struct LineFormatter {
    format: AccessLogFormat,
    query: bool,
    second: Option<i64>,
    text: String,
}

impl LineFormatter {
    /// Returns a formatter, which writes queries if `query` is set.
    pub fn new(format: AccessLogFormat, query: bool) -> Self {
        Self { format, query, second: None, text: String::new() }
    }

    /// Returns the text of a time's second, in UTC.
    fn second(&mut self, time: Timestamp) -> &str {
        let second = time.millis().div_euclid(1000);
        if self.second != Some(second) {
            self.second = Some(second);
            let date = DateTime::from_timestamp(second, 0).unwrap_or_default();
            let pattern = match self.format {
                AccessLogFormat::Json => "%Y-%m-%dT%H:%M:%S",
                AccessLogFormat::Combined => "%d/%b/%Y:%H:%M:%S",
            };
            self.text = date.format(pattern).to_string();
        }
        &self.text
    }
}

/// Returns an address of a client without its userinfo and fragment, which may be secrets (RFC
/// 9110, section 10.1.3).
fn address(value: &[u8]) -> String {
    let value = &value[..memchr::memchr(b'#', value).unwrap_or(value.len())];
    let is_of_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let scheme = value.iter().position(|byte| !is_of_scheme(byte)).unwrap_or(value.len());
    if scheme == 0 || value.get(scheme) != Some(&b':') {
        return bounded_value(value);
    }
    // Browsers read a backslash as a slash here, and accept any number of them.
    let slashes = value[scheme + 1..].iter().take_while(|byte| matches!(byte, b'/' | b'\\')).count();
    let (front, rest) = value.split_at(scheme + 1 + slashes);
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'\\' | b'?')).unwrap_or(rest.len());
    match memchr::memrchr(b'@', &rest[..end]) {
        Some(at) => bounded_value(&[front, &rest[at + 1..]].concat()),
        None => bounded_value(value),
    }
}

/// Returns a client's value, cut to [`MAX_VALUE`].
fn bounded_value(value: &[u8]) -> String {
    String::from_utf8_lossy(&value[..value.len().min(MAX_VALUE)]).into_owned()
}

/// Returns whether `text` needs no escape in either format.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
}

/// Appends `text` as a JSON string in ASCII, so that no control sequence of a client reaches a
/// terminal.
fn push_json(text: &str, line: &mut String) {
    line.push('"');
    if is_plain(text) {
        line.push_str(text);
        line.push('"');
        return;
    }
    for c in text.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            ' '..='~' => line.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    _ = write!(line, "\\u{unit:04x}");
                }
            }
        }
    }
    line.push('"');
}

/// Appends `text` for the combined format. A quote, a backslash and all but printable ASCII become
/// `\xHH`.
fn push_escaped(text: &str, line: &mut String) {
    if is_plain(text) {
        return line.push_str(text);
    }
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => _ = write!(line, "\\x{byte:02X}"),
            b' '..=b'~' => line.push(char::from(byte)),
            byte => _ = write!(line, "\\x{byte:02X}"),
        }
    }
}

/// Appends a user's name as a field of the combined format, which ends at a space and is `-`
/// without a user. Different names result in different fields.
fn push_user(user: &str, line: &mut String) {
    match user {
        "" => line.push('-'),
        "-" => line.push_str("\\x2D"),
        user => {
            for (number, part) in user.split(' ').enumerate() {
                if number > 0 {
                    line.push_str("\\x20");
                }
                push_escaped(part, line);
            }
        }
    }
}

/// Returns a client's value with the escapes of the combined format.
pub fn printable(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    push_escaped(text, &mut escaped);
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> AccessRecord {
        AccessRecord {
            time: Some(Timestamp::from_millis(1_764_300_000_123)),
            request_id: "0123".into(),
            client: "192.0.2.7".parse().ok(),
            method: "GET".into(),
            host: "app.example.com".into(),
            target: "/a?token=secret".into(),
            protocol: "HTTP/1.1",
            user_agent: "a\"b\\\u{202e}\u{1b}[2J\n".into(),
            referer: "https://x.example/y?z".into(),
            user: "Ann Lee".into(),
            sub: "uuid".into(),
            route: "app".into(),
            status: 200,
            bytes: Some(12),
            duration: Duration::from_micros(1500),
            ..AccessRecord::default()
        }
    }

    fn line(format: AccessLogFormat, query: bool) -> String {
        let mut line = String::new();
        record().write(&mut LineFormatter::new(format, query), &mut line);
        line
    }

    #[test]
    fn a_json_line_is_ascii_and_holds_no_query() {
        let text = line(AccessLogFormat::Json, false);
        assert!(text.is_ascii() && text.matches('\n').count() == 1 && !text.contains("secret"), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["time"], "2025-11-28T03:20:00.123Z");
        assert_eq!(value["path"], "/a");
        assert_eq!(value["user_agent"], "a\"b\\\u{202e}\u{1b}[2J\n");
        assert_eq!(value["duration_ms"], 1.5);
        assert_eq!((&value["status"], &value["bytes"]), (&200.into(), &12.into()));
        assert_eq!(value.get("upstream"), None);
        assert!(line(AccessLogFormat::Json, true).contains("/a?token=secret"));
    }

    #[test]
    fn a_combined_line_has_its_nine_fields() {
        assert_eq!(
            line(AccessLogFormat::Combined, false),
            "192.0.2.7 - Ann\\x20Lee [28/Nov/2025:03:20:00 +0000] \"GET /a HTTP/1.1\" 200 12 \"https://x.example/y\" \
             \"a\\x22b\\x5C\\xE2\\x80\\xAE\\x1B[2J\\x0A\"\n"
        );
    }

    #[test]
    fn bytes_that_are_no_request_have_a_line_too() {
        let record = AccessRecord::of_bytes(b"GET /x y HTTP/1.1\r\nHost: a\r\n");
        assert_eq!((record.method.as_str(), record.target.as_str()), ("GET", "/x"));
        let mut line = String::new();
        AccessRecord::of_bytes(b"")
            .write(&mut LineFormatter::new(AccessLogFormat::Combined, false), &mut line);
        assert_eq!(line, "- - - [01/Jan/1970:00:00:00 +0000] \"- - HTTP/1.1\" 0 - \"-\" \"-\"\n");
    }

    #[test]
    fn no_two_users_have_one_text() {
        let text = |user: &str| {
            let mut line = String::new();
            push_user(user, &mut line);
            line
        };
        for (user, written) in
            [("", "-"), ("-", "\\x2D"), ("s x", "s\\x20x"), ("s_x", "s_x"), ("s\\x20x", "s\\x5Cx20x")]
        {
            assert_eq!(text(user), written, "{user}");
        }
    }

    #[test]
    fn addresses_have_no_userinfo_and_no_fragment() {
        for (value, written) in [
            ("https://ann:SECRET@x.example/y?z", "https://x.example/y?z"),
            ("https://ann:SEC@RET@x.example", "https://x.example"),
            ("https:\\\\ann:SECRET@x.example\\y", "https:\\\\x.example\\y"),
            ("https:ann:SECRET@x.example/", "https:x.example/"),
            ("https://x.example/y#SECRET", "https://x.example/y"),
            ("https://x.example/@y", "https://x.example/@y"),
            ("/a@b?c:d@e", "/a@b?c:d@e"),
            ("/a#SECRET?b", "/a"),
        ] {
            assert_eq!(address(value.as_bytes()), written, "{value}");
        }
        // Truncation must not keep the beginning of a secret.
        let long = format!("https://ann:{}@x.example/", "SECRET".repeat(MAX_VALUE));
        assert_eq!(address(long.as_bytes()), "https://x.example/");
    }

    #[test]
    fn a_query_is_never_taken_for_the_method() {
        for head in
            ["GET\t/x?SECRET HTTP/1.1", "GET\x0c/x?SECRET", "GET/x?SECRET", "GET  /x?SECRET", "GET /x#SECRET"]
        {
            let record = AccessRecord::of_bytes(head.as_bytes());
            assert_eq!((&*record.method, record.path(false)), ("GET", "/x"), "{head}");
        }
    }
}
