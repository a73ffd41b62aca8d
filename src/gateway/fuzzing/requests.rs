//! Fuzz target for HTTP/1.1 requests: the check of their framing, and the HTTP parser after it.

use super::TABLE;
use crate::base::{Moment, MonotonicTime, Timestamp};
use crate::config::normalize_name;
use crate::gateway::framing::FramingError;
use crate::gateway::framing::message::MessageReader;
use crate::gateway::request::headers::strip_request;
use crate::gateway::request::{self, ListenerKind, RequestInfo};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_core::protocols::{GetSocketDigest as _, SocketDigest};
use pingora_proxy::Session;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The address of a proxy that the configuration trusts.
const TRUSTED_PROXY: std::net::SocketAddr =
    std::net::SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 4000);

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
});

/// Reads the input as an HTTP/1.1 request on a new connection, from a client and from a trusted
/// proxy.
pub fn request_head(data: &[u8]) -> bool {
    let mut reader = MessageReader::default();
    let framed = reader.read(data);
    in_pieces(data, &framed, &reader);
    if framed != Ok(true) {
        return false;
    }
    // The body has ended within the input.
    let complete = matches!(reader, MessageReader::Head(_) | MessageReader::Surplus);
    let peers = [None, Some(TRUSTED_PROXY)];
    let accepted = peers.map(|peer| RUNTIME.block_on(accept(data, complete, peer)));
    accepted.contains(&true)
}

/// Checks that the result does not depend on the pieces in which a head arrives.
fn in_pieces(data: &[u8], framed: &Result<bool, FramingError>, whole: &MessageReader) {
    for pieces in [2, 3, 7] {
        let mut reader = MessageReader::default();
        let mut ends = (1..=pieces).map(|piece| data.len() * piece / pieces);
        let last = ends.find_map(|end| match reader.read(&data[..end]) {
            Ok(false) if end < data.len() => None,
            // The head is complete: the rest is read as a body.
            Ok(true) if end < data.len() => Some((reader.read(&data[end..]).map(|_| true), false)),
            read => Some((read, true)),
        });
        let Some((read, same_place)) = last else { continue };
        // Malformed bytes after a request belong to no request if they arrive together with the
        // request's end.
        if matches!(whole, MessageReader::Surplus) {
            continue;
        }
        assert!(*framed == read, "in {pieces} pieces: {framed:?}, {read:?}");
        if same_place && framed.is_ok() {
            assert_eq!(format!("{whole:?}"), format!("{reader:?}"), "in {pieces} pieces");
        }
    }
}

async fn accept(data: &[u8], complete: bool, peer: Option<std::net::SocketAddr>) -> bool {
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
    let read = RequestInfo::read(
        &session,
        ListenerKind::Plain,
        &TABLE.catalogue,
        |host| TABLE.site(host),
        "0".repeat(32),
        now,
    );
    let Ok(incoming) = read else { return false };
    let Some(target) = request::target(&session) else { return false };
    let skipped = data.chunks_exact(2).take_while(|line| *line == b"\r\n").count() * 2;
    let ends = memchr::memmem::find(&data[skipped..], b"\r\n\r\n").expect("a head ends") + skipped;
    let head = &data[skipped..ends];
    if let Err(why) = strict(head, target) {
        panic!("a head is accepted, though {why}: {:?}", String::from_utf8_lossy(head));
    }
    assert!(
        peer.is_some() || (!incoming.from_trusted_proxy && !incoming.secure),
        "a client is taken for a proxy"
    );
    incoming.response_context(&session);
    let _ = request::bearer(&session, false);
    let _ = request::bearer(&session, true);
    request::is_preflight(&session, &session.req_header().method);
    let mut headers = session.req_header().headers.clone();
    if strip_request(&mut headers, &TABLE.reserved).is_ok() {
        let names = ["forwarded", "x-forwarded-for", "x-amzn-oidc-data", "x-remote-user", "x-narthex-a"];
        for name in headers.keys() {
            assert!(!names.contains(&&*normalize_name(name.as_str())), "`{name}` goes to the upstream");
        }
    }
    check_body(&mut session, &data[ends + 4..], complete).await;
    true
}

/// Checks that the body that the proxy reads from `session` is the one in `rest`.
async fn check_body(session: &mut Session, rest: &[u8], complete: bool) {
    let chunked = session.req_header().headers.contains_key("transfer-encoding");
    let length =
        session.req_header().headers.get("content-length").map(|length| length.to_str().expect("digits"));
    let length = length.map_or(0, |length| length.parse().expect("a number"));
    let expected = if chunked { chunks(rest) } else { rest.get(..length).map(<[u8]>::to_vec) };
    assert_eq!(expected.is_some(), complete, "where the body ends");
    if let Some(expected) = expected {
        let mut body = Vec::new();
        loop {
            match session.as_downstream_mut().read_request_body().await {
                Ok(Some(bytes)) => body.extend_from_slice(&bytes),
                Ok(None) => break,
                Err(error) => panic!("a checked body is refused: {error}"),
            }
        }
        assert!(body == expected, "another body is read: {:?}", body.escape_ascii().to_string());
    }
}

/// Returns the data of a chunked body (RFC 9112, section 7.1), if the body is complete.
fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    fn line<'d>(rest: &mut &'d [u8]) -> Option<&'d [u8]> {
        let at = memchr::memmem::find(rest, b"\r\n")?;
        let line = &rest[..at];
        *rest = &rest[at + 2..];
        Some(line)
    }
    let mut body = Vec::new();
    loop {
        let size = line(&mut rest)?.split(|byte| *byte == b';').next()?;
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            while !line(&mut rest)?.is_empty() {}
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// Checks a head, without the empty line at its end, by the rules of RFC 9112. The check shares no
/// code with the parsers that have accepted the head.
fn strict(head: &[u8], target: &str) -> Result<(), &'static str> {
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
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

/// A connection that provides these bytes and nothing after them, with the number of bytes that
/// were read.
#[derive(Debug)]
struct Sent(Vec<u8>, usize);

impl VirtualSocket for Sent {
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Sent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.0[self.1..];
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.1 += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Sent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
