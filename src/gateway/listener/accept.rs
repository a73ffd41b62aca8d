//! Accepts connections and shuts them down. Each connection has TLS with Narthex's own
//! configuration, then pingora's proxy.

use crate::base::Duration;
use crate::catalogue::Catalogue;
use crate::config::Listen;
use crate::gateway::connection::buffered::BufferedStream;
use crate::gateway::connection::limits::ConnectionPermit;
use crate::gateway::connection::proxy_protocol::{self, ProxyHeader};
use crate::gateway::connection::{ConnectionInfo, ReadBudget, SharedTimer, Signals};
use crate::gateway::forward::bodyless::{self, BodylessForwarder};
use crate::gateway::forward::timeouts::{self, RequestTimeouts};
use crate::gateway::listener::strict_stream::StrictStream;
use crate::gateway::metrics;
use crate::gateway::proxy::GatewayProxy;
use crate::gateway::request::ListenerKind;
use crate::gateway::state::gateway::Gateway;
use crate::gateway::upstream::tcp::TCP_KEEPALIVE;
use pingora_core::apps::{HttpServerApp as _, HttpServerOptions, ServerApp};
use pingora_core::listeners::tls::Acceptor;
use pingora_core::protocols::l4::listener::Listener as L4;
use pingora_core::protocols::l4::stream::Stream as L4Stream;
use pingora_core::protocols::{ALPN, GetProxyDigest as _, GetSocketDigest as _, Ssl as _, Stream};
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The timeout of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The time for which connections may continue after a stop was requested.
const STOP_GRACE: Duration = Duration::from_secs(8);
/// The time for which connections may continue after another process has taken over: until their
/// requests have ended.
const HANDOVER_GRACE: Duration = Duration::from_secs(24 * 3600);
/// The maximum number of pooled connections to upstreams.
const MAX_POOLED_CONNECTIONS: usize = 512;
/// Maximum number of open files of idle connections to upstreams, for two listeners. Each keeps
/// connections with one file for requests without a body, and with two files for the others.
pub const MAX_IDLE_FILES: u64 = 2 * 3 * MAX_POOLED_CONNECTIONS as u64;
/// The maximum number of connections that wait to be accepted.
const ACCEPT_BACKLOG: u32 = 1024;

/// A bound, listening socket.
pub struct Listener {
    socket: L4,
    copy: OwnedFd,
    /// `None` for a Unix socket.
    address: Option<SocketAddr>,
    tls: Option<Acceptor>,
}

impl Listener {
    /// Binds `address`; uses TLS if there is a TLS configuration.
    ///
    /// # Errors
    /// The address is in use, or does not belong to this machine.
    pub fn bind(address: SocketAddr, tls: Option<Arc<rustls::ServerConfig>>) -> std::io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Self::of(socket.listen(ACCEPT_BACKLOG)?, tls)
    }

    /// Uses a socket that already listens.
    ///
    /// # Errors
    /// The socket is not a listening TCP socket.
    pub fn inherit(
        socket: std::net::TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        Self::of(TcpListener::from_std(socket)?, tls)
    }

    /// Creates a Unix socket at `path` to which its owner and group may connect, and replaces an
    /// existing socket. A process with the old socket keeps its connections.
    ///
    /// # Errors
    /// Another kind of file is at `path`, or the socket cannot be created.
    pub fn bind_unix(path: &Path) -> std::io::Result<Self> {
        match std::fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                return Err(std::io::Error::other("something is there that is no socket"));
            }
            _ => {}
        }
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // The umask restricts the socket to its owner and group from the moment of its creation.
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o117));
        let socket = std::os::unix::net::UnixListener::bind(&temporary);
        rustix::process::umask(before);
        let socket = socket?;
        socket.set_nonblocking(true)?;
        std::fs::rename(&temporary, path)?;
        let copy = OwnedFd::from(socket.try_clone()?);
        Ok(Self { socket: L4::from(UnixListener::from_std(socket)?), copy, address: None, tls: None })
    }

    fn of(socket: TcpListener, tls: Option<Arc<rustls::ServerConfig>>) -> std::io::Result<Self> {
        let address = socket.local_addr()?;
        let socket = socket.into_std()?;
        let copy = OwnedFd::from(socket.try_clone()?);
        let socket = L4::from(TcpListener::from_std(socket)?);
        Ok(Self { socket, copy, address: Some(address), tls: tls.map(Acceptor::from_server_config) })
    }

    /// Returns a copy of the socket, for a process that takes it over.
    ///
    /// # Errors
    /// No file descriptors are left.
    pub fn copy(&self) -> std::io::Result<OwnedFd> {
        self.copy.try_clone()
    }

    fn kind(&self) -> ListenerKind {
        match (&self.tls, self.address) {
            (Some(_), _) => ListenerKind::Tls,
            (None, Some(_)) => ListenerKind::Plain,
            (None, None) => ListenerKind::UnixSocket,
        }
    }

    /// Returns the address to which the socket is bound; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

/// The reason for which a listener ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// The process must stop within seconds.
    Stop,
    /// Another process takes over; requests in progress continue here until they end.
    HandOver,
}

/// Serves the gateway on `listener` until `ending` changes, then waits for requests in progress
/// within the grace period.
pub async fn serve(listener: Listener, gateway: Arc<Gateway>, mut ending: watch::Receiver<Option<Shutdown>>) {
    let face = listener.kind();
    let bodyless = Arc::new(BodylessForwarder::new(MAX_POOLED_CONNECTIONS));
    // Dropping the set ends the loop together with the listener.
    let mut tidying = JoinSet::new();
    tidying.spawn(bodyless.clone().run_eviction_loop());
    let (stop, shutdown) = watch::channel(false);
    let proxy = proxy(gateway.clone(), face, bodyless);
    let server = ConnectionServer { face, gateway, proxy, tls: listener.tls.map(Arc::new), shutdown };
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            _ = ending.changed() => break,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok(stream) => {
                let catalogue = server.gateway.route_table().catalogue.clone();
                let admission = &server.gateway.admission;
                let Some(place) = admission.try_acquire(&catalogue.config.listen) else { continue };
                connections.spawn(server.clone().serve_connection(stream, place, catalogue));
            }
            Err(error) => {
                // Most likely no file descriptors are left. Accepting again at once would be a busy
                // loop.
                tracing::error!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
    drop((listener.socket, listener.copy));
    // From now on every response closes its connection.
    stop.send_replace(true);
    drain(&server.proxy, &mut connections, &mut ending).await;
}

/// pingora's proxy, with our timeouts around it.
type Proxy = RequestTimeouts<GatewayProxy>;

/// Returns the proxy of a listener.
fn proxy(gateway: Arc<Gateway>, listener: ListenerKind, bodyless: Arc<BodylessForwarder>) -> Arc<Proxy> {
    let conf = ServerConf {
        // A retry on a pooled connection removes that connection from the pool. Other retries are
        // limited by the number of endpoints.
        max_retries: MAX_POOLED_CONNECTIONS + bodyless::MAX_ATTEMPTS,
        upstream_keepalive_pool_size: MAX_POOLED_CONNECTIONS,
        ..ServerConf::default()
    };
    let inner = GatewayProxy { gateway: gateway.clone(), listener, bodyless };
    let mut proxy = HttpProxy::new(inner, Arc::new(conf));
    // The gateway refuses CONNECT itself, because pingora's own response has no request id.
    let mut options = HttpServerOptions::default();
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    proxy.handle_init_modules();
    Arc::new(RequestTimeouts::new(proxy, gateway))
}

/// The shared state with which the connections of a listener are served.
#[derive(Clone)]
struct ConnectionServer {
    face: ListenerKind,
    gateway: Arc<Gateway>,
    proxy: Arc<Proxy>,
    tls: Option<Arc<Acceptor>>,
    /// Whether the listener has stopped.
    shutdown: watch::Receiver<bool>,
}

impl ConnectionServer {
    /// Serves the requests of one connection until it ends.
    async fn serve_connection(
        self,
        mut stream: L4Stream,
        place: ConnectionPermit,
        catalogue: Arc<Catalogue>,
    ) {
        let Self { face, gateway, proxy, tls, shutdown } = self;
        drop(stream.set_nodelay());
        drop(stream.set_keepalive(&TCP_KEEPALIVE));
        let arrived = identify_peer(&mut stream, face, place, &catalogue.config.listen).await;
        let Some((_place, proxy_header)) = arrived else { return };
        let credit = ReadBudget::new();
        let signals = Arc::<Signals>::default();
        let idle = SharedTimer::default();
        let connection =
            ConnectionInfo { proxy_header, budget: credit.clone(), idle, signals: signals.clone() };
        if let Some(digest) = connection.into_digest() {
            stream.set_proxy_digest(digest);
        }
        // A long connection must not keep an old catalogue in memory.
        drop(catalogue);
        let stream = handshake(stream, credit.clone(), tls.as_deref(), gateway, signals).await;
        let Some(stream) = stream else { return };
        let work = async {
            let mut next = proxy.process_new(stream, &shutdown).await;
            while let Some(stream) = next {
                next = proxy.process_new(stream, &shutdown).await;
            }
        };
        tokio::select! {
            // The work is polled first, because nearly every wake is for it.
            biased;
            () = work => {}
            // pingora has no timeout for the first request head, or for HTTP/2's preface.
            () = credit.unused_for(timeouts::HEAD_TIMEOUT) => {}
        }
    }
}

/// Waits until the connections of a stopped listener have ended, within the grace of `ending`.
async fn drain(
    proxy: &Arc<Proxy>,
    connections: &mut JoinSet<()>,
    ending: &mut watch::Receiver<Option<Shutdown>>,
) {
    let shutdown_kind = *ending.borrow();
    if shutdown_kind == Some(Shutdown::HandOver) {
        // Closing an idle connection may cross a request on it. Busy connections are notified in
        // time.
        wait_until_drained(connections, timeouts::KEEPALIVE_TIMEOUT, ending).await;
    }
    proxy.http_cleanup().await;
    let grace = if shutdown_kind == Some(Shutdown::HandOver) { HANDOVER_GRACE } else { STOP_GRACE };
    wait_until_drained(connections, grace, ending).await;
    if !connections.is_empty() {
        tracing::warn!(connections = connections.len(), "connections were cut: they did not end in time");
    }
}

/// Waits until all connections have ended, at most for the time `within`, or until `ending`
/// changes.
async fn wait_until_drained(
    connections: &mut JoinSet<()>,
    within: Duration,
    ending: &mut watch::Receiver<Option<Shutdown>>,
) {
    let all = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = all => {}
        () = tokio::time::sleep(within) => {}
        _ = ending.changed() => {}
    }
}

/// Determines the client's address and binds the permit to it. Returns `None` if the connection
/// must be closed. Connections of a trusted proxy serve many clients, so they are not limited by
/// the proxy's address.
async fn identify_peer(
    stream: &mut L4Stream,
    face: ListenerKind,
    place: ConnectionPermit,
    listen: &Listen,
) -> Option<(ConnectionPermit, Option<ProxyHeader>)> {
    let trusted = |ip: IpAddr| listen.trusted_proxies.iter().any(|network| network.contains(&ip));
    // The file permissions of a Unix socket control access to it.
    if face != ListenerKind::UnixSocket {
        let digest = stream.get_socket_digest()?;
        let peer = digest.peer_addr()?.as_inet()?.ip().to_canonical();
        if !trusted(peer) {
            return Some((place.bind_to_address(peer, listen)?, None));
        }
    }
    if !listen.proxy_protocol {
        return Some((place, None));
    }
    match proxy_protocol::read(stream).await {
        Ok(proxy_header) => match proxy_header.client.filter(|client| !trusted(client.ip().to_canonical())) {
            Some(client) => Some((place.bind_to_address(client.ip(), listen)?, Some(proxy_header))),
            None => Some((place, Some(proxy_header))),
        },
        Err(error) => {
            tracing::debug!(error, "a connection of a trusted proxy has no sound PROXY header");
            metrics::refused_connection("proxy_header");
            None
        }
    }
}

/// Returns the client's address, as determined by the connection alone.
fn peer_address(stream: &L4Stream) -> Option<IpAddr> {
    let digest = stream.get_proxy_digest();
    let proxy_header =
        digest.as_deref().and_then(ConnectionInfo::in_digest).and_then(|connection| connection.proxy_header);
    let peer = || Some(stream.get_socket_digest()?.peer_addr()?.as_inet()?.ip());
    proxy_header.and_then(|proxy_header| proxy_header.client).map(|client| client.ip()).or_else(peer)
}

async fn handshake(
    stream: L4Stream,
    credit: Arc<ReadBudget>,
    tls: Option<&Acceptor>,
    gateway: Arc<Gateway>,
    signals: Arc<Signals>,
) -> Option<Stream> {
    let client = peer_address(&stream);
    let multiplexed = Arc::new(AtomicBool::new(false));
    let stream = BufferedStream::new(stream, credit, multiplexed.clone());
    let Some(acceptor) = tls else {
        return Some(Box::new(StrictStream::new(stream, gateway, signals, client)));
    };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.tls_handshake(stream)).await {
        Ok(Ok(stream)) if stream.selected_alpn_proto() == Some(ALPN::H2) => {
            multiplexed.store(true, Ordering::Relaxed);
            Some(Box::new(stream))
        }
        Ok(Ok(stream)) => Some(Box::new(StrictStream::new(stream, gateway, signals, client))),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("a TLS handshake took too long");
            None
        }
    }
}
