//! Our cookies: their names, how they are found among others, and how they are set.
//!
//! All are `__Host-` cookies (RFC 6265bis, section 4.1.3.2): no subdomain and no plain http can set
//! them.

use crate::base::Duration;

/// The session of an app host.
pub const APP_COOKIE: &str = "__Host-narthex";
/// The session at the pool's own pages.
pub const POOL_COOKIE: &str = "__Host-narthex-pool";
/// One login attempt; its id follows.
pub const LOGIN_COOKIE: &str = "__Host-narthex-login-";
/// What every cookie of ours begins with.
pub const OUR_COOKIES: &str = "__Host-narthex";

/// The pairs of a `Cookie` header (RFC 6265, section 4.2.1).
fn pairs(header: &str) -> impl Iterator<Item = (&str, &str)> {
    header.split(';').filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='))
}

/// The value of the cookie `name` in the request's `Cookie` headers.
pub fn find<'h>(headers: impl IntoIterator<Item = &'h str>, name: &str) -> Option<&'h str> {
    headers.into_iter().flat_map(pairs).find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// The login attempts in the request's `Cookie` headers: id and sealed value.
pub fn login_cookies<'h>(headers: impl IntoIterator<Item = &'h str>) -> Vec<(&'h str, &'h str)> {
    let login = |(name, value): (&'h str, &'h str)| Some((name.strip_prefix(LOGIN_COOKIE)?, value));
    headers.into_iter().flat_map(pairs).filter_map(login).collect()
}

/// `header` without our cookies; `None` where nothing of it remains. What is not a pair goes too:
/// an upstream that reads cookies loosely must not find ours in it.
pub fn strip(header: &str) -> Option<String> {
    let others: Vec<String> = pairs(header)
        .filter(|(name, _)| !name.trim().starts_with(OUR_COOKIES))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    (!others.is_empty()).then(|| others.join("; "))
}

/// A `Set-Cookie` value; without an age the cookie goes with the browser.
pub fn set(name: &str, value: &str, age: Option<Duration>) -> String {
    let age = age.map_or(String::new(), |age| format!("; Max-Age={}", age.as_secs()));
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax{age}")
}

/// A `Set-Cookie` value that removes the cookie.
pub fn clear(name: &str) -> String {
    set(name, "", Some(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_found_and_stripped_whatever_stands_around_them() {
        let header = "a=1; __Host-narthex=x; b=2;__Host-narthex-login-abc=y; c";
        assert_eq!(find([header], APP_COOKIE), Some("x"));
        assert_eq!(find([header], POOL_COOKIE), None);
        assert_eq!(find(["a=1", "__Host-narthex-pool=z"], POOL_COOKIE), Some("z"));
        assert_eq!(login_cookies([header]), [("abc", "y")]);
        assert_eq!(strip(header).as_deref(), Some("a=1; b=2"));
        assert_eq!(strip("__Host-narthex=x"), None);
        assert_eq!(strip("\t__Host-narthex =x; a=1").as_deref(), Some("a=1"));
    }
}
