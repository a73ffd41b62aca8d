//! Connections to a mail server: TCP, STARTTLS and TLS, as the transport of lettre's SMTP client.
//!
//! This module implements STARTTLS. lettre would keep bytes that the server sent before the
//! handshake, and treat them as replies on the encrypted connection (RFC 3207, section 6).

use super::errors::SendError;
use crate::config::{MailSecurity, SmtpServer};
use lettre::transport::smtp::client::AsyncTokioStream;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The maximum size of a server's reply before TLS, in bytes.
const MAX_REPLY: usize = 8 * 1024;
/// A greeting for lettre, which reads one at the start of each connection. After STARTTLS the
/// server sends none.
const GREETING: &[u8] = b"220 TLS\r\n";

/// Opens a connection to `server` with the configured encryption.
///
/// # Errors
/// Returns [`SendError::Unavailable`] with the failed step.
pub(super) async fn open(server: &SmtpServer) -> Result<Box<dyn AsyncTokioStream>, SendError> {
    let name = server.authority();
    let failed =
        |step: &str, error: &dyn std::fmt::Display| SendError::Unavailable(format!("{step} {name}: {error}"));
    let tcp = TcpStream::connect((server.host.as_str(), server.port))
        .await
        .map_err(|error| failed("cannot connect to", &error))?;
    let peer = tcp.peer_addr().map_err(|error| failed("cannot connect to", &error))?;
    // A failure only affects latency.
    drop(tcp.set_nodelay(true));
    let greeting = match server.security {
        MailSecurity::Plain if !SmtpServer::may_be_plain(peer.ip()) => {
            return Err(failed(
                "cannot use",
                &format!("{} is no address of a private network, and `tls` is off", peer.ip()),
            ));
        }
        MailSecurity::Plain => return Ok(Box::new(tcp)),
        MailSecurity::Implicit => &b""[..],
        MailSecurity::StartTls => GREETING,
    };
    let mut tcp = tcp;
    if server.security == MailSecurity::StartTls {
        start_tls(&mut tcp, peer).await.map_err(|error| failed("no STARTTLS at", &error))?;
    }
    let config = tls_config(server).map_err(|error| failed("cannot use TLS with", &error))?;
    let host =
        ServerName::try_from(server.host.clone()).map_err(|error| failed("cannot use TLS with", &error))?;
    let tls = TlsConnector::from(Arc::new(config)).connect(host, tcp).await;
    let tls = tls.map_err(|error| failed("the TLS handshake failed with", &error))?;
    Ok(Box::new(Encrypted { tls, peer, greeting }))
}

/// Returns the TLS configuration, which trusts the system's authorities and the server's `ca`.
fn tls_config(server: &SmtpServer) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let pem = server.ca.as_ref().map(|ca| ca.text.as_bytes()).unwrap_or_default();
    let roots: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let verifier =
        Verifier::new_with_extra_roots(roots, provider.clone()).map_err(|error| error.to_string())?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

/// Sends STARTTLS (RFC 3207, section 4). No byte after the server's reply is read, so that further
/// plain text makes the handshake fail.
async fn start_tls(tcp: &mut TcpStream, peer: SocketAddr) -> Result<(), String> {
    let own = match tcp.local_addr().unwrap_or(peer) {
        SocketAddr::V4(own) => format!("[{}]", own.ip()),
        SocketAddr::V6(own) => format!("[IPv6:{}]", own.ip()),
    };
    expect(tcp, "220").await?;
    tcp.write_all(format!("EHLO {own}\r\n").as_bytes()).await.map_err(|error| error.to_string())?;
    let extensions = expect(tcp, "250").await?;
    let offers = |line: &str| line.get(4..).is_some_and(|word| word.trim().eq_ignore_ascii_case("STARTTLS"));
    if !extensions.lines().any(offers) {
        return Err("the server does not offer it; help: correct the port, or use smtps:".to_owned());
    }
    tcp.write_all(b"STARTTLS\r\n").await.map_err(|error| error.to_string())?;
    expect(tcp, "220").await.map(drop)
}

/// Reads a reply of one or more lines. Returns an error unless each line has this code.
async fn expect(tcp: &mut TcpStream, code: &str) -> Result<String, String> {
    let mut reply = Vec::new();
    loop {
        let start = reply.len();
        while reply.last() != Some(&b'\n') || reply.len() == start {
            if reply.len() == MAX_REPLY {
                return Err(format!("an answer longer than {MAX_REPLY} bytes"));
            }
            reply.push(tcp.read_u8().await.map_err(|error| error.to_string())?);
        }
        // RFC 5321, section 4.2.1: all lines except the last have a hyphen after the code.
        if reply.get(start + 3) != Some(&b'-') {
            break;
        }
    }
    let reply = String::from_utf8_lossy(&reply).into_owned();
    match reply.lines().all(|line| line.starts_with(code)) {
        true => Ok(reply),
        false => Err(format!("it answered `{}`", reply.trim_end())),
    }
}

/// An encrypted connection. Its reader receives `greeting` before the server's data.
#[derive(Debug)]
struct Encrypted {
    tls: TlsStream<TcpStream>,
    peer: SocketAddr,
    greeting: &'static [u8],
}

impl AsyncTokioStream for Encrypted {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.greeting.is_empty() {
            return Pin::new(&mut self.tls).poll_read(cx, buffer);
        }
        let length = self.greeting.len().min(buffer.remaining());
        let (now, later) = self.greeting.split_at(length);
        buffer.put_slice(now);
        self.greeting = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.tls).poll_write(cx, bytes))?;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
