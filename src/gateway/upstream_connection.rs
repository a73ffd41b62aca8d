//! Connections to upstreams by which requests with bodies go, and which of them must not carry another request.
//!
//! An upstream that answers before it has read the body may take the rest of the body for the next request. pingora's proxy
//! sends the rest and returns the connection to its pool. A filter cannot keep it from that, but it can mark the connection,
//! and refuse to send anything by a marked one.

use super::upstream::CONNECT;
use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{Digest, GetProxyDigest as _};
use pingora_error::{Error, ErrorType, OrErr as _, Result};
use pingora_http::ResponseHeader;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpStream;

/// The mark of a connection: whether it must not carry another request.
#[derive(Clone, Debug, Default)]
pub struct Mark(Arc<AtomicBool>);

impl Mark {
    /// Returns the mark of the connection that `digest` describes.
    pub fn of(digest: Option<&Digest>) -> Option<Self> {
        digest?.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref().cloned()
    }

    /// Marks the connection.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Returns whether the connection is marked.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Makes connections that can be marked.
#[derive(Debug)]
pub struct Connect;

#[async_trait]
impl L4Connect for Connect {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(ErrorType::SocketError, "the upstream has no internet address");
        };
        let stream = match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(connected) => connected.or_err(ErrorType::ConnectRefused, "while connecting")?,
            Err(_) => return Error::e_explain(ErrorType::ConnectTimedout, "while connecting"),
        };
        let mut stream = Stream::from(stream);
        // The one place in which pingora carries data of ours from a connection to its requests.
        let mark: Box<dyn std::any::Any + Send + Sync> = Box::new(Mark::default());
        stream.set_proxy_digest(ProxyDigest::new(Box::new(ResponseHeader::build(200, None)?), Some(mark)));
        Ok(stream)
    }
}
