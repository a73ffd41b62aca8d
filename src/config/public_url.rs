//! Host names and `public_url`.

use super::host_pattern::HostPattern;
use super::reader::Invalid;
use std::fmt;
use url::Url;

/// A host name in canonical form: lower case, no trailing dot, no port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(String);

impl Host {
    /// Parses a `Host` or `:authority` header. Returns `None` if it is not a valid host with an
    /// optional port.
    pub fn from_authority(authority: &str) -> Option<Self> {
        let (host, port) = match authority.strip_prefix('[') {
            // An IPv6 address is in brackets (RFC 3986, section 3.2.2).
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                address.parse::<std::net::Ipv6Addr>().ok()?;
                (&authority[..address.len() + 2], port)
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        if !(port.is_empty() || port.strip_prefix(':')?.bytes().all(|b| b.is_ascii_digit())) {
            return None;
        }
        Self::parse(host)
    }

    /// Normalizes a host name. Returns `None` if it is not valid.
    pub fn parse(host: &str) -> Option<Self> {
        let name = host.strip_suffix('.').unwrap_or(host);
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let good = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            // Comparing bytes is faster than a substring search for short names.
            None => {
                let labels = name.as_bytes().split(|byte| *byte == b'.');
                labels.into_iter().all(|label| (1..=63).contains(&label.len()) && label.iter().all(plain))
            }
        };
        (good && name.len() <= 253).then(|| Self(name.to_ascii_lowercase()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::borrow::Borrow<str> for Host {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The URL of the sign-in pages. The scheme in a configuration is always https, because the cookies
/// are `__Host-` cookies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    scheme: Scheme,
    host: Host,
    port: u16,
    path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Https,
    /// On this machine only.
    Http,
}

impl PublicUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// Returns a message about the error, and the remedy.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let example = || "write it like \"https://auth.example.com\"".to_owned();
        let invalid = |why: &str| (format!("\"{text}\" {why}"), example());
        let url = Url::parse(text).map_err(|error| invalid(&format!("is not a URL ({error})")))?;
        if url.scheme() != "https" {
            return Err(invalid("is not https, which its cookies need"));
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return Err(invalid("has more than scheme, host, port and path"));
        }
        let host = url.host_str().and_then(Host::parse).ok_or_else(|| invalid("has no host"))?;
        let path = url.path().trim_end_matches('/').to_owned();
        Ok(Self { scheme: Scheme::Https, host, port: url.port().unwrap_or(443), path })
    }

    /// Returns `http://localhost:PORT`, which no configuration can name. Browsers treat it as a
    /// secure context: no network is between.
    pub fn on_loopback(port: u16) -> Self {
        Self { scheme: Scheme::Http, host: Host("localhost".to_owned()), port, path: String::new() }
    }

    /// Returns the host of the pages.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the public port of the pages and of every app.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path of the pages: empty, or `/…` without a trailing slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the origin of `host`, with the port of this URL.
    pub fn origin_of(&self, host: &Host) -> String {
        self.origin(host)
    }

    /// Returns the origin of a pattern, with `*` as the wildcard's label.
    pub fn origin_of_pattern(&self, pattern: &HostPattern) -> String {
        self.origin(pattern)
    }

    fn origin(&self, host: impl fmt::Display) -> String {
        match (self.scheme, self.port) {
            (Scheme::Https, 443) => format!("https://{host}"),
            (Scheme::Https, port) => format!("https://{host}:{port}"),
            (Scheme::Http, port) => format!("http://{host}:{port}"),
        }
    }

    /// Returns this URL followed by `path`, which begins with a slash.
    pub fn join(&self, path: &str) -> String {
        format!("{self}{path}")
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin_of(&self.host), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_compare_in_one_spelling() {
        let host = |text| Host::from_authority(text).map(|h| h.0);
        assert_eq!(host("App.Example.COM"), Some("app.example.com".into()));
        assert_eq!(host("app.example.com."), Some("app.example.com".into()));
        assert_eq!(host("app.example.com:8443"), Some("app.example.com".into()));
        assert_eq!(host("[::1]:8443"), Some("[::1]".into()));
        assert_eq!(host("127.0.0.1:80"), Some("127.0.0.1".into()));
        for bad in [
            "",
            ".",
            "a..b",
            "a b",
            "user@host",
            "host:80x",
            "[::1",
            "[nope]",
            "a/b",
            "host:80:80",
            "ä.example",
        ] {
            assert_eq!(host(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_public_url_is_an_https_origin_with_perhaps_a_path() {
        let url = PublicUrl::parse("https://Auth.example.com:8443/.narthex/").unwrap();
        assert_eq!(url.to_string(), "https://auth.example.com:8443/.narthex");
        assert_eq!(url.origin_of(&Host::parse("app.example.com").unwrap()), "https://app.example.com:8443");
        assert_eq!(
            PublicUrl::parse("https://auth.example.com").unwrap().join("/login"),
            "https://auth.example.com/login"
        );
        for bad in
            ["auth.example.com", "http://auth.example.com", "https://a?b", "https://u@a/", "https://a/#f"]
        {
            assert!(PublicUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
