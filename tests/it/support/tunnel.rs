//! A connection of one's own to Narthex, for what no HTTP client lets one do.

use super::narthex::Narthex;
use rustls::pki_types::pem::PemObject as _;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Opens a TLS connection for HTTP/1.1, or for HTTP/2 with `http2`.
pub async fn connect_tls(narthex: &Narthex, host: &str, http2: bool) -> TlsStream<TcpStream> {
    let pem = std::fs::read(narthex.folder().join("certs/local-authority.pem")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let stream = TcpStream::connect(("127.0.0.1", narthex.https)).await.unwrap();
    let name = format!("{host}.localhost").try_into().unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// Opens a connection without TLS from the address of a trusted proxy.
pub async fn connect_as_trusted_proxy(narthex: &Narthex) -> TcpStream {
    connect_from_proxy_address(narthex, 7).await
}

/// Opens a connection from 127.0.0.`last`. Each address has a limited number of ports.
pub async fn connect_from_proxy_address(narthex: &Narthex, last: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, last], 0).into()).unwrap();
    socket.connect(([127, 0, 0, 1], narthex.http).into()).await.unwrap()
}

/// Reads the head of a message, and no byte more.
pub async fn read_head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// Starts an upstream that handles each connection by `answer`. Returns its port.
pub async fn start_upstream<F>(answer: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> u16
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let work = answer(stream);
            tokio::spawn(work);
        }
    });
    port
}

/// Returns whether a request follows on this connection. A health check sends none.
pub async fn has_request(stream: &TcpStream) -> bool {
    stream.peek(&mut [0]).await.unwrap_or(0) > 0
}

/// Writes text, and returns whether the connection is still open.
pub async fn try_write(stream: &mut (impl tokio::io::AsyncWrite + Unpin), text: &str) -> bool {
    stream.write_all(text.as_bytes()).await.is_ok() && stream.flush().await.is_ok()
}
