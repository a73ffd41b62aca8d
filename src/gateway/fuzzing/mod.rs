//! Fuzz targets for the gateway's own parsers; see the module `fuzzing` of the crate.

mod requests;

pub use requests::request_head;

use crate::base::fold;
use crate::catalogue::{Catalogue, Ids};
use crate::config::{Config, Host};
use crate::gateway::connection::proxy_protocol;
use crate::gateway::request::path::{Path, uri_for_upstream};
use crate::gateway::state::routes::RouteTable;
use futures_util::FutureExt as _;
use http::Uri;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

/// The maximum number of readings: the subsets of six leniencies.
const MAX_READINGS: usize = 64;

static TABLE: LazyLock<RouteTable> = LazyLock::new(|| {
    let environment = |_: &str| None;
    let config = Config::parse(include_str!("config.toml"), "", "/nonexistent".as_ref(), &environment);
    let config = config.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let ids = Ids::unknown(&config);
    RouteTable::build(Arc::new(Catalogue::of(config, ids, 1).expect("there are no policies")), None)
});

/// Parses the input as a path, and checks that other encodings of it have the same meaning.
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
    let place = TABLE.target(&host, &path);
    if let Some(crate::gateway::state::routes::Target::Route(entry)) = place {
        TABLE.is_ambiguous(&host, &path, &entry);
        assert!(path.starts_with(&entry.route.config.path));
    }
    true
}

/// Checks that the path without its first segments consists of its other segments.
fn shortened(uri: &Uri, path: &Path<'_>) {
    for count in 0..=path.segments.len() {
        let shorter = uri_for_upstream(uri, count, "").expect("a part of a path is a path");
        let shorter = Path::parse(shorter.path()).expect("a part of an accepted path is accepted").segments;
        match &path.segments[count..] {
            [] => assert_eq!(shorter, [""]),
            rest => assert_eq!(shorter, rest),
        }
    }
}

/// Parses the input as the beginning of a connection that must begin with a PROXY header.
pub fn proxy_header(data: &[u8]) -> bool {
    let mut rest = data;
    let header = proxy_protocol::read_header(&mut rest).now_or_never().expect("memory is always ready");
    let Ok(header) = header else { return false };
    assert_eq!([&header[..], rest].concat(), data, "bytes behind the header are read, or lost");
    let Ok(parsed) = proxy_protocol::parse(&header) else { return false };
    if header[0] == b'P' {
        let again = parsed.client.map(|client| {
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            let own = if client.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" };
            format!("PROXY {family} {} {own} {} 443\r\n", client.ip(), client.port())
        });
        let again = again.unwrap_or_else(|| "PROXY UNKNOWN\r\n".to_owned());
        assert_eq!(proxy_protocol::parse(again.as_bytes()), Ok(parsed), "{again}");
        assert!(!parsed.tls);
        return true;
    }
    // Version 2, section 2.2: the offsets of the addresses.
    let address = |at: usize| u128::from_be_bytes(header[at..at + 16].try_into().expect("16 bytes"));
    let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let expected = match (header[12] & 0x0f, header[13] >> 4) {
        (0, _) => None,
        (_, 1) => {
            let ip = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
            Some(SocketAddr::new(IpAddr::V4(ip), port(24)))
        }
        _ => Some(SocketAddr::new(IpAddr::V6(Ipv6Addr::from(address(16))), port(48))),
    };
    assert_eq!(parsed.client, expected);
    true
}
