//! A connection that gathers what is written until it is flushed. pingora counts on this: it writes an
//! answer's head and body apart and flushes once; but only its own listeners' connections gather.

use super::connection::Credit;
use async_trait::async_trait;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufWriter, ReadBuf, Take};
use tokio::time::Sleep;

/// How much is gathered at most: an answer's head and the beginning of its body.
const CAPACITY: usize = 16 * 1024;

/// A connection that gathers what is written, and is read as far as its credit goes.
#[derive(Debug)]
pub struct Buffered {
    stream: Take<BufWriter<Stream>>,
    credit: Arc<Credit>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Buffered {
    /// Gathers what is written to `stream`.
    pub fn new(stream: Stream, credit: Arc<Credit>) -> Self {
        Self { stream: BufWriter::with_capacity(CAPACITY, stream).take(0), credit, pause: None }
    }
}

impl AsyncRead for Buffered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let this = &mut *self;
        ready!(this.credit.poll(cx, &mut this.pause));
        this.stream.set_limit(this.credit.left());
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        this.credit.spend(buffer.filled().len() - before);
        read
    }
}

impl AsyncWrite for Buffered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(self.stream.get_mut()).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(self.stream.get_mut()).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(self.stream.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Buffered {
    async fn shutdown(&mut self) {
        // The other side may be gone already, which is what a shutdown is for.
        drop(self.stream.get_mut().shutdown().await);
    }
}

#[async_trait]
impl Peek for Buffered {
    async fn try_peek(&mut self, buffer: &mut [u8]) -> Result<bool> {
        self.stream.get_mut().get_mut().try_peek(buffer).await
    }
}

impl UniqueID for Buffered {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().get_ref().id()
    }
}

impl Ssl for Buffered {}

impl GetTimingDigest for Buffered {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_ref().get_ref().get_timing_digest()
    }
}

impl GetProxyDigest for Buffered {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_ref().get_ref().get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.stream.get_mut().get_mut().set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Buffered {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_ref().get_ref().get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.get_mut().get_mut().set_socket_digest(digest);
    }
}
