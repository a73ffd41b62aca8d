//! The upstreams of a route.

use super::key::{Key, Shape, Type};
use super::reader::{Invalid, Table};
use super::route::path;
use super::types::INPUT_FILE;
use std::fmt;
use std::path::PathBuf;
use url::{Host, Url};

/// The maximum path length of a Unix socket, in bytes (`sun_path` without its terminating zero).
const MAX_SOCKET_PATH_BYTES: usize = 107;

pub(super) const CA: Key<PathBuf> = Key::new(
    "upstream_ca",
    INPUT_FILE,
    "PEM file of the certificate authorities that are trusted for https upstreams.",
)
.computed("the system's authorities")
.example("\"certs/internal-ca.pem\"");
pub(super) const SERVER_NAME: Key<String> = Key::new(
    "upstream_server_name",
    Type::Read(Shape::Text, |item| item.parse(server_name)),
    "Name that the certificate of https upstreams must have.",
)
.computed("the upstream's host")
.example("\"app.internal\"");
pub(super) const CERT: Key<PathBuf> =
    Key::new("upstream_cert", INPUT_FILE, "PEM file of the client certificate for https upstreams.")
        .example("\"certs/client.pem\"");
pub(super) const KEY: Key<PathBuf> =
    Key::new("upstream_key", INPUT_FILE, "PEM file of the client certificate's key.")
        .example("\"certs/client.key\"");

/// The protocol of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP/1.1.
    Http,
    /// HTTP/2 without TLS, with prior knowledge (RFC 9113, section 3.3), as gRPC servers use it.
    H2c,
    /// TLS: HTTP/1.1, or HTTP/2 for gRPC.
    Https,
}

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A name or an address (IPv6 in brackets), and a port.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A server of an app.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// The protocol.
    pub scheme: Scheme,
    /// The address.
    pub endpoint: Endpoint,
    /// The prefix of request paths: empty, or `/…` without a trailing slash.
    pub path: String,
}

impl Upstream {
    /// Parses `http://host:port/path`, the same with another scheme, or `unix:///path`.
    pub(super) fn parse(text: &str) -> Result<Self, Invalid> {
        let wrong =
            |why: &str| (format!("\"{text}\" {why}"), "write it like \"http://127.0.0.1:3000\"".into());
        if let Some(socket) = text.strip_prefix("unix:") {
            let endpoint = Endpoint::Unix(socket_path(text, socket)?);
            return Ok(Self { scheme: Scheme::Http, endpoint, path: String::new() });
        }
        let url = Url::parse(text).map_err(|error| wrong(&format!("is not a URL ({error})")))?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "h2c" => Scheme::H2c,
            "https" => Scheme::Https,
            _ => return Err(wrong("is neither http, https, h2c nor unix")),
        };
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            return Err(wrong("has more than scheme, host, port and path"));
        }
        // The parser resolves dot segments in each of these spellings. They are not accepted.
        let spelled_out = text.to_ascii_lowercase().replace("%2e", ".");
        if spelled_out.split(['/', '\\']).any(|segment| matches!(segment, "." | "..")) {
            return Err(wrong("has a path with dot segments"));
        }
        path(if url.path().is_empty() { "/" } else { url.path() })?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("has no host"))?;
        let port = url.port_or_known_default().ok_or_else(|| wrong("has no port"))?;
        let endpoint = Endpoint::Tcp(host.to_owned(), port);
        Ok(Upstream { scheme, endpoint, path: url.path().trim_end_matches('/').to_owned() })
    }

    /// Returns `host:port`, without the default port of the scheme (RFC 9110, section 7.2).
    pub fn authority(&self) -> String {
        match (&self.endpoint, self.scheme) {
            (Endpoint::Unix(_), _) => "localhost".to_owned(),
            (Endpoint::Tcp(host, 80), Scheme::Http | Scheme::H2c)
            | (Endpoint::Tcp(host, 443), Scheme::Https) => host.clone(),
            (Endpoint::Tcp(host, port), _) => format!("{host}:{port}"),
        }
    }

    /// Returns the server's name or address; `localhost` for a Unix socket.
    pub fn host(&self) -> &str {
        match &self.endpoint {
            Endpoint::Tcp(host, _) => host,
            Endpoint::Unix(_) => "localhost",
        }
    }
}

/// Parses the part after `unix:`, which must be an absolute path.
pub(super) fn socket_path(text: &str, rest: &str) -> Result<PathBuf, Invalid> {
    let wrong = |why: String| (format!("\"{text}\" {why}"), "write it like \"unix:///run/app.sock\"".into());
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return Err(wrong("is not the absolute path of a socket".to_owned()));
    }
    match path.len() {
        0..=MAX_SOCKET_PATH_BYTES => Ok(PathBuf::from(path)),
        bytes => Err(wrong(format!("is too long: {bytes} bytes, at most {MAX_SOCKET_PATH_BYTES}"))),
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::H2c => "h2c",
            Scheme::Https => "https",
        };
        match &self.endpoint {
            Endpoint::Tcp(host, port) => write!(f, "{scheme}://{host}:{port}{}", self.path),
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// The TLS settings for https upstreams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// A PEM file of trusted certificate authorities; the system's if absent.
    pub ca: Option<PathBuf>,
    /// The name that the certificate must have, and that is sent as SNI; by default the upstream's
    /// host.
    pub server_name: Option<String>,
    /// The client certificate.
    pub client: Option<ClientCertificate>,
}

/// A client certificate: two PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl UpstreamTls {
    pub(super) fn read(table: &Table<'_>, upstreams: &[Upstream]) -> Self {
        let ca = table.read(&CA);
        let name = table.get(&SERVER_NAME);
        let (cert, key) = (table.get(&CERT), table.get(&KEY));
        for item in [&name, &cert, &key].into_iter().flatten() {
            if upstreams.iter().any(|upstream| upstream.scheme != Scheme::Https) {
                item.report(
                    format!("`{}` has no effect on an upstream without https", item.key),
                    "write the upstream as https://, or remove it",
                );
            }
        }
        let client = match (&cert, &key) {
            (Some(cert), Some(key)) => CERT.value(cert).zip(KEY.value(key)),
            (Some(single), None) | (None, Some(single)) => {
                single.report(
                    format!("`{}` needs the other part of the client certificate", single.key),
                    "name both: upstream_cert = \"certs/client.pem\" and upstream_key = \"certs/client.key\"",
                );
                None
            }
            (None, None) => None,
        };
        Self {
            ca,
            server_name: table.read(&SERVER_NAME),
            client: client.map(|(cert, key)| ClientCertificate { cert, key }),
        }
    }
}

fn server_name(text: &str) -> Result<String, Invalid> {
    match Host::parse(text) {
        Ok(Host::Domain(name)) => Ok(name),
        Ok(Host::Ipv4(address)) => Ok(address.to_string()),
        _ => text.parse::<std::net::Ipv6Addr>().map(|address| address.to_string()).map_err(|_| {
            (
                format!("\"{text}\" is not a host"),
                "write the name in its certificate: \"app.internal\"".into(),
            )
        }),
    }
}
