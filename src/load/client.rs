//! Connections to what is loaded: exactly so many, each its own.

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

/// How long a connection, and an answer, may take.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// Where requests go, and what is spoken there.
pub struct Server {
    address: SocketAddr,
    /// By whom it proves to be, where TLS is spoken.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    http2: bool,
}

/// How a server is found, and which may be.
#[derive(Clone, Debug, Default)]
pub struct TargetOptions {
    /// Where it is, if not where its name says.
    pub connect_to: Option<SocketAddr>,
    /// The authorities that its certificate is judged by, if not those of this machine.
    pub cacert: Option<PathBuf>,
    /// Whether it may be on another machine.
    pub elsewhere: bool,
}

impl TargetOptions {
    /// The address of the server that `url` names.
    ///
    /// # Errors
    /// Where it has none, or none that is to be loaded.
    pub async fn find(&self, url: &Url) -> Result<SocketAddr, LoadError> {
        let (name, port) = (host(url)?, url.port_or_known_default().unwrap_or(443));
        let address = match self.connect_to {
            Some(address) => address,
            // RFC 6761, section 6.3: "users are free to use localhost names as they would any other domain names", and not
            // every machine finds them.
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
                "{address} is not this machine\n  help: load what is yours, and say so with --i-own-this-host"
            ))),
        }
    }
}

fn host(url: &Url) -> Result<&str, LoadError> {
    let host = url.host_str().ok_or_else(|| LoadError::new(format!("{url} names no host")))?;
    Ok(host.trim_matches(['[', ']']))
}

/// A connection on which requests are sent: one at a time by HTTP/1.1, many side by side by HTTP/2.
pub enum Connection {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// The place of one connection: whoever sends on it takes it, and opens it where it is not open.
#[derive(Default)]
pub struct ConnectionSlot(Mutex<Option<Connection>>);

impl ConnectionSlot {
    /// The connection, for one request.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub async fn take(&self, server: &Server) -> Result<Connection, LoadError> {
        // Held while it is opened, so that those who send side by side open one and not one each.
        let mut place = self.0.lock().await;
        let connection = match place.take().filter(|open| !open.is_over()) {
            Some(open) => open,
            None => server.connect().await?,
        };
        *place = connection.beside();
        Ok(connection)
    }

    /// Has the next request open another: this one does not answer.
    pub async fn give_up(&self) {
        *self.0.lock().await = None;
    }

    /// Leaves the connection for the next request.
    pub async fn put_back(&self, connection: Connection) {
        self.0.lock().await.get_or_insert(connection);
    }
}

impl Server {
    /// The server of `target`.
    ///
    /// # Errors
    /// Where it cannot be found, is not to be loaded, or its authorities cannot be read.
    pub async fn find(target: &Url, reach: &TargetOptions, http2: bool) -> Result<Self, LoadError> {
        let address = reach.find(target).await?;
        let tls = match target.scheme() {
            "https" => {
                let name = host(target)?;
                let name = ServerName::try_from(name.to_owned())
                    .map_err(|_| LoadError::new(format!("{name} is no name of a server")))?;
                Some((TlsConnector::from(Arc::new(tls(reach.cacert.as_deref(), http2)?)), name))
            }
            _ => None,
        };
        Ok(Self { address, tls, http2 })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// Why it does not come to one.
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
        // Why a connection ends, its requests tell.
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
    /// Another way to send on the same connection; none where it takes one request at a time.
    pub fn beside(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(sender) => Some(Self::Http2(sender.clone())),
        }
    }

    /// Whether the server has ended it, as servers do after so many requests or so long.
    pub fn is_over(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    /// Sends a request, and reads its answer to the end.
    ///
    /// # Errors
    /// Where there is none, or none in time; the connection is of no more use then.
    pub async fn send(&mut self, request: Request<Empty<Bytes>>) -> Result<StatusCode, LoadError> {
        let answered = async {
            let answer = match self {
                Self::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Self::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
            };
            let (head, mut body) = answer.into_parts();
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

/// A request for `target` with these headers: in HTTP/1.1 the host is a header, in HTTP/2 it stands before the path.
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

/// The last cause is what tells.
pub(super) fn why(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
