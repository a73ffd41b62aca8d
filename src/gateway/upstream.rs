//! The servers that requests go to: found by name, taken in turn, left out while they do not answer.

use super::patient::Patient;
use super::upstream_connection::Connect;
use crate::base::{Duration, MAX_SMALL_FILE, read_file, sha256};
use crate::config::{Config, Route, Scheme, Upstream};
use crate::policy::Permit;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::l4::ext::TcpKeepalive;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::utils::tls::{WrappedX509, parse_x509};
use pingora_error::{Error, ErrorType};
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::TcpHealthCheck;
use pingora_load_balancing::{Backend, Backends};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// How long connecting may take.
pub const CONNECT: Duration = Duration::from_secs(3);
const CONNECT_WITH_TLS: Duration = Duration::from_secs(6);
/// How many requests share an HTTP/2 connection to an upstream.
const STREAMS: usize = 64;
/// How many bytes of a response wait for a client that does not read.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same of all streams of a connection: one that is not read leaves the others their share.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;
/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(55);

/// How a connection is found dead on which both sides may be silent.
pub const ALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(60),
    interval: Duration::from_secs(15),
    count: 4,
    #[cfg(target_os = "linux")]
    user_timeout: Duration::from_secs(120),
};

/// How a request and its answer go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// A request, then its answer, without long silence.
    Plain,
    /// The answer begins soon, and may then be silent for long.
    EventStream,
    /// Either side may be silent for long, and the answer may wait for the end of what it answers.
    Grpc,
    /// Either side may be silent for long, once the connection has changed its protocol.
    WebSocket,
}

/// The upstreams of a route.
pub struct Group {
    upstreams: Vec<Upstream>,
    ca_pem: Option<Vec<u8>>,
    ca: Option<Arc<[WrappedX509]>>,
    timeout: Duration,
    backends: Backends,
    servers: ArcSwap<Vec<Arc<Server>>>,
    turn: AtomicUsize,
}

/// An address that requests go to.
pub struct Server {
    upstream: Arc<Upstream>,
    backend: Backend,
    plain: HttpPeer,
    /// Whether it answered when it was last tried.
    answers: AtomicBool,
}

impl Server {
    /// What the file says of it.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The peer of plain exchanges.
    pub fn plain(&self) -> &HttpPeer {
        &self.plain
    }

    /// The peer of exchanges of this kind. One that may be silent has no limit but the connection's own life.
    pub fn peer(&self, exchange: Exchange) -> HttpPeer {
        let mut peer = self.plain.clone();
        peer.options.custom_l4 = Some(Arc::new(Connect));
        if exchange != Exchange::Plain {
            (peer.options.read_timeout, peer.options.write_timeout) = (None, None);
        }
        if exchange == Exchange::WebSocket {
            peer.options.alpn = ALPN::H1;
            peer.options.custom_l4 = Some(Arc::new(Patient));
            // Nor is a connection of another kind taken for it: those are pooled apart, and not kept.
            peer.options.idle_timeout = Some(Duration::from_secs(1));
            peer.group_key ^= u64::MAX;
        }
        peer
    }
}

/// Finds the addresses of upstreams by name, again and again: names move.
struct ByName(Vec<Upstream>);

#[async_trait]
impl ServiceDiscovery for ByName {
    async fn discover(&self) -> pingora_error::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let mut backends = BTreeSet::new();
        let mut failure = None;
        for upstream in &self.0 {
            let name = upstream.host.trim_matches(['[', ']']);
            let looked_up =
                tokio::time::timeout(CONNECT, tokio::net::lookup_host((name, upstream.port))).await;
            match looked_up {
                Ok(Ok(addresses)) => {
                    for address in addresses {
                        let mut backend = Backend::new(&address.to_string())?;
                        backend.ext.insert(Arc::new(upstream.clone()));
                        backends.insert(backend);
                    }
                }
                Ok(Err(error)) => failure = Some(error.to_string()),
                Err(_) => failure = Some("no answer in time".to_owned()),
            }
        }
        match failure {
            Some(why) if backends.is_empty() => Error::e_explain(ErrorType::ConnectError, why),
            _ => Ok((backends, HashMap::new())),
        }
    }
}

impl Group {
    /// The upstreams of `route`. They have no address until [`Group::look_up`] found one.
    pub fn new(route: &Route) -> Self {
        let mut backends = Backends::new(Box::new(ByName(route.upstreams.clone())));
        let mut check = TcpHealthCheck::new();
        check.consecutive_failure = 2;
        check.peer_template.options.connection_timeout = Some(CONNECT);
        backends.set_health_check(check);
        let ca_pem = route.upstream_ca.as_deref().map(read_pem);
        Self {
            upstreams: route.upstreams.clone(),
            ca: ca_pem.as_deref().map(certificates),
            ca_pem,
            timeout: route.timeout,
            backends,
            servers: ArcSwap::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Whether these are the upstreams that `route` names, and their authorities what its file holds.
    pub fn serves(&self, route: &Route) -> bool {
        self.upstreams == route.upstreams
            && self.timeout == route.timeout
            && self.ca_pem == route.upstream_ca.as_deref().map(read_pem)
    }

    /// Looks the names up again.
    pub async fn look_up(&self) {
        if let Err(error) = self.backends.update(|_| ()).await {
            let names: Vec<String> = self.upstreams.iter().map(ToString::to_string).collect();
            tracing::warn!(upstreams = names.join(", "), %error, "an upstream's name could not be looked up");
            return;
        }
        let server = |backend: &Backend| {
            let upstream = backend.ext.get::<Arc<Upstream>>()?.clone();
            let answers = AtomicBool::new(self.backends.ready(backend));
            let plain = self.peer(&upstream, backend);
            Some(Arc::new(Server { upstream, backend: backend.clone(), plain, answers }))
        };
        self.servers.store(Arc::new(self.backends.get_backend().iter().filter_map(server).collect()));
    }

    /// Tries every address, so that the dead are left out and the revived taken in again.
    pub async fn check_health(&self) {
        self.backends.run_health_check(true).await;
        for server in self.servers.load().iter() {
            server.answers.store(self.backends.ready(&server.backend), Ordering::Relaxed);
        }
    }

    /// The next server in turn; any of them, where all seem dead: a wrong suspicion must not shut an app out. Only a
    /// permitted request has a server.
    pub fn next(&self, _permit: &Permit) -> Option<Arc<Server>> {
        let servers = self.servers.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = || (0..servers.len()).map(|step| &servers[turn.wrapping_add(step) % servers.len()]);
        let answering = in_turn().find(|server| server.answers.load(Ordering::Relaxed));
        answering.or_else(|| in_turn().next()).cloned()
    }

    /// The peer of plain exchanges with this server.
    fn peer(&self, upstream: &Upstream, backend: &Backend) -> HttpPeer {
        let tls = upstream.scheme == Scheme::Https;
        // Without a name pingora would verify nothing, so an address stands for itself.
        let name = if tls { upstream.host.trim_matches(['[', ']']).to_owned() } else { String::new() };
        let mut peer = HttpPeer::new(backend.addr.clone(), tls, name);
        let options = &mut peer.options;
        options.connection_timeout = Some(CONNECT);
        options.total_connection_timeout = Some(CONNECT_WITH_TLS);
        options.idle_timeout = Some(IDLE);
        options.read_timeout = Some(self.timeout);
        options.write_timeout = Some(self.timeout);
        options.tcp_keepalive = Some(ALIVE);
        options.max_h2_streams = STREAMS;
        options.h2_stream_window_size = Some(STREAM_WINDOW);
        options.h2_connection_window_size = Some(CONNECTION_WINDOW);
        options.alpn = match upstream.scheme {
            Scheme::Http => ALPN::H1,
            Scheme::H2c => ALPN::H2,
            Scheme::Https => ALPN::H2H1,
        };
        if tls {
            options.ca = self.ca.clone();
            // pingora pools connections by address and name alone: one that was verified against
            // other authorities must not be taken.
            peer.group_key = self
                .ca_pem
                .as_ref()
                .map_or(0, |pem| u64::from_be_bytes(sha256(pem)[..8].try_into().unwrap_or_default()));
        }
        peer
    }

    /// Whether every server of it speaks HTTP/1.1, and no other.
    pub fn speaks_http1(&self) -> bool {
        self.upstreams.iter().all(|upstream| upstream.scheme == Scheme::Http)
    }

    /// How many addresses there are, which bounds how often connecting is tried.
    pub fn count(&self) -> usize {
        self.servers.load().len()
    }
}

/// The file's content; nothing where it cannot be read, so that no upstream is trusted by it.
fn read_pem(file: &Path) -> Vec<u8> {
    read_file(file, MAX_SMALL_FILE).unwrap_or_else(|error| {
        tracing::error!(file = %file.display(), %error, "upstream_ca cannot be read: no upstream is trusted by it");
        Vec::new()
    })
}

/// What is wrong with the files of authorities that `config`'s routes name, a line each.
pub fn unusable_authorities(config: &Config) -> Vec<String> {
    let wrong = |route: &Route| {
        let file = route.upstream_ca.as_deref()?;
        let certificates = |pem: Vec<u8>| {
            let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
            certificates.map_err(|error| error.to_string())
        };
        match read_file(file, MAX_SMALL_FILE).map_err(|error| error.to_string()).and_then(certificates) {
            Ok(found) if found.iter().any(|der| X509Certificate::from_der(der).is_ok()) => None,
            Ok(_) => Some(format!(
                "{}: it holds no certificate, so \"{}\" trusts no upstream",
                file.display(),
                route.name
            )),
            Err(error) => Some(format!("{}: {error}", file.display())),
        }
    };
    config.routes.iter().filter_map(wrong).collect()
}

fn certificates(pem: &[u8]) -> Arc<[WrappedX509]> {
    let readable = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    // pingora's reader panics on what is no certificate.
    let sound = readable.filter(|der| X509Certificate::from_der(der).is_ok());
    sound.map(|der| WrappedX509::new(der.to_vec(), parse_x509)).collect()
}
