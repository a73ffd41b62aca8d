//! Fuzz targets for the gateway's own parsers; see the module `fuzzing` of the crate.

use super::framing::HeadReader;
use super::headers::strip_request;
use super::incoming::{self, Face, Incoming};
use super::path::{Path, uri_without_prefix};
use super::proxy_protocol;
use super::table::Table;
use crate::base::{Moment, MonotonicTime, Timestamp, fold};
use crate::catalogue::{Catalogue, Ids};
use crate::config::{Config, Host, plain};
use futures_util::FutureExt as _;
use http::Uri;
use pingora_core::protocols::GetSocketDigest as _;
use pingora_core::protocols::SocketDigest;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_proxy::Session;
use std::io::Result;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A proxy that the configuration trusts.
const TRUSTED_PROXY: std::net::SocketAddr =
    std::net::SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 4000);

/// As many readings as six liberties make.
const MAX_READINGS: usize = 64;

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let environment = |_: &str| None;
    let config = Config::parse(include_str!("fuzzing.toml"), "", "/nonexistent".as_ref(), &environment);
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let ids = Ids::unknown(&config);
    Table::build(Arc::new(Catalogue::of(config, ids, 1).expect("there are no policies")), None)
});

/// Reads the input as a path, then writes it in other ways that must mean the same.
pub fn path(data: &[u8]) -> bool {
    let Ok(raw) = std::str::from_utf8(data) else { return false };
    let Ok(path) = Path::parse(raw) else { return false };
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let dots = |part: &str| matches!(part.split(';').next(), Some("." | ".."));
    for segment in &path.segments {
        assert!(!segment.contains(breaks), "a path with a control character is accepted");
        assert!(!segment.split(['/', '\\']).any(dots), "a path with a dot segment is accepted");
    }
    let encode = |segment: &str| segment.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let encoded: String =
        path.segments.iter().flat_map(|segment| ["/".to_owned(), encode(segment)]).collect();
    assert_eq!(Path::parse(&encoded).as_ref(), Ok(&path), "the path encoded means another one");
    if let Some(lenient) = &path.lenient {
        let readings = lenient.readings();
        assert!(readings.len() <= MAX_READINGS && readings.contains(&lenient.all));
        for segment in readings.iter().flatten() {
            assert!(!segment.contains(breaks) && !dots(segment), "a reading of an accepted path is none");
            assert_eq!(fold(segment), *segment, "a folded segment has another form");
        }
    }
    if let Ok(uri) = raw.parse::<Uri>()
        && uri.path() == raw
    {
        shortened(&uri, &path);
    }
    let host = Host::from_authority("app.example.com").expect("it is a host");
    let place = TABLE.find(&host, &path);
    if let Some(super::table::Place::Route(entry)) = place {
        TABLE.is_ambiguous(&host, &path, entry);
        assert!(path.starts_with(&entry.route.config.path));
    }
    true
}

/// Without its first segments the path is the one of its other segments.
fn shortened(uri: &Uri, path: &Path<'_>) {
    for count in 0..=path.segments.len() {
        let shorter = uri_without_prefix(uri, count).expect("a part of a path is a path");
        let shorter = Path::parse(shorter.path()).expect("a part of an accepted path is accepted").segments;
        match &path.segments[count..] {
            [] => assert_eq!(shorter, [""]),
            rest => assert_eq!(shorter, rest),
        }
    }
}

/// Reads the input as the beginning of a connection that must begin with a PROXY header.
pub fn proxy_header(data: &[u8]) -> bool {
    let mut rest = data;
    let header = proxy_protocol::read_header(&mut rest).now_or_never().expect("memory is always ready");
    let Ok(header) = header else { return false };
    assert_eq!([&header[..], rest].concat(), data, "bytes behind the header are read, or lost");
    let Ok(told) = proxy_protocol::parse(&header) else { return false };
    if header[0] == b'P' {
        let again = told.client.map(|client| {
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            let own = if client.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" };
            format!("PROXY {family} {} {own} {} 443\r\n", client.ip(), client.port())
        });
        let again = again.unwrap_or_else(|| "PROXY UNKNOWN\r\n".to_owned());
        assert_eq!(proxy_protocol::parse(again.as_bytes()), Ok(told), "{again}");
        assert!(!told.tls);
        return true;
    }
    // Version 2, section 2.2: where the addresses stand.
    let address = |at: usize| u128::from_be_bytes(header[at..at + 16].try_into().expect("16 bytes"));
    let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let expected = match (header[12] & 0x0f, header[13] >> 4) {
        (0, _) => None,
        (_, 1) => {
            let ip = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
            Some(std::net::SocketAddr::new(IpAddr::V4(ip), port(24)))
        }
        _ => Some(std::net::SocketAddr::new(IpAddr::V6(Ipv6Addr::from(address(16))), port(48))),
    };
    assert_eq!(told.client, expected);
    true
}

/// Reads the input as an HTTP/1 request on a new connection: of a client, and of a trusted proxy.
pub fn request_head(data: &[u8]) -> bool {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
    });
    let peers = [None, Some(TRUSTED_PROXY)];
    let accepted = peers.map(|peer| RUNTIME.block_on(accept_head(data, peer)));
    accepted.contains(&true)
}

async fn accept_head(data: &[u8], peer: Option<std::net::SocketAddr>) -> bool {
    // What a connection hands to the HTTP parser.
    if !matches!(HeadReader::default().read(data), Ok(Some(_))) {
        return false;
    }
    let mut stream = Stream::from(VirtualSocketStream::new(Box::new(Sent(data.to_vec(), 0))));
    let digest = SocketDigest::from_raw_fd(-1);
    if let Some(peer) = peer {
        digest.peer_addr.set(Some(SocketAddr::Inet(peer))).expect("a new cell is empty");
    }
    stream.set_socket_digest(digest);
    let mut session = Session::new_h1(Box::new(stream));
    if !matches!(session.as_downstream_mut().read_request().await, Ok(true)) {
        return false;
    }
    let wall = Timestamp::from_seconds(1_800_000_000);
    let now = Moment { wall, monotonic: MonotonicTime::from_millis(0) };
    let read = Incoming::read(&session, Face::Plain, &TABLE.catalogue, "0".repeat(32), now);
    let Ok(incoming) = read else { return false };
    let Some(target) = incoming::target(&session) else { return false };
    let head = session.as_http1().map(|http1| http1.get_headers_raw_bytes()).unwrap_or_default();
    if let Err(why) = strict(&head, target) {
        panic!("a head is accepted, though {why}: {:?}", String::from_utf8_lossy(&head));
    }
    assert!(peer.is_some() || (!incoming.behind && !incoming.secure), "a client is taken for a proxy");
    incoming.visitor(&session);
    let _ = incoming::bearer(&session);
    incoming::is_preflight(&session);
    let mut headers = session.req_header().headers.clone();
    if strip_request(&mut headers, &TABLE.reserved).is_ok() {
        let names = ["forwarded", "x-forwarded-for", "x-amzn-oidc-data", "x-remote-user", "x-narthex-a"];
        for name in headers.keys() {
            assert!(!names.contains(&&*plain(name.as_str())), "`{name}` goes to the upstream");
        }
    }
    true
}

/// Checks a head by RFC 9112 as it stands there, sharing nothing with the parsers that have accepted it.
fn strict(head: &[u8], target: &str) -> std::result::Result<(), &'static str> {
    let text = head.strip_suffix(b"\r\n\r\n").ok_or("it does not end with an empty line")?;
    let text: String = text.iter().map(|byte| char::from(*byte)).collect();
    let mut lines = text.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, raw, version] = words[..] else { return Err("its request line has not three words") };
    // RFC 9110, section 5.6.2.
    let token = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
    };
    let visible: String = target.bytes().map(char::from).collect();
    let (mut hosts, mut lengths, mut encodings) = (0, 0, 0);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("a line has no colon")?;
        let value = value.trim_matches([' ', '\t']);
        match name.to_ascii_lowercase().as_str() {
            name if !token(name) => return Err("a name is no token"),
            _ if value.contains(|c: char| c.is_ascii_control() && c != '\t') => {
                return Err("a value has a control character");
            }
            "host" => hosts += 1,
            "content-length" if value.is_empty() || value.contains(|c: char| !c.is_ascii_digit()) => {
                return Err("its length is no number");
            }
            "content-length" => lengths += 1,
            "transfer-encoding" if !value.eq_ignore_ascii_case("chunked") => {
                return Err("its encoding is not chunked");
            }
            "transfer-encoding" => encodings += 1,
            _ => {}
        }
    }
    match (hosts, lengths, encodings, version) {
        _ if !token(method) => Err("its method is no token"),
        _ if visible != raw => Err("its target was repaired"),
        _ if raw.contains(|c: char| c.is_ascii_control()) => Err("its target has a control character"),
        (2.., ..) | (0, _, _, "HTTP/1.1") => Err("it has not one host"),
        (_, 2.., ..) | (_, _, 2.., _) | (_, 1, 1, _) => Err("its body has two lengths"),
        (_, _, 1, "HTTP/1.0") => Err("it is of an old version, and chunked"),
        (_, _, _, "HTTP/1.0" | "HTTP/1.1") => Ok(()),
        _ => Err("its version is unknown"),
    }
}

/// A connection on which these bytes are sent, and nothing after them; of how many, that were read.
#[derive(Debug)]
struct Sent(Vec<u8>, usize);

impl VirtualSocket for Sent {
    fn set_socket_option(&self, _: VirtualSockOpt) -> Result<()> {
        Ok(())
    }
}

impl AsyncRead for Sent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let rest = &self.0[self.1..];
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.1 += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Sent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}
