//! The tables that say how Narthex itself runs: `[listen]`, `[[tls]]`, `[store]`, `[session]`.

use super::address::safe_url;
use super::public_url::Host;
use super::reader::{Item, Table, Wrong};
use super::upstream::socket_path;
use crate::base::{Duration, Secret, Timestamp};
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use url::Url;

/// Where to listen, and whom to believe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// TLS: HTTP/1.1 and HTTP/2; none where the trusted proxies end TLS.
    pub https: Option<SocketAddr>,
    /// Plain HTTP: redirects to https, except for a TLS terminator that is a trusted proxy.
    pub http: Option<SocketAddr>,
    /// A Unix socket for plain HTTP: what connects to it is a trusted proxy.
    pub socket: Option<PathBuf>,
    /// Metrics and health.
    pub admin: SocketAddr,
    /// Whose `X-Forwarded-*` count.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether those speak the PROXY protocol.
    pub proxy_protocol: bool,
    /// How many connections there may be.
    pub connections: usize,
    /// How many of them from one address.
    pub connections_per_address: usize,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            https: Some(([0, 0, 0, 0], 8443).into()),
            http: Some(([0, 0, 0, 0], 8080).into()),
            socket: None,
            admin: ([127, 0, 0, 1], 9090).into(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            connections: 8_000,
            connections_per_address: 1_000,
        }
    }
}

impl Listen {
    pub(super) fn read(item: Option<Item<'_>>) -> Self {
        let table = item.and_then(|item| item.table("[listen]"));
        let get = |key| table.as_ref().and_then(|table| table.get(key));
        let address = |item: Option<Item<'_>>| item.and_then(|item| item.parse(socket_address));
        let off = |item: &Item<'_>| item.is_string() && item.string() == Some("off");
        let count = |item: Option<Item<'_>>| item.and_then(|item| item.count());
        let default = Self::default();
        let optional = |key, default: Option<SocketAddr>| match get(key) {
            Some(item) if off(&item) => None,
            item => address(item).or(default),
        };
        let listen = Self {
            https: optional("https", default.https),
            http: optional("http", default.http),
            socket: get("unix_socket").and_then(|item| item.parse(unix_socket)),
            admin: address(get("admin")).unwrap_or(default.admin),
            proxy_protocol: get("proxy_protocol").and_then(|item| item.boolean()).unwrap_or(false),
            connections: count(get("connections")).unwrap_or(default.connections),
            connections_per_address: count(get("connections_per_address"))
                .unwrap_or(default.connections_per_address),
            trusted_proxies: get("trusted_proxies").map_or(Vec::new(), |item| {
                item.one_or_more().iter().filter_map(|item| item.parse(network)).collect()
            }),
        };
        if let Some(table) = table {
            if listen.proxy_protocol && listen.trusted_proxies.is_empty() && listen.socket.is_none() {
                table.wrong(
                    "`proxy_protocol` has nobody to believe",
                    "name the load balancers: trusted_proxies = [\"10.0.0.0/8\"]",
                );
            }
            if listen.https.is_none() && listen.trusted_proxies.is_empty() && listen.socket.is_none() {
                table.wrong(
                    "https = \"off\" leaves TLS to a proxy, and no proxy is trusted",
                    "name what ends TLS: trusted_proxies = [\"10.0.0.0/8\"]",
                );
            }
            if listen.https.is_none() && listen.http.is_none() && listen.socket.is_none() {
                table.wrong(
                    "`https` and `http` are both off: nothing is served",
                    "give one of them an address",
                );
            }
            table.finish();
        }
        listen
    }

    /// The address of the listener that serves: that of TLS, or the plain one behind a proxy that ends it.
    pub fn serving(&self) -> Option<SocketAddr> {
        self.https.or(self.http)
    }
}

fn socket_address(text: &str) -> Result<SocketAddr, Wrong> {
    text.parse().map_err(|_| {
        (
            format!("\"{text}\" is not an address to listen on"),
            "write an IP address and a port, such as \"0.0.0.0:8443\" or \"[::]:8443\"".into(),
        )
    })
}

fn unix_socket(text: &str) -> Result<PathBuf, Wrong> {
    let rest = text.strip_prefix("unix:").ok_or_else(|| {
        (
            format!("\"{text}\" is no Unix socket"),
            "write it like \"unix:///run/narthex/http.sock\"".to_owned(),
        )
    })?;
    socket_path(text, rest)
}

fn network(text: &str) -> Result<IpNet, Wrong> {
    text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from)).map_err(|_| {
        (
            format!("\"{text}\" is not a network"),
            "write an address or a network, such as \"10.0.0.0/8\"".into(),
        )
    })
}

/// A certificate and the hosts that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsCertificate {
    /// Which names it serves.
    pub hosts: Vec<HostPattern>,
    /// The chain, PEM, leaf first.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// A host name, or `*.` and a domain: exactly one label may stand for the star (RFC 9525).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    /// Whether one more label stands in front.
    pub wildcard: bool,
    /// The name, or the domain behind the star.
    pub host: Host,
}

impl HostPattern {
    /// Reads a pattern; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("*.") {
            Some(domain) => Some(Self { wildcard: true, host: Host::parse(domain)? }),
            None => Some(Self { wildcard: false, host: Host::parse(text)? }),
        }
    }

    /// Whether it means `host` alone.
    pub fn is(&self, host: &Host) -> bool {
        !self.wildcard && self.host == *host
    }

    /// Whether `host` is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self.wildcard {
            false => host == self.host.as_str(),
            true => host
                .split_once('.')
                .is_some_and(|(first, rest)| !first.is_empty() && rest == self.host.as_str()),
        }
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.wildcard { "*." } else { "" }, self.host)
    }
}

impl TlsCertificate {
    pub(super) fn read(table: Table<'_>) -> Option<Self> {
        let hosts = table.must("hosts", "name the hosts it is for: hosts = [\"*.example.com\"]");
        let cert =
            table.must("cert", "name the PEM file with the certificate chain: cert = \"certs/example.pem\"");
        let key = table.must("key", "name the PEM file with its private key: key = \"certs/example.key\"");
        table.finish();
        let pattern = |text: &str| {
            HostPattern::parse(text).ok_or_else(|| {
                (
                    format!("\"{text}\" is not a host"),
                    "write \"app.example.com\" or \"*.example.com\"".to_owned(),
                )
            })
        };
        Some(Self {
            hosts: hosts?.one_or_more().iter().filter_map(|item| item.parse(pattern)).collect(),
            cert: cert?.path()?,
            key: key?.path()?,
        })
    }
}

/// Which engine, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// An SQLite file.
    Sqlite(PathBuf),
    /// A Postgres-wire engine; the URL carries a password.
    Postgres(Secret),
}

/// Where state is kept, and how its secrets are sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Which engine, and where.
    pub url: StoreUrl,
    /// Seals secrets at rest. With SQLite a key file is made beside the database if this is absent.
    pub master_key: Option<Secret>,
}

impl StoreUrl {
    /// The folder of the SQLite file.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(file) => file.parent(),
            Self::Postgres(_) => None,
        }
    }
}

impl StoreSettings {
    /// Reads `[store]` of a file in `folder`; by default the database is in `state`.
    pub(super) fn read(item: Option<Item<'_>>, folder: &Path, state: &Path) -> Self {
        let default = Self { url: StoreUrl::Sqlite(state.join("narthex.db")), master_key: None };
        let Some(table) = item.and_then(|item| item.table("[store]")) else { return default };
        let (url, key) = (table.get("url"), table.get("master_key"));
        let master_key = key.as_ref().and_then(Item::secret);
        if let (Some(item), Some(secret)) = (&key, &master_key)
            && crate::base::MasterKey::parse(secret.expose()).is_none()
        {
            item.wrong(
                "the master key is not 32 bytes in base64url",
                "make one with: head -c 32 /dev/urandom | basenc --base64url | tr -d '='",
            );
        }
        let wrong = "write \"sqlite:narthex.db\" or \"postgres://user:password@host/database\"";
        let url = match url.as_ref().and_then(|item| Some((item, item.secret()?))) {
            None => default.url,
            Some((item, text)) => match text.expose().split_once(':') {
                Some(("sqlite", path))
                    if !path.is_empty() && !path.starts_with("//") && !path.contains('?') =>
                {
                    StoreUrl::Sqlite(folder.join(path))
                }
                Some(("postgres" | "postgresql", _)) if url::Url::parse(text.expose()).is_ok() => {
                    if key.is_none() {
                        item.wrong(
                            "a store that several nodes share needs `master_key` in [store]",
                            "add master_key = { env = \"NARTHEX_MASTER_KEY\" }, the same on every node",
                        );
                    }
                    StoreUrl::Postgres(text)
                }
                _ => {
                    item.wrong("`url` names no store that Narthex knows", wrong);
                    default.url
                }
            },
        };
        table.finish();
        Self { url, master_key }
    }
}

/// How long a session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Without a request.
    pub idle: Duration,
    /// Altogether.
    pub absolute: Duration,
    /// Whether its cookies outlive the browser.
    pub persistent: bool,
}

impl SessionLimits {
    /// The limits, and where browsers go after a sign-out.
    pub(super) fn read(item: Option<Item<'_>>) -> (Self, Option<Url>) {
        let mut limits = Self {
            idle: Duration::from_secs(8 * 3600),
            absolute: Duration::from_secs(7 * 86400),
            persistent: true,
        };
        let Some(table) = item.and_then(|item| item.table("[session]")) else { return (limits, None) };
        let (idle, absolute) = (table.get("idle"), table.get("absolute"));
        limits.persistent = table.get("persistent").and_then(|item| item.boolean()).unwrap_or(true);
        let signed_out_url = table.get("signed_out_url").and_then(|item| {
            item.parse(|text| safe_url(text, "write an https address: \"https://www.example.com/goodbye\""))
        });
        limits.idle = idle.as_ref().and_then(Item::duration).unwrap_or(limits.idle);
        limits.absolute = absolute.as_ref().and_then(Item::duration).unwrap_or(limits.absolute);
        if limits.idle > limits.absolute
            && let Some(item) = idle.or(absolute)
        {
            item.wrong_together("`idle` is longer than `absolute`", "make `idle` the shorter of the two");
        }
        table.finish();
        (limits, signed_out_url)
    }

    /// The `Max-Age` of a cookie set `now` for a session that ends at `expires_at`; none where it goes with the browser.
    pub fn cookie_age(&self, expires_at: Timestamp, now: Timestamp) -> Option<Duration> {
        self.persistent.then(|| expires_at.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_exactly_one_label() {
        let pattern = HostPattern::parse("*.example.com").unwrap();
        assert!(pattern.matches("app.example.com"));
        assert!(!pattern.matches("example.com"));
        assert!(!pattern.matches("a.b.example.com"));
        assert!(!pattern.matches(".example.com"));
        assert!(HostPattern::parse("a*.example.com").is_none());
        assert!(HostPattern::parse("*").is_none());
    }
}
