//! Connections to upstreams for WebSockets, with delayed reads.
//!
//! An upstream may respond before pingora is ready for the response (pingora #946). The downstream
//! half of pingora's proxy informs the upstream half by a message that the request has no body. If
//! the response arrives before this message, the upstream half reads the message as the end of the
//! WebSocket and closes the tunnel. Reads after a write are therefore deferred by a few polls.

use crate::gateway::upstream::connection::{unix_path, within_connect_timeout};
use crate::gateway::upstream::tcp::TCP_KEEPALIVE;
use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::ext::set_tcp_keepalive;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_error::{ErrorType, OrErr as _, Result};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// The number of polls by which a read is deferred; each poll lets the other half run once.
const DEFERRED_POLLS: u8 = 3;
/// The number of writes after which reads are deferred: a few of the TLS handshake, and the
/// request's own.
const WRITES: u8 = 8;

/// A connector whose connections defer reads.
#[derive(Debug)]
pub struct DelayedReadConnector;

#[async_trait]
impl L4Connect for DelayedReadConnector {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let socket: Box<dyn VirtualSocket> = match address {
            SocketAddr::Inet(address) => {
                let stream = within_connect_timeout(TcpStream::connect(address)).await?;
                stream.set_nodelay(true).or_err(ErrorType::SocketError, "while setting nodelay")?;
                set_tcp_keepalive(&stream, &TCP_KEEPALIVE)?;
                Box::new(Socket { stream, writes: 0, turns: 0 })
            }
            SocketAddr::Unix(address) => {
                let stream = within_connect_timeout(UnixStream::connect(unix_path(address)?)).await?;
                Box::new(Socket { stream, writes: 0, turns: 0 })
            }
        };
        Ok(VirtualSocketStream::new(socket).into())
    }
}

/// A socket to an upstream.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send + Sync + std::fmt::Debug {}
impl Connection for TcpStream {}
impl Connection for UnixStream {}

#[derive(Debug)]
struct Socket<S> {
    stream: S,
    writes: u8,
    /// The remaining number of polls by which a read is deferred.
    turns: u8,
}

impl<S: Connection> VirtualSocket for Socket<S> {
    /// Does nothing, because the connector sets the options before it creates this socket.
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

impl<S: Connection> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.turns > 0 {
            self.turns -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: Connection> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_ready() && self.writes < WRITES {
            self.writes += 1;
            self.turns = DEFERRED_POLLS;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
