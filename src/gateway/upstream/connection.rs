//! Connections to upstreams by which requests with bodies go, and which of them must not carry
//! another request.
//!
//! An upstream that answers before it has read the body may take the rest of the body for the next
//! request. pingora's proxy sends the rest and returns the connection to its pool. A filter cannot
//! keep it from that, but it can mark the connection, and refuse to send anything by a marked one.
//!
//! Nor can a filter change pingora's read timeout once the head of a response has shown that it is
//! an event stream. So none is set, and the mark has a second handle on the socket, by which an
//! upstream that is silent for too long is ended.

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

    /// Ends the connection of an upstream that was silent for too long: what reads from it finds
    /// its end.
    pub fn end_silent(&self) {
        self.abandon();
        self.0.silent.store(true, Ordering::Relaxed);
        // Fails only where the connection has ended by itself.
        _ = rustix::net::shutdown(&self.0.socket, rustix::net::Shutdown::Both);
    }

    /// Returns whether the connection was ended by [`ConnectionMark::end_silent`].
    pub fn was_silent(&self) -> bool {
        self.0.silent.load(Ordering::Relaxed)
    }
}

/// Waits for a connection, and not for long.
pub async fn within_connect_timeout<S>(connecting: impl Future<Output = std::io::Result<S>>) -> Result<S> {
    match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(connected) => connected.or_err(ErrorType::ConnectRefused, "while connecting"),
        Err(_) => Error::e_explain(ErrorType::ConnectTimedout, "while connecting"),
    }
}

/// The path of a Unix socket's address.
pub fn unix_path(address: &std::os::unix::net::SocketAddr) -> Result<&Path> {
    let unnamed = || Error::explain(ErrorType::SocketError, "the upstream's socket has no path");
    address.as_pathname().ok_or_else(unnamed)
}

/// Makes connections that can be marked.
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
        // The one place in which pingora carries data of ours from a connection to its requests.
        let mark: Box<dyn std::any::Any + Send + Sync> = Box::new(ConnectionMark::new(socket));
        stream.set_proxy_digest(ProxyDigest::new(Box::new(ResponseHeader::build(200, None)?), Some(mark)));
        Ok(stream)
    }
}
