//! A stream that buffers writes until a flush or a read. pingora relies on buffering: it writes the
//! head and the body of a response separately, and flushes once. But only the connections of
//! pingora's own listeners are buffered.
//!
//! pingora flushes a response with a Content-Length only at its end. While it waits for the
//! upstream it also reads from the client, and each read flushes earlier writes. So events and slow
//! bodies are not delayed.
//!
//! With HTTP/2, each response wakes its connection, which tokio runs next. Each response would be
//! flushed separately, although others are almost ready. A multiplexed connection therefore lets
//! all ready tasks run before it flushes.

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

/// The buffer's capacity in bytes: a response's head and the beginning of its body.
const CAPACITY: usize = 16 * 1024;

/// A connection that buffers writes, and limits reads by its budget.
#[derive(Debug)]
pub struct BufferedStream {
    stream: Take<BufWriter<Stream>>,
    credit: Arc<ReadBudget>,
    pause: Option<Pin<Box<Sleep>>>,
    multiplexed: Arc<AtomicBool>,
    /// Whether all ready tasks have run since the last write.
    yielded: bool,
}

impl BufferedStream {
    /// Buffers writes to `stream`. `multiplexed` is set while the connection carries many streams
    /// (HTTP/2).
    pub fn new(stream: Stream, credit: Arc<ReadBudget>, multiplexed: Arc<AtomicBool>) -> Self {
        let stream = BufWriter::with_capacity(CAPACITY, stream).take(0);
        Self { stream, credit, pause: None, multiplexed, yielded: false }
    }
}

impl Drop for BufferedStream {
    /// Writes buffered bytes as far as possible without waiting. They may be responses to many
    /// users, if a proxy shares the connection among them.
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
            // A read means that nothing more is ready to be written. The next write returns an
            // error of this flush.
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
            // A task that wakes itself runs after all ready tasks.
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
        // The other side may have closed the connection already.
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

    /// A socket that records each write.
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
            // Without other responses, it is flushed by the second call at the latest.
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
