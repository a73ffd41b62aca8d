//! Where a route's requests go.

use super::reader::Wrong;
use std::fmt;
use url::Url;

/// How to speak to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP/1.1.
    Http,
    /// HTTP/2 without TLS, with prior knowledge (RFC 9113, section 3.3): what gRPC servers speak.
    H2c,
    /// TLS, HTTP/1.1 or HTTP/2.
    Https,
}

/// One server that requests go to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// How to speak to it.
    pub scheme: Scheme,
    /// Its name, or its address (IPv6 in brackets).
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Upstream {
    /// Reads `http://host:port`, or the same with another scheme.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        let wrong =
            |why: &str| (format!("\"{text}\" {why}"), "write it like \"http://127.0.0.1:3000\"".into());
        let url = Url::parse(text).map_err(|error| wrong(&format!("is not a URL ({error})")))?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "h2c" => Scheme::H2c,
            "https" => Scheme::Https,
            _ => return Err(wrong("is neither http, https nor h2c")),
        };
        if !matches!(url.path(), "" | "/")
            || url.query().is_some()
            || url.fragment().is_some()
            || !url.username().is_empty()
        {
            return Err(wrong("carries more than scheme, host and port"));
        }
        let host = url.host_str().ok_or_else(|| wrong("names no host"))?.to_owned();
        let port = url.port_or_known_default().ok_or_else(|| wrong("names no port"))?;
        Ok(Upstream { scheme, host, port })
    }

    /// `host:port`, without the port where it is the scheme's own (RFC 9110, section 7.2).
    pub fn authority(&self) -> String {
        match (self.scheme, self.port) {
            (Scheme::Http | Scheme::H2c, 80) | (Scheme::Https, 443) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::H2c => "h2c",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}
