//! Connections to upstreams for requests with bodies, and marks on those that must not carry
//! another request.
//!
//! An upstream that responds before it has read the body may read the rest of the body as the next
//! request. pingora's proxy sends the rest and returns the connection to its pool. A filter cannot
//! prevent this, but it can mark the connection and refuse to send requests on a marked one.
//!
//! A filter also cannot change pingora's read timeout after a response head has announced an event
//! stream. Therefore no read timeout is set. The mark contains a second handle of the socket,
//! through which a silent upstream's connection is shut down.

use crate::gateway::upstream::tcp::CONNECT_TIMEOUT;
use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{Digest, GetProxyDigest as _};
use pingora_error::{Error, ErrorType, OrErr as _, Result};
use pingora_http::ResponseHeader;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::{TcpStream, UnixStream};

/// The mark of a connection: whether it must not carry another request.
#[derive(Clone, Debug)]
pub struct ConnectionMark(Arc<MarkState>);

#[derive(Debug)]
struct MarkState {
    abandoned: AtomicBool,
    silent: AtomicBool,
    socket: OwnedFd,
}

impl ConnectionMark {
    /// Returns the mark of the connection that `digest` describes.
    pub fn of(digest: Option<&Digest>) -> Option<Self> {
        digest?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref().cloned()
    }

    fn new(socket: OwnedFd) -> Self {
        Self(Arc::new(MarkState {
            abandoned: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            socket,
        }))
    }

    /// Marks the connection.
    pub fn abandon(&self) {
        self.0.abandoned.store(true, Ordering::Relaxed);
    }

    /// Returns whether the connection is marked.
    pub fn is_abandoned(&self) -> bool {
        self.0.abandoned.load(Ordering::Relaxed)
    }

    /// Returns whether the upstream has sent something that has not been read yet.
    pub fn has_unread(&self) -> bool {
        rustix::io::ioctl_fionread(&self.0.socket).is_ok_and(|bytes| bytes > 0)
    }

    /// Shuts down the connection of an upstream that was silent for too long. Pending reads then
    /// return the end of the stream.
    pub fn end_silent(&self) {
        self.abandon();
        self.0.silent.store(true, Ordering::Relaxed);
        // The call fails only if the connection has already ended.
        _ = rustix::net::shutdown(&self.0.socket, rustix::net::Shutdown::Both);
    }

    /// Returns whether the connection was ended by [`ConnectionMark::end_silent`].
    pub fn was_silent(&self) -> bool {
        self.0.silent.load(Ordering::Relaxed)
    }
}

/// Waits for a connection, at most [`CONNECT_TIMEOUT`].
///
/// # Errors
/// `ConnectRefused` or `ConnectTimedout`.
pub async fn within_connect_timeout<S>(connecting: impl Future<Output = std::io::Result<S>>) -> Result<S> {
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected.or_err(ErrorType::ConnectRefused, "while connecting"),
        Err(_) => Error::e_explain(ErrorType::ConnectTimedout, "while connecting"),
    }
}

/// Returns the path of a Unix socket's address.
///
/// # Errors
/// The address has no path.
pub fn unix_path(address: &std::os::unix::net::SocketAddr) -> Result<&Path> {
    let unnamed = || Error::explain(ErrorType::SocketError, "the upstream's socket has no path");
    address.as_pathname().ok_or_else(unnamed)
}

/// A connector that adds a mark to each connection.
#[derive(Debug)]
pub struct MarkableConnector;

#[async_trait]
impl L4Connect for MarkableConnector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let (socket, mut stream) = match address {
            SocketAddr::Inet(address) => {
                let stream = within_connect_timeout(TcpStream::connect(address)).await?;
                (stream.as_fd().try_clone_to_owned(), Stream::from(stream))
            }
            SocketAddr::Unix(address) => {
                let stream = within_connect_timeout(UnixStream::connect(unix_path(address)?)).await?;
                (stream.as_fd().try_clone_to_owned(), Stream::from(stream))
            }
        };
        let socket = socket.or_err(ErrorType::SocketError, "while connecting")?;
        // Only the proxy digest carries custom data from a connection to its requests.
        let mark: Box<dyn std::any::Any + Send + Sync> = Box::new(ConnectionMark::new(socket));
        stream.set_proxy_digest(ProxyDigest::new(Box::new(ResponseHeader::build(200, None)?), Some(mark)));
        Ok(stream)
    }
}
