//! `[listen]`: addresses, trusted proxies and connection limits.

use super::item::Item;
use super::key::{Key, Section, Shape, Type};
use super::reader::{Invalid, Table};
use super::types::{COUNT, FLAG};
use super::upstream::socket_path;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(super) const SECTION: Section = Section {
    header: "[listen]",
    about: "Addresses to listen on, trusted proxies and connection limits.",
    keys: &[
        &HTTPS,
        &HTTP,
        &UNIX_SOCKET,
        &ADMIN,
        &TRUSTED_PROXIES,
        &PROXY_PROTOCOL,
        &CONNECTIONS,
        &CONNECTIONS_PER_ADDRESS,
    ],
};
const HTTPS: Key<Option<SocketAddr>> = Key::new(
    "https",
    Type::Read(Shape::Text, address_or_off),
    "Address of the TLS listener (HTTP/1.1 and HTTP/2), or `\"off\"` if a trusted proxy terminates TLS.",
)
.default("\"0.0.0.0:8443\"");
const HTTP: Key<Option<SocketAddr>> = Key::new(
    "http",
    Type::Read(Shape::Text, address_or_off),
    "Address of the plain HTTP listener, or `\"off\"`. It redirects to https, and serves requests of trusted proxies.",
)
.default("\"0.0.0.0:8080\"");
const UNIX_SOCKET: Key<PathBuf> = Key::new(
    "unix_socket",
    Type::Read(Shape::Text, |item| item.parse(unix_socket)),
    "Unix socket for plain HTTP of a proxy on the same machine; each of its clients is a trusted proxy.",
)
.example("\"unix:///run/narthex/http.sock\"");
const ADMIN: Key<SocketAddr> = Key::new(
    "admin",
    Type::Read(Shape::Text, |item| item.parse(socket_address)),
    "Address of `/metrics`, `/healthz` and `/readyz`.",
)
.default("\"127.0.0.1:9090\"");
const TRUSTED_PROXIES: Key<Vec<IpNet>> = Key::new(
    "trusted_proxies",
    Type::Read(Shape::OneOrMore(&Shape::Text), |item| Some(item.list(|item| item.parse(network)))),
    "Addresses or networks of the proxies whose `X-Forwarded-*` headers are believed.",
)
.example("[\"10.0.0.0/8\"]");
const PROXY_PROTOCOL: Key<bool> = Key::new(
    "proxy_protocol",
    FLAG,
    "Whether trusted proxies must send a PROXY protocol header, version 1 or 2.",
)
.default("false");
const CONNECTIONS: Key<usize> =
    Key::new("connections", COUNT, "Maximum number of connections, and of requests in progress at apps; a connection with a request uses up to three open files.")
        .default("8000");
const CONNECTIONS_PER_ADDRESS: Key<usize> = Key::new(
    "connections_per_address",
    COUNT,
    "Maximum number of connections of one client address, and of its requests in progress at apps; never more than nine tenths of `connections`.",
)
.default("1000");

/// The listeners, the trusted proxies and the connection limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The TLS listener for HTTP/1.1 and HTTP/2; `None` if trusted proxies terminate TLS.
    pub https: Option<SocketAddr>,
    /// The plain HTTP listener. It redirects to https, except for requests of trusted proxies that
    /// terminate TLS.
    pub http: Option<SocketAddr>,
    /// A Unix socket for plain HTTP. Every peer on it is a trusted proxy.
    pub socket: Option<PathBuf>,
    /// The listener for metrics and health checks.
    pub admin: SocketAddr,
    /// The proxies whose `X-Forwarded-*` headers are used.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether trusted proxies send a PROXY protocol header.
    pub proxy_protocol: bool,
    /// The maximum number of connections.
    pub connections: usize,
    /// The configured maximum number of connections of one client address; see
    /// [`Listen::max_per_address`].
    pub connections_per_address: usize,
}

impl Listen {
    pub(super) fn read(table: &Table<'_>) -> Option<Self> {
        let https = table.read(&HTTPS);
        let http = table.read(&HTTP);
        let socket = table.read(&UNIX_SOCKET);
        let admin = table.read(&ADMIN);
        let trusted_proxies = table.read(&TRUSTED_PROXIES).unwrap_or_default();
        let proxy_protocol = table.read(&PROXY_PROTOCOL);
        let connections = table.read(&CONNECTIONS);
        let connections_per_address = table.read(&CONNECTIONS_PER_ADDRESS);
        table.finish();
        let listen = Self {
            https: https?,
            http: http?,
            socket,
            admin: admin?,
            trusted_proxies,
            proxy_protocol: proxy_protocol?,
            connections: connections?,
            connections_per_address: connections_per_address?,
        };
        listen.report_conflicts(table);
        Some(listen)
    }

    fn report_conflicts(&self, table: &Table<'_>) {
        let no_proxy = self.trusted_proxies.is_empty() && self.socket.is_none();
        if self.proxy_protocol && no_proxy {
            table.report(
                "`proxy_protocol` is set, and no proxy is trusted",
                "name the load balancers: trusted_proxies = [\"10.0.0.0/8\"]",
            );
        }
        if self.https.is_none() && no_proxy {
            table.report(
                "https = \"off\" leaves TLS to a proxy, and no proxy is trusted",
                "name the proxy that terminates TLS: trusted_proxies = [\"10.0.0.0/8\"]",
            );
        }
        if self.https.is_none() && self.http.is_none() && self.socket.is_none() {
            table.report("`https` and `http` are both off: nothing is served", "give one of them an address");
        }
    }

    /// Returns the connection limit of one client address: `connections_per_address`, and at most
    /// nine tenths of `connections`. So no single address can use all connections.
    pub fn max_per_address(&self) -> usize {
        let reserved = (self.connections / 10).max(1);
        self.connections_per_address.min(self.connections.saturating_sub(reserved)).max(1)
    }

    /// Returns the address of the listener that serves requests: the TLS listener, or the plain one
    /// behind a proxy that terminates TLS.
    pub fn serving(&self) -> Option<SocketAddr> {
        self.https.or(self.http)
    }
}

fn address_or_off(item: &Item<'_>) -> Option<Option<SocketAddr>> {
    item.parse(|text| match text {
        "off" => Ok(None),
        text => socket_address(text).map(Some),
    })
}

fn socket_address(text: &str) -> Result<SocketAddr, Invalid> {
    text.parse().map_err(|_| {
        (
            format!("\"{text}\" is not an address to listen on"),
            "write an IP address and a port, such as \"0.0.0.0:8443\" or \"[::]:8443\"".into(),
        )
    })
}

fn unix_socket(text: &str) -> Result<PathBuf, Invalid> {
    let rest = text.strip_prefix("unix:").ok_or_else(|| {
        (
            format!("\"{text}\" is not a Unix socket"),
            "write it like \"unix:///run/narthex/http.sock\"".to_owned(),
        )
    })?;
    socket_path(text, rest)
}

fn network(text: &str) -> Result<IpNet, Invalid> {
    text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from)).map_err(|_| {
        (
            format!("\"{text}\" is not a network"),
            "write an address or a network, such as \"10.0.0.0/8\"".into(),
        )
    })
}
