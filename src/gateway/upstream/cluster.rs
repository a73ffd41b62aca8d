//! Upstream clusters: name resolution, round-robin selection and health checks.

use crate::base::Duration;
use crate::config::{Endpoint, Route, Scheme, Upstream};
use crate::gateway::upstream::connection::MarkableConnector;
use crate::gateway::upstream::tcp::{CONNECT_TIMEOUT, TCP_KEEPALIVE, TLS_CONNECT_TIMEOUT};
use crate::gateway::upstream::tls::UpstreamIdentity;
use crate::gateway::upstream::websocket::DelayedReadConnector;
use crate::policy::Permit;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora_core::protocols::ALPN;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, OrErr as _};
use pingora_load_balancing::discovery::ServiceDiscovery;
use pingora_load_balancing::health_check::TcpHealthCheck;
use pingora_load_balancing::{Backend, Backends, Extensions};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The maximum number of concurrent requests on an HTTP/2 connection to an upstream.
const MAX_STREAMS_PER_CONNECTION: usize = 64;
/// The flow-control window of a stream in bytes: the part of a response that is buffered for a
/// client that does not read.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The flow-control window of a connection in bytes. It suffices for all streams, so that a stream
/// that is not read does not block the others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * MAX_STREAMS_PER_CONNECTION as u32;
/// The part of pingora's pool key that separates gRPC connections from other connections to the
/// same server.
const GRPC_KEY: u64 = 0x6772_7063;
/// The time after which an unused connection is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(55);

/// The kind of exchange that a request asks for. The request alone lifts no deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// A request, then its response. Only an event stream may be silent for long, after the
    /// response head.
    Plain,
    /// A gRPC call. Either side may be silent for long, after the upstream has sent a gRPC response
    /// over HTTP/2.
    Grpc,
    /// A WebSocket. Either side may be silent for long, after the connection has switched
    /// protocols.
    WebSocket,
}

/// The upstreams of a route.
pub struct UpstreamCluster {
    upstreams: Vec<Upstream>,
    identity: UpstreamIdentity,
    timeout: Duration,
    backends: Backends,
    endpoints: ArcSwap<Vec<Arc<UpstreamEndpoint>>>,
    next_index: AtomicUsize,
}

/// One address of an upstream, with its health.
pub struct UpstreamEndpoint {
    upstream: Arc<Upstream>,
    backend: Backend,
    plain: HttpPeer,
    /// Whether the last health check succeeded.
    healthy: AtomicBool,
}

impl UpstreamEndpoint {
    /// Returns the upstream's configuration.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Returns the peer of plain exchanges.
    pub fn plain(&self) -> &HttpPeer {
        &self.plain
    }

    /// Returns the peer of exchanges of this kind through pingora's proxy. The peer has no read
    /// timeout, because a separate timer limits the upstream's silence.
    pub fn peer(&self, exchange: RequestKind) -> HttpPeer {
        let mut peer = self.plain.clone();
        peer.options.custom_l4 = Some(Arc::new(MarkableConnector));
        peer.options.read_timeout = None;
        if exchange != RequestKind::Plain {
            peer.options.write_timeout = None;
        }
        if exchange == RequestKind::Grpc && self.upstream.scheme == Scheme::Https {
            // gRPC requires HTTP/2. Other requests have HTTP/1.1 connections of their own, which
            // can be closed if the upstream is silent.
            peer.options.alpn = ALPN::H2H1;
            peer.group_key ^= GRPC_KEY;
        }
        if exchange == RequestKind::WebSocket {
            peer.options.alpn = ALPN::H1;
            peer.options.custom_l4 = Some(Arc::new(DelayedReadConnector));
            // The group key excludes pooled connections of other kinds. Unused WebSocket
            // connections are closed after one second.
            peer.options.idle_timeout = Some(Duration::from_secs(1));
            peer.group_key ^= u64::MAX;
        }
        peer
    }
}

/// Resolver of the upstreams' names. It runs repeatedly, because addresses change.
struct DnsDiscovery(Vec<Upstream>);

#[async_trait]
impl ServiceDiscovery for DnsDiscovery {
    async fn discover(&self) -> pingora_error::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let mut backends = BTreeSet::new();
        let mut failure = None;
        // pingora merges backends with the same address and weight, but upstreams may differ in
        // name or path only. Distinct weights keep such upstreams apart; selection ignores the
        // weight.
        for (weight, upstream) in (1..).zip(&self.0) {
            let (name, port) = match &upstream.endpoint {
                Endpoint::Tcp(host, port) => (host.trim_matches(['[', ']']), *port),
                Endpoint::Unix(path) => {
                    let address = std::os::unix::net::SocketAddr::from_pathname(path)
                        .or_err(ErrorType::SocketError, "the path of a socket")?;
                    let mut backend =
                        Backend { addr: SocketAddr::Unix(address), weight, ext: Extensions::new() };
                    backend.ext.insert(Arc::new(upstream.clone()));
                    backends.insert(backend);
                    continue;
                }
            };
            let looked_up =
                tokio::time::timeout(CONNECT_TIMEOUT, tokio::net::lookup_host((name, port))).await;
            match looked_up {
                Ok(Ok(addresses)) => {
                    for address in addresses {
                        let mut backend = Backend::new_with_weight(&address.to_string(), weight)?;
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

impl UpstreamCluster {
    /// Creates the cluster of `route`, which has no address until [`UpstreamCluster::resolve`] has
    /// found one.
    pub fn new(route: &Route) -> Self {
        let mut backends = Backends::new(Box::new(DnsDiscovery(route.upstreams.clone())));
        let mut check = TcpHealthCheck::new();
        check.consecutive_failure = 2;
        check.peer_template.options.connection_timeout = Some(CONNECT_TIMEOUT);
        backends.set_health_check(check);
        Self {
            upstreams: route.upstreams.clone(),
            identity: UpstreamIdentity::read(&route.upstream_tls),
            timeout: route.timeout,
            backends,
            endpoints: ArcSwap::default(),
            next_index: AtomicUsize::new(0),
        }
    }

    /// Returns whether the upstreams, the timeout and the content of the TLS files equal those of
    /// `route`.
    pub fn matches_config(&self, route: &Route) -> bool {
        self.upstreams == route.upstreams
            && self.timeout == route.timeout
            && self.identity == UpstreamIdentity::read(&route.upstream_tls)
    }

    /// Resolves the names again. The previous addresses remain in use if no name can be resolved.
    pub async fn resolve(&self) {
        if let Err(error) = self.backends.update(|_| ()).await {
            let names: Vec<String> = self.upstreams.iter().map(ToString::to_string).collect();
            tracing::warn!(upstreams = names.join(", "), %error, "an upstream's name could not be looked up");
            return;
        }
        let server = |backend: &Backend| {
            let upstream = backend.ext.get::<Arc<Upstream>>()?.clone();
            let answers = AtomicBool::new(self.backends.ready(backend));
            let plain = self.peer(&upstream, backend)?;
            Some(Arc::new(UpstreamEndpoint { upstream, backend: backend.clone(), plain, healthy: answers }))
        };
        self.endpoints.store(Arc::new(self.backends.get_backend().iter().filter_map(server).collect()));
    }

    /// Checks the health of every address.
    pub async fn check_health(&self) {
        self.backends.run_health_check(true).await;
        for server in self.endpoints.load().iter() {
            server.healthy.store(self.backends.ready(&server.backend), Ordering::Relaxed);
        }
    }

    /// Returns the next healthy endpoint in turn, or the next endpoint if none is healthy. A wrong
    /// health check must not make an app unavailable. The permit shows that the request is
    /// authorized.
    pub fn next(&self, _permit: &Permit) -> Option<Arc<UpstreamEndpoint>> {
        let servers = self.endpoints.load();
        let turn = self.next_index.fetch_add(1, Ordering::Relaxed);
        let in_turn = || (0..servers.len()).map(|step| &servers[turn.wrapping_add(step) % servers.len()]);
        let answering = in_turn().find(|server| server.healthy.load(Ordering::Relaxed));
        answering.or_else(|| in_turn().next()).cloned()
    }

    /// Returns the peer of plain exchanges with this upstream; `None` if the configuration cannot
    /// be applied to it.
    fn peer(&self, upstream: &Upstream, backend: &Backend) -> Option<HttpPeer> {
        let tls = upstream.scheme == Scheme::Https;
        let mut peer = match &upstream.endpoint {
            Endpoint::Unix(path) => HttpPeer::new_uds(path.to_str()?, false, String::new()).ok()?,
            // Without a server name pingora would verify nothing, so an IP address is its own
            // server name.
            Endpoint::Tcp(host, _) => {
                let name = self.identity.server_name().unwrap_or_else(|| host.trim_matches(['[', ']']));
                HttpPeer::new(backend.addr.as_inet()?, tls, if tls { name.to_owned() } else { String::new() })
            }
        };
        let options = &mut peer.options;
        options.connection_timeout = Some(CONNECT_TIMEOUT);
        options.total_connection_timeout = Some(TLS_CONNECT_TIMEOUT);
        options.idle_timeout = Some(IDLE_TIMEOUT);
        options.read_timeout = Some(self.timeout);
        options.write_timeout = Some(self.timeout);
        options.tcp_keepalive = Some(TCP_KEEPALIVE);
        options.max_h2_streams = MAX_STREAMS_PER_CONNECTION;
        options.h2_stream_window_size = Some(STREAM_WINDOW);
        options.h2_connection_window_size = Some(CONNECTION_WINDOW);
        options.alpn = match upstream.scheme {
            Scheme::Http | Scheme::Https => ALPN::H1,
            Scheme::H2c => ALPN::H2,
        };
        if tls {
            self.identity.apply(&mut peer)?;
        }
        Some(peer)
    }

    /// Returns whether all upstreams use HTTP/1.1 without TLS.
    pub fn is_http1_only(&self) -> bool {
        self.upstreams.iter().all(|upstream| upstream.scheme == Scheme::Http)
    }

    /// Returns the number of addresses, which limits the attempts to connect.
    pub fn count(&self) -> usize {
        self.endpoints.load().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn upstreams_at_one_address_stay_apart() {
        let upstream = |path: &str| Upstream {
            scheme: Scheme::Http,
            endpoint: Endpoint::Tcp("127.0.0.1".to_owned(), 1),
            path: path.to_owned(),
        };
        let (backends, _) = DnsDiscovery(vec![upstream("/a"), upstream("/b")]).discover().await.unwrap();
        let path = |backend: &Backend| backend.ext.get::<Arc<Upstream>>().unwrap().path.clone();
        assert_eq!(backends.iter().map(path).collect::<Vec<_>>(), ["/a", "/b"]);
    }
}
