//! Fuzz target for `Cookie` and `Set-Cookie` headers.

use crate::authn::{
    APP_COOKIE, GUEST_COOKIE, POOL_COOKIE, cookie_value, login_cookies, sets_own_cookie, without_own_cookies,
};
use http::HeaderValue;

/// Common prefix of the names of Narthex's cookies.
const PREFIX: &[u8] = b"__Host-narthex";

/// Parses each line as a `Cookie` header of one request. A single line is also parsed as a
/// `Set-Cookie` header of a response.
pub fn cookies(data: &[u8]) -> bool {
    let mut headers = Vec::new();
    for line in data.split(|byte| *byte == b'\n') {
        // The HTTP parser rejects invalid header values before the parsers of cookies run.
        match HeaderValue::from_bytes(line) {
            Ok(_) => headers.push(line),
            Err(_) => return false,
        }
    }
    let all = || headers.iter().copied();
    for name in [APP_COOKIE, GUEST_COOKIE, POOL_COOKIE] {
        if let Some(value) = cookie_value(all(), name) {
            let written = format!("={value}");
            let stands = |line: &&[u8]| memchr::memmem::find(line, written.as_bytes()).is_some();
            assert!(headers.iter().any(stands), "{name} has a value that was not sent");
        }
    }
    if let [header] = headers[..] {
        response_cookie(header);
    }
    let Some(others) = without_own_cookies(all()) else { return login_cookies(all()).is_empty() };
    assert!(HeaderValue::from_bytes(&others).is_ok(), "what is left is no header value");
    for pair in others.split(|byte| *byte == b';').map(trimmed) {
        assert!(!pair.starts_with(PREFIX), "a cookie of ours is left");
    }
    let again = [&others[..]];
    assert_eq!(without_own_cookies(again).as_deref(), Some(&others[..]), "what is left is not left twice");
    assert!(login_cookies(again).is_empty());
    true
}

/// Checks that a response header which a browser would send back as one of Narthex's cookies is
/// detected.
///
/// RFC 6265bis, section 5.6: "If the name-value-pair string lacks a %x3D ("=") character, then the
/// name string is empty, and the value string is the value of name-value-pair." Section 5.8.3: a
/// browser sends the value of a cookie without a name unchanged, so that it may resemble a cookie
/// with a name.
fn response_cookie(header: &[u8]) {
    let pair = header.split(|byte| *byte == b';').next().unwrap_or_default();
    let (name, value) = match memchr::memchr(b'=', pair) {
        Some(at) => (trimmed(&pair[..at]), trimmed(&pair[at + 1..])),
        None => (&[][..], trimmed(pair)),
    };
    let sent = match name.is_empty() {
        true => value.to_vec(),
        false => [name, b"=", value].concat(),
    };
    if sent.starts_with(PREFIX) {
        assert!(sets_own_cookie(header), "a browser would send a cookie of ours");
    }
}

fn trimmed(text: &[u8]) -> &[u8] {
    let white = |byte: &u8| *byte <= b' ';
    let begin = text.iter().position(|byte| !white(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !white(byte)).map_or(begin, |at| at + 1);
    &text[begin..end]
}
