//! The same load over TLS, by HTTP/1.1 and HTTP/2; and handshakes without requests.
//!
//! It runs in one thread that never sleeps, like the load without TLS; the app is polled in turn
//! with the clients.

use super::load::Load;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Certificate (ECDSA, P-256) and key of every proxy.
pub static IDENTITY: LazyLock<CertifiedKey<KeyPair>> =
    LazyLock::new(|| generate_simple_self_signed(vec!["*.example.com".to_owned()]).unwrap());

/// Concurrent requests per HTTP/2 connection.
const STREAMS: usize = 4;

/// Timeout of a run.
const PATIENCE: Duration = Duration::from_secs(120);

/// The traffic of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Http1,
    Http2,
    /// Nothing: the connection ends once the server has sent a ticket.
    Handshake,
    /// Nothing, with resumption by the ticket of another connection.
    Resumption,
}

type Exchange = Request<Empty<Bytes>>;

/// Shared state of all clients.
struct Shared {
    port: u16,
    over: Over,
    connector: TlsConnector,
    requests: Vec<Exchange>,
    next: AtomicUsize,
    end: usize,
}

/// Sends `count` of `requests` in turn, beginning with the one at `from`, over this many
/// connections; or opens this many connections. Returns the latencies.
pub fn run(
    load: &Load,
    over: Over,
    port: u16,
    requests: &[Vec<u8>],
    (from, count): (usize, usize),
    connections: usize,
) -> Vec<Duration> {
    let requests = requests.iter().map(|request| exchange(request, over)).collect();
    let (next, end) = (AtomicUsize::new(from), from + count);
    let shared = Arc::new(Shared { port, over, connector: connector(over), requests, next, end });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().event_interval(2).build().unwrap();
    runtime.block_on(async {
        let streams = if over == Over::Http2 { STREAMS.min(connections) } else { 1 };
        let clients: Vec<_> =
            (0..connections / streams).map(|_| tokio::spawn(client(shared.clone(), streams))).collect();
        let begun = Instant::now();
        while !clients.iter().all(tokio::task::JoinHandle::is_finished) {
            load.answer();
            assert!(begun.elapsed() < PATIENCE, "the proxy does not answer");
            tokio::task::yield_now().await;
        }
        let mut times = Vec::with_capacity(count);
        for client in clients {
            times.extend(client.await.unwrap());
        }
        times
    })
}

/// Converts a request to hyper's type.
fn exchange(request: &[u8], over: Over) -> Exchange {
    let text = std::str::from_utf8(request).unwrap();
    let mut lines = text.split("\r\n").take_while(|line| !line.is_empty());
    let path = lines.next().unwrap().split(' ').nth(1).unwrap();
    let headers: Vec<_> = lines.map(|line| line.split_once(": ").unwrap()).collect();
    let host = headers.iter().find(|(name, _)| *name == "Host").unwrap().1;
    let mut built = match over {
        Over::Http2 => Request::get(format!("https://{host}{path}")),
        _ => Request::get(path).header("host", host),
    };
    for (name, value) in headers.into_iter().filter(|(name, _)| *name != "Host") {
        built = built.header(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    built.body(Empty::new()).unwrap()
}

/// One cipher suite and one group, so that all servers do the same work.
fn connector(over: Over) -> TlsConnector {
    let provider = CryptoProvider {
        cipher_suites: vec![provider::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![provider::kx_group::X25519],
        ..provider::default_provider()
    };
    let mut roots = RootCertStore::empty();
    roots.add(IDENTITY.cert.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(provider));
    let config = config.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![if over == Over::Http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    if over != Over::Resumption {
        config.resumption = Resumption::disabled();
    }
    TlsConnector::from(Arc::new(config))
}

async fn connect(shared: &Shared) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", shared.port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let name = ServerName::try_from("app0.example.com").unwrap();
    shared.connector.connect(name, stream).await.unwrap()
}

async fn client(shared: Arc<Shared>, streams: usize) -> Vec<Duration> {
    match shared.over {
        Over::Http1 => {
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(connect(&shared).await)).await.unwrap();
            let connection = tokio::spawn(connection);
            let mut times = Vec::new();
            while let Some(request) = shared.take() {
                let begun = Instant::now();
                sender.ready().await.unwrap();
                sound(sender.send_request(request).await.unwrap()).await;
                times.push(begun.elapsed());
            }
            drop(sender);
            drop(connection.await.unwrap());
            times
        }
        Over::Http2 => {
            let io = TokioIo::new(connect(&shared).await);
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
            let connection = tokio::spawn(connection);
            let streams = (0..streams).map(|_| tokio::spawn(stream(shared.clone(), sender.clone())));
            let times = futures_util::future::join_all(streams.collect::<Vec<_>>()).await;
            drop(sender);
            drop(connection.await.unwrap());
            times.into_iter().flat_map(Result::unwrap).collect()
        }
        Over::Handshake | Over::Resumption => {
            let mut times = Vec::new();
            while shared.number().is_some() {
                let begun = Instant::now();
                let mut stream = connect(&shared).await;
                ticket(&mut stream).await;
                times.push(begun.elapsed());
                let kind = stream.get_ref().1.handshake_kind();
                // The first connections have no ticket.
                let resumed = shared.over == Over::Resumption && times.len() > 2;
                assert!(!resumed || kind == Some(HandshakeKind::Resumed), "{kind:?}");
                stream.shutdown().await.unwrap();
            }
            times
        }
    }
}

async fn stream(shared: Arc<Shared>, mut sender: http2::SendRequest<Empty<Bytes>>) -> Vec<Duration> {
    let mut times = Vec::new();
    while let Some(request) = shared.take() {
        let begun = Instant::now();
        sender.ready().await.unwrap();
        sound(sender.send_request(request).await.unwrap()).await;
        times.push(begun.elapsed());
    }
    times
}

impl Shared {
    fn number(&self) -> Option<usize> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.end).then_some(number)
    }

    fn take(&self) -> Option<Exchange> {
        self.number().map(|number| self.requests[number % self.requests.len()].clone())
    }
}

/// Reads a response to its end.
async fn sound(answer: http::Response<hyper::body::Incoming>) {
    assert_eq!(answer.status(), StatusCode::OK);
    drop(answer.into_body().collect().await.unwrap());
}

/// Reads until there is a ticket: the server has then finished its work.
async fn ticket(stream: &mut TlsStream<TcpStream>) {
    let mut buffer = [0; 256];
    std::future::poll_fn(|context| {
        let mut nothing = ReadBuf::new(&mut buffer);
        let read = std::pin::Pin::new(&mut *stream).poll_read(context, &mut nothing);
        if stream.get_ref().1.tls13_tickets_received() > 0 {
            return Poll::Ready(());
        }
        assert!(read.is_pending(), "the server sent no ticket: {read:?}");
        Poll::Pending
    })
    .await;
}
