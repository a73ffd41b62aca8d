//! Narthex's cookies: names, parsing and `Set-Cookie` values.
//!
//! All are `__Host-` cookies (RFC 6265bis, section 4.1.3.2): neither a subdomain nor plain HTTP can
//! set them. `Cookie` headers are parsed as bytes, because apps may set cookies that are not ASCII.

use crate::base::Duration;
use crate::config::SameSite;

/// The session cookie of an app host.
pub const APP_COOKIE: &str = "__Host-narthex";
/// The guest cookie of an app host.
pub const GUEST_COOKIE: &str = "__Host-narthex-guest";
/// The session cookie of the user pool's own pages.
pub const POOL_COOKIE: &str = "__Host-narthex-pool";
/// The prefix of the cookie of a login attempt; the attempt's id follows.
pub const LOGIN_COOKIE: &str = "__Host-narthex-login-";
/// The cookie with the provider of the browser's last sign-in.
pub const PROVIDER_COOKIE: &str = "__Host-narthex-provider";
/// The prefix of all cookies of Narthex.
const COOKIE_PREFIX: &[u8] = b"__Host-narthex";

/// Iterates over the pairs of a `Cookie` header (RFC 6265, section 4.2.1): pair, name, value.
fn pairs(header: &[u8]) -> impl Iterator<Item = (&[u8], &[u8], &[u8])> {
    let mut rest = Some(header);
    std::iter::from_fn(move || {
        let line = rest?;
        let pair = match memchr::memchr(b';', line) {
            Some(at) => {
                rest = Some(&line[at + 1..]);
                &line[..at]
            }
            None => {
                rest = None;
                line
            }
        };
        Some(pair.trim_ascii())
    })
    .filter_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        Some((pair, pair[..at].trim_ascii_end(), &pair[at + 1..]))
    })
}

/// Returns the value of the first cookie `name` in the request's `Cookie` headers. Returns `None`
/// if it is not UTF-8.
pub fn cookie_value<'h>(headers: impl IntoIterator<Item = &'h [u8]>, name: &str) -> Option<&'h str> {
    let mut all = headers.into_iter().flat_map(pairs);
    let (.., value) = all.find(|(_, found, _)| *found == name.as_bytes())?;
    std::str::from_utf8(value).ok()
}

/// Returns the login attempts in the request's `Cookie` headers: id and sealed value.
pub fn login_cookies<'h>(headers: impl IntoIterator<Item = &'h [u8]>) -> Vec<(&'h str, &'h str)> {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let login = |(_, name, value): (&[u8], &'h [u8], &'h [u8])| {
        Some((text(name.strip_prefix(LOGIN_COOKIE.as_bytes())?)?, text(value)?))
    };
    headers.into_iter().flat_map(pairs).filter_map(login).collect()
}

/// Returns all cookies except Narthex's as one header value, or `None` if none remains. Removes
/// parts that are not pairs too, because a lenient upstream could read a cookie of Narthex from
/// them.
///
/// RFC 9113, section 8.2.3: cookies in several fields "MUST be concatenated into a single octet
/// string using the two-octet delimiter" before they are forwarded over HTTP/1.1.
pub fn without_own_cookies<'h>(headers: impl IntoIterator<Item = &'h [u8]>) -> Option<Vec<u8>> {
    let mut others = Vec::new();
    for (pair, ..) in headers.into_iter().flat_map(pairs) {
        if !is_own_cookie(pair) {
            if !others.is_empty() {
                others.extend_from_slice(b"; ");
            }
            others.extend_from_slice(pair);
        }
    }
    (!others.is_empty()).then_some(others)
}

/// Returns whether a `Set-Cookie` value sets a cookie of Narthex.
pub fn sets_own_cookie(value: &[u8]) -> bool {
    is_own_cookie(value)
}

/// Returns whether a pair is a cookie of Narthex, or a nameless cookie whose value begins like one.
/// Browsers send only the value of a nameless cookie (RFC 6265bis, section 5.6).
fn is_own_cookie(pair: &[u8]) -> bool {
    let nothing = |byte: &u8| *byte == b'=' || byte.is_ascii_whitespace();
    let name = pair.iter().position(|byte| !nothing(byte)).map_or(&[][..], |at| &pair[at..]);
    name.starts_with(COOKIE_PREFIX)
}

/// Returns a `Set-Cookie` value with `SameSite=Lax`. Without `age`, the cookie expires when the
/// browser closes.
pub fn set_cookie_value(name: &str, value: &str, age: Option<Duration>) -> String {
    set_cookie_value_same_site(name, value, age, SameSite::Lax)
}

/// Returns a `Set-Cookie` value with this `SameSite`. `age` is sent in whole seconds.
pub fn set_cookie_value_same_site(
    name: &str,
    value: &str,
    age: Option<Duration>,
    same_site: SameSite,
) -> String {
    let age = age.map_or(String::new(), |age| format!("; Max-Age={}", age.as_secs()));
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite={same_site:?}{age}")
}

/// Returns a `Set-Cookie` value that removes the cookie.
pub fn clear_cookie_value(name: &str) -> String {
    set_cookie_value(name, "", Some(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_found_and_stripped_whatever_stands_around_them() {
        let header = "a=1; __Host-narthex=x; b=Zoë;__Host-narthex-login-abc=y; c".as_bytes();
        assert_eq!(cookie_value([header], APP_COOKIE), Some("x"));
        assert_eq!(cookie_value([header], POOL_COOKIE), None);
        assert_eq!(cookie_value([&b"a=1"[..], b"__Host-narthex-pool=z"], POOL_COOKIE), Some("z"));
        assert_eq!(login_cookies([header]), [("abc", "y")]);
        assert_eq!(without_own_cookies([header]).as_deref(), Some("a=1; b=Zoë".as_bytes()));
        assert_eq!(
            without_own_cookies([&b"a=1"[..], b"__Host-narthex=x", b"b=2"]).as_deref(),
            Some(&b"a=1; b=2"[..])
        );
        assert_eq!(without_own_cookies([&b"__Host-narthex=x"[..]]), None);
        assert_eq!(
            without_own_cookies([&b"\t__Host-narthex =x; a=\xff"[..]]).as_deref(),
            Some(&b"a=\xff"[..])
        );
        assert!(sets_own_cookie(b" __Host-narthex-pool=x; Path=/"));
        // A browser sends only the value of a nameless cookie.
        assert!(sets_own_cookie(b"=__Host-narthex=x; Path=/; Secure"));
        assert!(sets_own_cookie(b"\t= =__Host-narthex=x"));
        assert!(!sets_own_cookie(b"a=__Host-narthex=x"));
        assert_eq!(
            without_own_cookies([&b"=__Host-narthex=x; a=__Host-narthex"[..]]).as_deref(),
            Some(&b"a=__Host-narthex"[..])
        );
    }
}
