//! Connections to upstreams that answer a WebSocket's request before pingora is ready for it.
//!
//! pingora tells the half of it that speaks with the upstream that the request has no body by a message
//! from the other half. An answer that is there sooner than this message lets it take the message for the
//! end of the WebSocket, and tear the tunnel down (pingora #946). So what such an upstream answers is
//! looked at some turns later.

use super::upstream::{ALIVE, CONNECT};
use async_trait::async_trait;
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::l4::ext::set_tcp_keepalive;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_error::{Error, ErrorType, OrErr as _, Result};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How many turns an answer waits: each lets the other half run once.
const TURNS: u8 = 3;
/// The writes after which that is so: a TLS handshake's few, and the request's own.
const WRITES: u8 = 8;

/// Makes such connections.
#[derive(Debug)]
pub struct Patient;

#[async_trait]
impl L4Connect for Patient {
    async fn connect(&self, address: &SocketAddr) -> Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(
                ErrorType::SocketError,
                "a WebSocket's upstream has no internet address",
            );
        };
        let stream = match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(connected) => connected.or_err(ErrorType::ConnectRefused, "while connecting")?,
            Err(_) => return Error::e_explain(ErrorType::ConnectTimedout, "while connecting"),
        };
        stream.set_nodelay(true).or_err(ErrorType::SocketError, "while setting nodelay")?;
        set_tcp_keepalive(&stream, &ALIVE)?;
        let socket = Socket { stream, writes: 0, turns: 0 };
        Ok(VirtualSocketStream::new(Box::new(socket)).into())
    }
}

#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    writes: u8,
    /// How many turns reading has to wait.
    turns: u8,
}

impl VirtualSocket for Socket {
    /// Set above, before there is a socket to be asked.
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Socket {
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

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if written.is_ready() && self.writes < WRITES {
            self.writes += 1;
            self.turns = TURNS;
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
