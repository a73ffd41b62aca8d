//! Rewriting of addresses in an upstream's response. The upstream's addresses lack the origin of
//! the route and the removed path prefix, and begin with the upstream's own path.

use crate::catalogue::Route;
use crate::config::Upstream;
use http::header::{CONTENT_LOCATION, LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

/// A mapping from addresses of an upstream to those of its route.
pub struct AddressMap<'a> {
    /// The route's origin.
    origin: &'a str,
    /// The route's path, without a slash at its end.
    path: &'a str,
    /// The prefix of the upstream's paths: the route's path, if it is removed from requests.
    prefix: &'a str,
    /// The path with which the upstream's own paths begin.
    base: &'a str,
    /// The authorities by which the upstream may refer to itself.
    authorities: [String; 2],
    /// The upstream's host.
    host: &'a str,
}

impl<'a> AddressMap<'a> {
    /// Creates the mapping of a route and one of its upstreams. Returns `None` if all addresses are
    /// the same on both sides, or if the route disables rewriting.
    pub fn new(route: &'a Route, upstream: &'a Upstream) -> Option<Self> {
        let config = &route.config;
        let same = config.preserve_host && upstream.path.is_empty() && route.stripped_prefix.is_none();
        if same || !config.rewrite_responses {
            return None;
        }
        Some(Self {
            origin: &route.origin,
            path: &route.path,
            prefix: if config.strip_prefix { &route.path } else { "" },
            base: &upstream.path,
            authorities: [upstream.authority(), route.origin["https://".len()..].to_owned()],
            host: upstream.host(),
        })
    }

    /// Rewrites `Location`, `Content-Location`, `Refresh` and `Set-Cookie`.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in [LOCATION, CONTENT_LOCATION] {
            self.rewrite(headers, &name, |text| self.address(text));
        }
        self.rewrite(headers, &REFRESH, |text| self.refresh(text));
        self.rewrite(headers, &SET_COOKIE, |text| self.cookie(text));
    }

    /// Changes each value of `name`, and keeps their order.
    fn rewrite(
        &self,
        headers: &mut HeaderMap,
        name: &http::HeaderName,
        change: impl Fn(&str) -> Option<String>,
    ) {
        let http::header::Entry::Occupied(mut values) = headers.entry(name) else { return };
        for value in values.iter_mut() {
            let changed = match std::str::from_utf8(value.as_bytes()) {
                Ok(text) => change(text).map(String::into_bytes),
                Err(_) => change(&from_latin1(value.as_bytes())).map(|text| to_latin1(&text)),
            };
            if let Some(changed) = changed.and_then(|bytes| HeaderValue::from_bytes(&bytes).ok()) {
                *value = changed;
            }
        }
    }

    /// Returns the address for the client; `None` if it is unchanged. A changed address always has
    /// the route's own origin, so that no path is read as another host.
    fn address(&self, text: &str) -> Option<String> {
        let (rest, is_absolute) = match text.find("//") {
            Some(at) if matches!(&text[..at], "" | "http:" | "https:") || is_web_scheme(&text[..at]) => {
                let rest = &text[at + 2..];
                let (authority, rest) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
                let own = self.authorities.iter().any(|own| own.eq_ignore_ascii_case(authority));
                if !own {
                    return None;
                }
                (rest, true)
            }
            _ if text.starts_with('/') => (text, false),
            // A relative address is unchanged, because the paths of client and upstream differ only
            // at the beginning.
            _ => return None,
        };
        let slash = if rest.starts_with('/') { "" } else { "/" };
        let own = format!("{slash}{rest}");
        match self.path(&own) {
            Some(path) => Some(format!("{}{path}", self.origin)),
            // A path outside of the upstream's own path does not belong to the route. The origin is
            // still replaced, to hide the upstream's address.
            None => is_absolute.then(|| format!("{}{own}", self.origin)),
        }
    }

    /// Returns the client's path for a path of the upstream, with query and fragment.
    fn path(&self, text: &str) -> Option<String> {
        let end = text.find(['?', '#']).unwrap_or(text.len());
        // An app that is configured with the route's path includes it already.
        if !self.path.is_empty() && is_below(&text[..end], self.path) {
            return Some(text.to_owned());
        }
        let inner = match is_below(&text[..end], self.base) {
            true => &text[self.base.len()..],
            false => return None,
        };
        let slash = if inner.starts_with('/') { "" } else { "/" };
        Some(format!("{}{slash}{inner}", self.prefix))
    }

    /// Rewrites `5; url=…` (HTML, section 4.2.5.3), with quotes or without; `None` if it is
    /// unchanged.
    fn refresh(&self, text: &str) -> Option<String> {
        let lower = text.to_ascii_lowercase();
        let begin = lower.find("url=")? + "url=".len();
        let quote = text[begin..].chars().next().filter(|first| matches!(first, '"' | '\''));
        let begin = begin + quote.map_or(0, char::len_utf8);
        let end = quote.and_then(|quote| text[begin..].find(quote)).map_or(text.len(), |at| begin + at);
        let address = self.address(text[begin..end].trim_ascii())?;
        Some(format!("{}{address}{}", &text[..begin], &text[end..]))
    }

    /// Rewrites a cookie whose path or domain is the upstream's; `None` if it is unchanged.
    fn cookie(&self, text: &str) -> Option<String> {
        // RFC 6265bis, section 4.1.3.2: a `__Host-` cookie has the path `/`.
        let is_host_cookie =
            text.trim_start().get(..7).is_some_and(|name| name.eq_ignore_ascii_case("__Host-"));
        let mut changed = false;
        let mut parts = Vec::new();
        for (number, part) in text.split(';').enumerate() {
            let (name, value) =
                part.split_once('=').map_or((part, ""), |(name, value)| (name, value.trim_ascii()));
            let name = name.trim_ascii();
            if number > 0 && name.eq_ignore_ascii_case("path") && !is_host_cookie {
                let trimmed = if value.len() > 1 { value.trim_end_matches('/') } else { value };
                if let Some(path) = self.path(trimmed).filter(|_| value.starts_with('/')) {
                    let path = if path.len() > 1 { path.trim_end_matches('/') } else { &path };
                    changed = true;
                    parts.push(format!(" Path={path}"));
                    continue;
                }
            }
            // The browser accepts only the route's host, which is the default without a domain.
            if number > 0
                && name.eq_ignore_ascii_case("domain")
                && value.trim_start_matches('.').eq_ignore_ascii_case(self.host)
            {
                changed = true;
                continue;
            }
            parts.push(part.to_owned());
        }
        changed.then(|| parts.join(";"))
    }
}

/// Returns bytes as text with one character for each, so that bytes that are not UTF-8 remain
/// unchanged.
fn from_latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Returns the bytes of such a text, with inserted characters encoded in UTF-8.
fn to_latin1(text: &str) -> Vec<u8> {
    text.chars()
        .flat_map(|c| u8::try_from(c).map_or_else(|_| c.to_string().into_bytes(), |b| vec![b]))
        .collect()
}

fn is_web_scheme(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http:") || scheme.eq_ignore_ascii_case("https:")
}

/// Returns whether `path` is `prefix`, or is below it.
fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(prefix: &'static str, base: &'static str) -> AddressMap<'static> {
        AddressMap {
            origin: "https://app.test:8443",
            path: "/sub",
            prefix,
            base,
            authorities: ["10.0.0.1:3000".into(), "app.test:8443".into()],
            host: "10.0.0.1",
        }
    }

    #[test]
    fn addresses_of_the_upstream_become_addresses_of_the_route_and_others_stay() {
        let stripped = map("/sub", "");
        for (from, to) in [
            ("http://10.0.0.1:3000/login?a=b#c", Some("/sub/login?a=b#c")),
            ("HTTP://10.0.0.1:3000", Some("/sub/")),
            ("http://10.0.0.1:3000?a", Some("/sub/?a")),
            ("//10.0.0.1:3000/x", Some("/sub/x")),
            ("https://app.test:8443/x", Some("/sub/x")),
            ("/login", Some("/sub/login")),
            ("/", Some("/sub/")),
            ("/sub/login", Some("/sub/login")),
            ("/subway", Some("/sub/subway")),
            ("/x?to=http://10.0.0.1:3000/", Some("/sub/x?to=http://10.0.0.1:3000/")),
            // A browser reads this as another host; the rewritten address is a path of the route.
            ("/\\evil.example", Some("/sub/\\evil.example")),
            ("login", None),
            ("?a", None),
            ("https://elsewhere.example/x", None),
            ("http://10.0.0.1:3000@evil.example/", None),
            ("http://10.0.0.1:3000.evil.example/", None),
            ("mailto:a@example.com", None),
            ("app://10.0.0.1:3000/x", None),
        ] {
            let to = to.map(|path| format!("https://app.test:8443{path}"));
            assert_eq!(stripped.address(from), to, "{from}");
        }
        let both = map("/sub", "/base");
        for (from, to) in [
            ("/base/login", Some("https://app.test:8443/sub/login")),
            ("/base", Some("https://app.test:8443/sub/")),
            ("/base//evil.example", Some("https://app.test:8443/sub//evil.example")),
            ("/bases", None),
            ("/login", None),
            ("http://10.0.0.1:3000/login", Some("https://app.test:8443/login")),
            ("http://10.0.0.1:3000//evil.example", Some("https://app.test:8443//evil.example")),
            ("http://10.0.0.1:3000/base/login", Some("https://app.test:8443/sub/login")),
        ] {
            assert_eq!(both.address(from).as_deref(), to, "{from}");
        }
        let kept = map("", "/base");
        assert_eq!(kept.address("/base//evil.example").unwrap(), "https://app.test:8443//evil.example");
    }

    #[test]
    fn cookies_and_refreshes_follow() {
        let map = map("/sub", "/base");
        for (from, to) in [
            ("a=1; Path=/base; Secure", Some("a=1; Path=/sub; Secure")),
            ("a=1; path=/base/x/", Some("a=1; Path=/sub/x")),
            ("a=1; Path=/base; Domain=.10.0.0.1", Some("a=1; Path=/sub")),
            ("a=1; Domain=10.0.0.1; HttpOnly", Some("a=1; HttpOnly")),
            ("a=1; Path=/other", None),
            ("a=1; Path=/sub/x", Some("a=1; Path=/sub/x")),
            ("a=1; Domain=example.com", None),
            ("__Host-a=1; Path=/base; Secure", None),
            ("Path=/base", None),
            ("a=1", None),
        ] {
            assert_eq!(map.cookie(from).as_deref(), to, "{from}");
        }
        let origin = "https://app.test:8443";
        assert_eq!(map.refresh("5; URL=/base/x").unwrap(), format!("5; URL={origin}/sub/x"));
        assert_eq!(map.refresh("0;url='/base/x'").unwrap(), format!("0;url='{origin}/sub/x'"));
        assert_eq!(map.refresh("5"), None);
        assert_eq!(map.refresh("5; url=https://elsewhere.example/"), None);
    }

    #[test]
    fn values_that_are_not_utf_8_follow_too() {
        let map = map("/sub", "/base");
        let mut headers = HeaderMap::new();
        let cookie = HeaderValue::from_bytes(b"a=\xff\xa0; Path=/base/\xe9\xa0; Secure").unwrap();
        headers.insert(SET_COOKIE, cookie);
        headers.insert(LOCATION, HeaderValue::from_bytes(b"http://10.0.0.1:3000/base/\xe9").unwrap());
        map.apply(&mut headers);
        assert_eq!(headers[SET_COOKIE].as_bytes(), b"a=\xff\xa0; Path=/sub/\xe9\xa0; Secure");
        assert_eq!(headers[LOCATION].as_bytes(), b"https://app.test:8443/sub/\xe9");
    }
}
