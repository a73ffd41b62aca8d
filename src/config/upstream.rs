//! Where a route's requests go.

use super::reader::{Table, Wrong};
use super::route::path;
use std::fmt;
use std::path::PathBuf;
use url::{Host, Url};

/// The longest path of a Unix socket (`sun_path` without its closing zero).
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// How to speak to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP/1.1.
    Http,
    /// HTTP/2 without TLS, with prior knowledge (RFC 9113, section 3.3): what gRPC servers speak.
    H2c,
    /// TLS: HTTP/1.1, or HTTP/2 for gRPC.
    Https,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A name or an address (IPv6 in brackets), and a port.
    Tcp(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

/// One server that requests go to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// How to speak to it.
    pub scheme: Scheme,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// The path that its paths begin with: empty, or `/…` without a slash at its end.
    pub path: String,
}

impl Upstream {
    /// Reads `http://host:port/path`, the same with another scheme, or `unix:///path`.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
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
            return Err(wrong("carries more than scheme, host, port and path"));
        }
        // The parser resolves dot segments, which the file must not have.
        if text.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(wrong("has a path with dot segments"));
        }
        path(if url.path().is_empty() { "/" } else { url.path() })?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("names no host"))?;
        let port = url.port_or_known_default().ok_or_else(|| wrong("names no port"))?;
        let endpoint = Endpoint::Tcp(host.to_owned(), port);
        Ok(Upstream { scheme, endpoint, path: url.path().trim_end_matches('/').to_owned() })
    }

    /// `host:port`, without the port where it is the scheme's own (RFC 9110, section 7.2).
    pub fn authority(&self) -> String {
        match (&self.endpoint, self.scheme) {
            (Endpoint::Unix(_), _) => "localhost".to_owned(),
            (Endpoint::Tcp(host, 80), Scheme::Http | Scheme::H2c)
            | (Endpoint::Tcp(host, 443), Scheme::Https) => host.clone(),
            (Endpoint::Tcp(host, port), _) => format!("{host}:{port}"),
        }
    }

    /// Its name or address; `localhost` for a Unix socket.
    pub fn host(&self) -> &str {
        match &self.endpoint {
            Endpoint::Tcp(host, _) => host,
            Endpoint::Unix(_) => "localhost",
        }
    }
}

/// Reads what stands behind `unix:`: an absolute path that fits an address.
pub(super) fn socket_path(text: &str, rest: &str) -> Result<PathBuf, Wrong> {
    let wrong = |why: String| (format!("\"{text}\" {why}"), "write it like \"unix:///run/app.sock\"".into());
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return Err(wrong("names no absolute path of a socket".to_owned()));
    }
    match path.len() {
        0..=MAX_SOCKET_PATH_BYTES => Ok(PathBuf::from(path)),
        bytes => Err(wrong(format!("is too long: {bytes} bytes, and {MAX_SOCKET_PATH_BYTES} are allowed"))),
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

/// How an https upstream is verified, and how Narthex proves itself to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// A PEM file with the authorities that its certificate may come from; the system's where absent.
    pub ca: Option<PathBuf>,
    /// The name that its certificate must have, and that is sent by SNI; the upstream's own host where absent.
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
        let ca = table.get("upstream_ca").and_then(|item| item.path());
        let name = table.get("upstream_server_name");
        let (cert, key) = (table.get("upstream_cert"), table.get("upstream_key"));
        for item in [&name, &cert, &key].into_iter().flatten() {
            if !upstreams.is_empty() && upstreams.iter().any(|upstream| upstream.scheme != Scheme::Https) {
                item.wrong(
                    format!("`{}` concerns https upstreams, and this one is none", item.key),
                    "write the upstream as https://, or remove it",
                );
            }
        }
        let client = match (cert, key) {
            (Some(cert), Some(key)) => cert.path().zip(key.path()),
            (Some(alone), None) | (None, Some(alone)) => {
                alone.wrong(
                    format!("`{}` stands alone", alone.key),
                    "name both: upstream_cert = \"certs/client.pem\" and upstream_key = \"certs/client.key\"",
                );
                None
            }
            (None, None) => None,
        };
        Self {
            ca,
            server_name: name.and_then(|item| item.parse(server_name)),
            client: client.map(|(cert, key)| ClientCertificate { cert, key }),
        }
    }
}

fn server_name(text: &str) -> Result<String, Wrong> {
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
