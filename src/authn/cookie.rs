//! Our cookies: their names, how they are found among others, and how they are set.
//!
//! All are `__Host-` cookies (RFC 6265bis, section 4.1.3.2): no subdomain and no plain http can set
//! them. Cookie headers are read as bytes: an app may well set cookies that are no ASCII.

use crate::base::Duration;
use crate::config::SameSite;

/// The session of an app host.
pub const APP_COOKIE: &str = "__Host-narthex";
/// A guest of an app host.
pub const GUEST_COOKIE: &str = "__Host-narthex-guest";
/// The session at the pool's own pages.
pub const POOL_COOKIE: &str = "__Host-narthex-pool";
/// One login attempt; its id follows.
pub const LOGIN_COOKIE: &str = "__Host-narthex-login-";
/// The provider by which the browser signed in the last time.
pub const PROVIDER_COOKIE: &str = "__Host-narthex-provider";
/// What every cookie of ours begins with.
const COOKIE_PREFIX: &[u8] = b"__Host-narthex";

/// The pairs of a `Cookie` header (RFC 6265, section 4.2.1), and each with its name.
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

/// The value of the cookie `name` in the request's `Cookie` headers.
pub fn cookie_value<'h>(headers: impl IntoIterator<Item = &'h [u8]>, name: &str) -> Option<&'h str> {
    let mut all = headers.into_iter().flat_map(pairs);
    let (.., value) = all.find(|(_, found, _)| *found == name.as_bytes())?;
    std::str::from_utf8(value).ok()
}

/// The login attempts in the request's `Cookie` headers: id and sealed value.
pub fn login_cookies<'h>(headers: impl IntoIterator<Item = &'h [u8]>) -> Vec<(&'h str, &'h str)> {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let login = |(_, name, value): (&[u8], &'h [u8], &'h [u8])| {
        Some((text(name.strip_prefix(LOGIN_COOKIE.as_bytes())?)?, text(value)?))
    };
    headers.into_iter().flat_map(pairs).filter_map(login).collect()
}

/// All cookies but ours, in one header's value; `None` where none remains. What is not a pair goes
/// too: an upstream that reads cookies loosely must not find ours in it.
///
/// RFC 9113, section 8.2.3: cookies that came in several fields "MUST be concatenated into a single
/// octet string using the two-octet delimiter" before they are passed on in HTTP/1.1.
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

/// Whether a `Set-Cookie` value sets a cookie of ours.
pub fn sets_own_cookie(value: &[u8]) -> bool {
    is_own_cookie(value)
}

/// Whether a pair is a cookie of ours, or one without a name whose value reads like one: RFC
/// 6265bis, section 5.6: of such a cookie a browser sends the value alone.
fn is_own_cookie(pair: &[u8]) -> bool {
    let nothing = |byte: &u8| *byte == b'=' || byte.is_ascii_whitespace();
    let name = pair.iter().position(|byte| !nothing(byte)).map_or(&[][..], |at| &pair[at..]);
    name.starts_with(COOKIE_PREFIX)
}

/// A `Set-Cookie` value; without an age the cookie goes with the browser.
pub fn set_cookie_value(name: &str, value: &str, age: Option<Duration>) -> String {
    set_cookie_value_same_site(name, value, age, SameSite::Lax)
}

/// The same with a `SameSite` of one's own.
pub fn set_cookie_value_same_site(
    name: &str,
    value: &str,
    age: Option<Duration>,
    same_site: SameSite,
) -> String {
    let age = age.map_or(String::new(), |age| format!("; Max-Age={}", age.as_secs()));
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite={same_site:?}{age}")
}

/// A `Set-Cookie` value that removes the cookie.
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
        // Without a name, a browser sends the value alone.
        assert!(sets_own_cookie(b"=__Host-narthex=x; Path=/; Secure"));
        assert!(sets_own_cookie(b"\t= =__Host-narthex=x"));
        assert!(!sets_own_cookie(b"a=__Host-narthex=x"));
        assert_eq!(
            without_own_cookies([&b"=__Host-narthex=x; a=__Host-narthex"[..]]).as_deref(),
            Some(&b"a=__Host-narthex"[..])
        );
    }
}
