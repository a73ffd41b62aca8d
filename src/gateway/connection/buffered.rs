//! A connection that gathers what is written until it is flushed, or read from. pingora relies on
//! this: it writes the head and the body of a response apart and flushes once; but only the
//! connections of its own listeners gather.
//!
//! pingora flushes a response with a Content-Length at its end only. While it waits for the
//! upstream it also reads from the client, and what was written before goes out then: events and
//! bodies that come in drops are not held back.
//!
//! By HTTP/2, each answer wakes its connection, which tokio runs next: each would be flushed by
//! itself, though others are as good as ready. So a connection of many streams lets all run that
//! can run before it flushes.

use crate::gateway::connection::ReadBudget;
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
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufWriter, ReadBuf, Take};
use tokio::time::Sleep;

/// How much is gathered at most: an answer's head and the beginning of its body.
const CAPACITY: usize = 16 * 1024;

/// A connection that gathers what is written, and is read as far as its credit goes.
#[derive(Debug)]
pub struct BufferedStream {
    stream: Take<BufWriter<Stream>>,
    credit: Arc<ReadBudget>,
    pause: Option<Pin<Box<Sleep>>>,
    multiplexed: Arc<AtomicBool>,
    /// Whether all have run that could since something was written.
    yielded: bool,
}

impl BufferedStream {
    /// Gathers what is written to `stream`: while it is `multiplexed`, of many streams.
    pub fn new(stream: Stream, credit: Arc<ReadBudget>, multiplexed: Arc<AtomicBool>) -> Self {
        let stream = BufWriter::with_capacity(CAPACITY, stream).take(0);
        Self { stream, credit, pause: None, multiplexed, yielded: false }
    }
}

impl Drop for BufferedStream {
    /// What waits for others to run goes out all the same, as far as it goes at once: it may be the
    /// answers of many people, by a proxy that shares a connection among them.
    fn drop(&mut self) {
        if self.yielded {
            drop(Pin::new(self.stream.get_mut()).poll_flush(&mut Context::from_waker(Waker::noop())));
        }
    }
}

impl AsyncRead for BufferedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let this = &mut *self;
        let multiplexed = this.multiplexed.load(Ordering::Relaxed);
        if !multiplexed && !this.stream.get_ref().buffer().is_empty() {
            // Nothing more is ready to be written. A failure shows when it is.
            drop(Pin::new(this.stream.get_mut()).poll_flush(cx));
        }
        ready!(this.credit.poll(cx, &mut this.pause));
        this.stream.set_limit(this.credit.remaining());
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        this.credit.spend(buffer.filled().len() - before);
        read
    }
}

impl AsyncWrite for BufferedStream {
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
        let written = !self.stream.get_ref().buffer().is_empty();
        if written && !self.yielded && self.multiplexed.load(Ordering::Relaxed) {
            self.yielded = true;
            // A task that wakes itself comes behind all that are ready.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(Pin::new(self.stream.get_mut()).poll_flush(cx))?;
        self.yielded = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for BufferedStream {
    async fn shutdown(&mut self) {
        // The other side may be gone already, which is what a shutdown is for.
        drop(self.stream.get_mut().shutdown().await);
    }
}

#[async_trait]
impl Peek for BufferedStream {
    async fn try_peek(&mut self, buffer: &mut [u8]) -> Result<bool> {
        self.stream.get_mut().get_mut().try_peek(buffer).await
    }
}

impl UniqueID for BufferedStream {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().get_ref().id()
    }
}

impl Ssl for BufferedStream {}

impl GetTimingDigest for BufferedStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_ref().get_ref().get_timing_digest()
    }
}

impl GetProxyDigest for BufferedStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_ref().get_ref().get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.stream.get_mut().get_mut().set_proxy_digest(digest);
    }
}

impl GetSocketDigest for BufferedStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_ref().get_ref().get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.get_mut().get_mut().set_socket_digest(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    /// Remembers each piece that is written to it.
    #[derive(Clone, Debug, Default)]
    struct Written(Arc<Mutex<Vec<Vec<u8>>>>);

    impl VirtualSocket for Written {
        fn set_socket_option(&self, _: VirtualSockOpt) -> Result<()> {
            Ok(())
        }
    }

    impl AsyncRead for Written {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Written {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
            self.0.lock().unwrap().push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl Written {
        fn texts(&self) -> Vec<String> {
            let written = self.0.lock().unwrap();
            written.iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect()
        }
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn connection(multiplexed: bool) -> (Written, BufferedStream) {
        let written = Written::default();
        let stream = Stream::from(VirtualSocketStream::new(Box::new(written.clone())));
        (written, BufferedStream::new(stream, ReadBudget::new(), Arc::new(AtomicBool::new(multiplexed))))
    }

    #[test]
    fn a_connection_of_many_streams_is_flushed_once_for_all_that_are_ready() {
        let expected = [(false, vec!["one", "two", "three"], 0), (true, vec!["onetwo", "three"], 2)];
        for (multiplexed, pieces, woken) in expected {
            let (written, mut stream) = connection(multiplexed);
            let wakes = Arc::new(Wakes::default());
            let waker = wakes.clone().into();
            let cx = &mut Context::from_waker(&waker);
            let mut answer = |text: &str, flushes: usize| {
                assert!(Pin::new(&mut stream).poll_write(cx, text.as_bytes()).is_ready());
                (0..flushes).for_each(|_| drop(Pin::new(&mut stream).poll_flush(cx)));
            };
            answer("one", 1);
            answer("two", 1);
            // Nothing else comes: it is flushed the second time, if not the first.
            answer("three", 2);
            assert_eq!(
                (written.texts(), wakes.0.load(Ordering::Relaxed)),
                (pieces.iter().map(ToString::to_string).collect(), woken)
            );
        }
    }

    #[test]
    fn what_waits_for_others_to_run_goes_out_when_the_connection_ends() {
        let (written, mut stream) = connection(true);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut stream).poll_write(cx, b"one").is_ready());
        assert!(Pin::new(&mut stream).poll_flush(cx).is_pending());
        assert_eq!(written.texts(), [""; 0]);
        drop(stream);
        assert_eq!(written.texts(), ["one"]);
    }
}
