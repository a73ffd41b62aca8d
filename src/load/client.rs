//! Client connections of a load test.

use super::LoadError;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use url::Url;

/// Timeout for opening a connection, and for a response.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The server under test, with the protocol of the connections.
pub struct Server {
    address: SocketAddr,
    /// The TLS connector, and the name that the certificate must have.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    http2: bool,
}

/// How the server is located, and whether it may be remote.
#[derive(Clone, Debug, Default)]
pub struct TargetOptions {
    /// The server's address, which replaces the DNS lookup.
    pub connect_to: Option<SocketAddr>,
    /// The trusted certificate authorities, which replace the system's.
    pub cacert: Option<PathBuf>,
    /// Whether remote servers are allowed.
    pub elsewhere: bool,
}

impl TargetOptions {
    /// Returns the address of the server in `url`.
    ///
    /// # Errors
    /// Returns an error if the host cannot be resolved, or the server must not be loaded.
    pub async fn find(&self, url: &Url) -> Result<SocketAddr, LoadError> {
        let (name, port) = (host(url)?, url.port_or_known_default().unwrap_or(443));
        let address = match self.connect_to {
            Some(address) => address,
            // RFC 6761, section 6.3: "users are free to use localhost names as they would any other
            // domain names", and not every resolver supports them.
            None if name == "localhost" || name.ends_with(".localhost") => (Ipv4Addr::LOCALHOST, port).into(),
            None => {
                let found =
                    tokio::time::timeout(RESPONSE_TIMEOUT, tokio::net::lookup_host((name, port))).await;
                let found = found.map_err(|_| LoadError::new(format!("{name} was not found in time")))?;
                let mut found = found.map_err(|error| LoadError::new(format!("{name}: {error}")))?;
                found.next().ok_or_else(|| LoadError::new(format!("{name} has no address")))?
            }
        };
        match self.elsewhere || address.ip().to_canonical().is_loopback() {
            true => Ok(address),
            false => Err(LoadError::new(format!(
                "{address} is not this machine\n  help: load your own servers only, with --i-own-this-host"
            ))),
        }
    }
}

fn host(url: &Url) -> Result<&str, LoadError> {
    let host = url.host_str().ok_or_else(|| LoadError::new(format!("{url} names no host")))?;
    Ok(host.trim_matches(['[', ']']))
}

/// An open connection: HTTP/1.1 for one request at a time, or HTTP/2 for concurrent requests.
pub enum Connection {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// A slot for one connection, opened on demand.
#[derive(Default)]
pub struct ConnectionSlot(Mutex<Option<Connection>>);

impl ConnectionSlot {
    /// Takes the connection, or opens one. An HTTP/2 connection stays in the slot.
    ///
    /// # Errors
    /// Returns an error if it cannot be opened.
    pub async fn take(&self, server: &Server) -> Result<Connection, LoadError> {
        // The lock is held while connecting, so that concurrent requests share one connection.
        let mut place = self.0.lock().await;
        let connection = match place.take().filter(|open| !open.is_over()) {
            Some(open) => open,
            None => server.connect().await?,
        };
        *place = connection.beside();
        Ok(connection)
    }

    /// Discards the connection after a failure. The next request opens another one.
    pub async fn give_up(&self) {
        *self.0.lock().await = None;
    }

    /// Puts the connection back for the next request.
    pub async fn put_back(&self, connection: Connection) {
        self.0.lock().await.get_or_insert(connection);
    }
}

impl Server {
    /// Locates the server of `target`.
    ///
    /// # Errors
    /// Returns an error if the host cannot be resolved, the server must not be loaded, or the
    /// certificate authorities cannot be read.
    pub async fn find(target: &Url, reach: &TargetOptions, http2: bool) -> Result<Self, LoadError> {
        let address = reach.find(target).await?;
        let tls = match target.scheme() {
            "https" => {
                let name = host(target)?;
                let name = ServerName::try_from(name.to_owned())
                    .map_err(|_| LoadError::new(format!("{name} is not a server name")))?;
                Some((TlsConnector::from(Arc::new(tls(reach.cacert.as_deref(), http2)?)), name))
            }
            _ => None,
        };
        Ok(Self { address, tls, http2 })
    }

    /// Returns the server's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// Returns an error if the connection cannot be opened in time, or does not support HTTP/2 as
    /// required.
    pub async fn connect(&self) -> Result<Connection, LoadError> {
        let connected = tokio::time::timeout(RESPONSE_TIMEOUT, self.connect_at_leisure()).await;
        connected.map_err(|_| self.failed("no connection in time"))?
    }

    async fn connect_at_leisure(&self) -> Result<Connection, LoadError> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| self.failed(error))?;
        stream.set_nodelay(true).map_err(|error| self.failed(error))?;
        match &self.tls {
            Some((connector, name)) => {
                let stream =
                    connector.connect(name.clone(), stream).await.map_err(|error| self.failed(error))?;
                if self.http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
                    return Err(self.failed("it speaks no HTTP/2"));
                }
                self.speak(TokioIo::new(stream)).await
            }
            None => self.speak(TokioIo::new(stream)).await,
        }
    }

    async fn speak<Io>(&self, io: Io) -> Result<Connection, LoadError>
    where
        Io: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    {
        let failed = |error: hyper::Error| self.failed(error);
        // Errors of the connection task are ignored, because the requests report them.
        match self.http2 {
            true => {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), io).await.map_err(failed)?;
                tokio::spawn(async { drop(connection.await) });
                Ok(Connection::Http2(sender))
            }
            false => {
                let (sender, connection) = http1::handshake(io).await.map_err(failed)?;
                tokio::spawn(async { drop(connection.await) });
                Ok(Connection::Http1(sender))
            }
        }
    }

    fn failed(&self, why: impl std::fmt::Display) -> LoadError {
        LoadError::new(format!("{}: {why}", self.address))
    }
}

impl Connection {
    /// Clones an HTTP/2 connection. Returns `None` for HTTP/1.1, which handles one request at a
    /// time.
    pub fn beside(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(sender) => Some(Self::Http2(sender.clone())),
        }
    }

    /// Returns whether the connection is closed. Servers close connections after a maximum number
    /// of requests or time.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    /// Returns an error if there is no complete response in time. The connection is then unusable.
    pub async fn send(&mut self, request: Request<Empty<Bytes>>) -> Result<StatusCode, LoadError> {
        let answered = async {
            let response = match self {
                Self::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Self::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
            };
            let (head, mut body) = response.into_parts();
            while let Some(frame) = body.frame().await {
                frame?;
            }
            Ok::<_, hyper::Error>(head.status)
        };
        let answered = tokio::time::timeout(RESPONSE_TIMEOUT, answered).await;
        answered
            .map_err(|_| LoadError::new("no answer in time"))?
            .map_err(|error| LoadError::new(why(&error)))
    }
}

/// Returns a GET request for `target`. The host is a header in HTTP/1.1, and a part of the URI in
/// HTTP/2.
pub fn request(target: &Url, http2: bool) -> Result<Request<Empty<Bytes>>, LoadError> {
    let authority = &target[url::Position::BeforeHost..url::Position::AfterPort];
    let path = &target[url::Position::BeforePath..url::Position::AfterQuery];
    let request = Request::builder().method(Method::GET);
    let request = match http2 {
        true => request.uri(format!("{}://{authority}{path}", target.scheme())),
        false => request.uri(path).header(http::header::HOST, authority),
    };
    request.body(Empty::new()).map_err(|error| LoadError::new(format!("{target}: {error}")))
}

fn tls(cacert: Option<&Path>, http2: bool) -> Result<rustls::ClientConfig, LoadError> {
    let builder = rustls::ClientConfig::builder();
    let mut config = match cacert {
        None => {
            use rustls_platform_verifier::BuilderVerifierExt as _;
            let machine = builder.with_platform_verifier();
            machine.map_err(|error| LoadError::new(error.to_string()))?.with_no_client_auth()
        }
        Some(file) => {
            let wrong = |why: &dyn std::fmt::Display| LoadError::new(format!("{}: {why}", file.display()));
            let mut roots = rustls::RootCertStore::empty();
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
                let certificate = certificate.map_err(|error| wrong(&error))?;
                roots.add(certificate).map_err(|error| wrong(&error))?;
            }
            if roots.is_empty() {
                return Err(wrong(&"it holds no certificate"));
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    Ok(config)
}

/// Returns the innermost cause of an error, which is the most specific.
pub(super) fn why(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
