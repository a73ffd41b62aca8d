//! A stream between a client's HTTP/1.1 connection and the HTTP parser, which passes only
//! unambiguous messages on.
//!
//! The parser repairs a target with a space in it, and reads up to 1 MB of an unfinished head. It
//! reads an empty chunk size as the last chunk, and responds to a refused request with its own
//! page. Therefore a head is passed on only when it is complete and checked, and a chunked body is
//! checked as it is read. Bytes that the parser writes before the gateway has seen a request are
//! replaced.

use crate::gateway::connection::Signals;
use crate::gateway::framing::FramingError;
use crate::gateway::framing::message::MessageReader;
use crate::gateway::listener::malformed::MalformedRequestResponse;
use crate::gateway::state::gateway::Gateway;
use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use std::fmt;
use std::io::{Error, ErrorKind, Result};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

/// The number of bytes per read of an unfinished head.
const READ_BYTES: usize = 4096;

/// A connection whose requests are checked.
pub struct StrictStream<S> {
    stream: S,
    gateway: Arc<Gateway>,
    signals: Arc<Signals>,
    message: MessageReader,
    /// Bytes that were read and not passed on: those of a head, and those read together with its
    /// end.
    held: Vec<u8>,
    /// The number of held bytes that may be passed on.
    checked: usize,
    refusal: Option<MalformedRequestResponse>,
    /// The client's address, for the access log.
    client: Option<IpAddr>,
}

impl<S> fmt::Debug for StrictStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StrictStream").field("message", &self.message).finish_non_exhaustive()
    }
}

impl<S> StrictStream<S> {
    /// Creates a stream that checks the requests on `stream`.
    pub fn new(stream: S, gateway: Arc<Gateway>, signals: Arc<Signals>, client: Option<IpAddr>) -> Self {
        Self {
            stream,
            gateway,
            signals,
            message: MessageReader::default(),
            held: Vec::new(),
            checked: 0,
            refusal: None,
            client,
        }
    }

    fn refuse(&mut self, ambiguity: FramingError, head: &[u8]) {
        self.held = Vec::new();
        self.checked = 0;
        self.refusal = Some(MalformedRequestResponse::new(&self.gateway, ambiguity, head, self.client));
    }

    /// Passes checked bytes on.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.checked.min(buffer.remaining());
        buffer.put_slice(&self.held[..count]);
        self.checked -= count;
        self.held.drain(..count);
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }
}

impl<S: AsyncRead + Unpin> StrictStream<S> {
    /// Reads more of a head that is partly held. Returns whether any bytes were received.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        let mut bytes = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        // The buffer grows in fixed steps instead of doubling, because many connections may hold an
        // unfinished head.
        if self.held.capacity() - self.held.len() < buffer.filled().len() {
            self.held.reserve_exact(READ_BYTES);
        }
        self.held.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(!buffer.filled().is_empty()))
    }

    /// Reads directly into the parser's buffer, and removes bytes again that must not be passed on.
    fn poll_into(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        let was_in_head = self.message.in_head();
        let bytes = &buffer.filled()[before..];
        if bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match self.message.read(bytes) {
            Ok(true) => return Poll::Ready(Ok(())),
            Ok(false) => self.held.extend_from_slice(bytes),
            Err(ambiguity) if was_in_head => {
                let head = bytes.to_vec();
                self.refuse(ambiguity, &head);
            }
            Err(_) => {
                self.signals.set_malformed();
                buffer.set_filled(before);
                return Poll::Ready(Err(Error::new(ErrorKind::InvalidData, "malformed chunked body")));
            }
        }
        buffer.set_filled(before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for StrictStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let this = &mut *self;
        if this.signals.is_upgraded() {
            this.message = MessageReader::Surplus;
            this.checked = this.held.len();
        }
        loop {
            if let Some(refusal) = &mut this.refusal {
                // The parser gets the end of the stream instead of further bytes.
                return refusal.poll(&mut this.stream, cx).map(Ok);
            }
            if this.checked > 0 {
                this.hand_on(buffer);
                return Poll::Ready(Ok(()));
            }
            if this.held.is_empty() {
                let before = buffer.filled().len();
                ready!(this.poll_into(cx, buffer))?;
                let handed_on = buffer.filled().len() > before;
                if handed_on || (this.held.is_empty() && this.refusal.is_none()) {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            if !ready!(this.poll_head(cx))? {
                return Poll::Ready(Ok(()));
            }
            match this.message.read(&this.held) {
                Ok(true) => this.checked = this.held.len(),
                Ok(false) => {}
                Err(ambiguity) => {
                    let head = std::mem::take(&mut this.held);
                    this.refuse(ambiguity, &head);
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for StrictStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let this = &mut *self;
        if this.refusal.is_none() {
            if this.signals.is_seen() {
                return Pin::new(&mut this.stream).poll_write(cx, bytes);
            }
            // The bytes are the parser's own page for a request that it refused.
            this.refuse(FramingError::Malformed, &[]);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        match &mut this.refusal {
            None => Pin::new(&mut this.stream).poll_flush(cx),
            Some(refusal) => refusal.poll(&mut this.stream, cx).map(Ok),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = &mut *self;
        if let Some(refusal) = &mut this.refusal {
            ready!(refusal.poll(&mut this.stream, cx));
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

#[async_trait]
impl<S: IO> Shutdown for StrictStream<S> {
    async fn shutdown(&mut self) {
        // The other side may have closed the connection already.
        drop(AsyncWriteExt::shutdown(self).await);
    }
}

#[async_trait]
impl<S: IO> Peek for StrictStream<S> {}

impl<S: UniqueID> UniqueID for StrictStream<S> {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl<S: Ssl> Ssl for StrictStream<S> {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl<S: GetTimingDigest> GetTimingDigest for StrictStream<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl<S: GetProxyDigest> GetProxyDigest for StrictStream<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.stream.set_proxy_digest(digest);
    }
}

impl<S: GetSocketDigest> GetSocketDigest for StrictStream<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.set_socket_digest(digest);
    }
}
