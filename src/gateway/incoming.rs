//! A request as the gateway reads it, once: where it wants to go, whose connection it came by, and
//! whether a person looks at the answer.

use super::framing;
use super::listener::Face;
use super::path::Path;
use super::stop::Stop;
use crate::catalogue::Catalogue;
use crate::config::{Host, HostPattern};
use crate::hosted::{Failure, Visitor};
use http::header::{ACCEPT, COOKIE, HOST};
use http::{Method, Version};
use pingora_proxy::Session;
use std::net::IpAddr;
use std::ops::Range;

/// How large a request's head may be: servers behind commonly take 8 KB to 64 KB.
const LARGEST_HEAD: usize = 48 * 1024;
/// How long a path and query may be.
const LONGEST_TARGET: usize = 8 * 1024;

/// What the conductor needs of a request beside its path.
#[derive(Debug)]
pub struct Incoming {
    /// The host it wants, in the one spelling.
    pub host: Host,
    /// Whether it came by TLS, to us or to a trusted proxy.
    pub secure: bool,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// Who is answered.
    pub visitor: Visitor,
    /// Whether the browser can be sent away to sign in and come back.
    pub may_redirect: bool,
}

impl Incoming {
    /// Reads the head of a request.
    ///
    /// # Errors
    /// An answer, where the request is malformed, ambiguous or too large.
    pub fn read(
        session: &Session,
        face: Face,
        catalogue: &Catalogue,
        request_id: String,
    ) -> Result<Self, Stop> {
        let header = session.req_header();
        let accepts_html =
            header.headers.get(ACCEPT).is_some_and(|accept| contains(accept.as_bytes(), b"text/html"));
        let script = header
            .headers
            .get("x-requested-with")
            .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"XMLHttpRequest"));
        let navigates =
            header.headers.get("sec-fetch-mode").is_none_or(|mode| mode.as_bytes() == b"navigate");
        let person = accepts_html && !script && navigates;
        let mut visitor = Visitor { request_id, person, strict_transport: false };
        let refuse = |failure: Failure, why: &str, visitor: &Visitor| {
            tracing::info!(request_id = visitor.request_id, why, "a request was refused");
            Stop::from(failure.answer(visitor))
        };

        if let Some(http1) = session.as_http1() {
            let head = http1.get_headers_raw_bytes();
            if head.len() > LARGEST_HEAD {
                return Err(refuse(Failure::headers_too_large(), "the head is too large", &visitor));
            }
            if let Err(ambiguity) = framing::check(&head) {
                let stop = refuse(Failure::bad_request(), "the framing is ambiguous", &visitor);
                tracing::info!(request_id = visitor.request_id, ?ambiguity, "the framing is ambiguous");
                return Err(stop.closing());
            }
        } else {
            let size: usize = header.headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 32).sum();
            if size > LARGEST_HEAD {
                return Err(refuse(Failure::headers_too_large(), "the head is too large", &visitor));
            }
        }
        if header.raw_path().len() > LONGEST_TARGET {
            return Err(refuse(Failure::headers_too_large(), "the target is too long", &visitor));
        }

        let host = authority(session).and_then(Host::from_authority);
        let Some(host) = host else {
            return Err(refuse(
                Failure::bad_request(),
                "the host is missing, malformed or told twice",
                &visitor,
            ));
        };
        let peer = session.client_addr().and_then(|addr| addr.as_inet()).map(std::net::SocketAddr::ip);
        let trusted = |ip: IpAddr| {
            catalogue.config.listen.trusted_proxies.iter().any(|net| net.contains(&ip.to_canonical()))
        };
        let behind = peer.filter(|ip| trusted(*ip)).is_some();
        let forwarded =
            |name: &str| header.headers.get(name).filter(|_| behind).and_then(|v| v.to_str().ok());
        let secure = match face {
            Face::Tls => true,
            Face::Plain => {
                forwarded("x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
            }
        };
        let client = forwarded("x-forwarded-for").and_then(|list| client_of(list, trusted)).or(peer);
        visitor.strict_transport = catalogue
            .config
            .tls
            .iter()
            .flat_map(|tls| &tls.hosts)
            .any(|pattern: &HostPattern| pattern.matches(host.as_str()));
        let may_redirect = person && matches!(header.method, Method::GET | Method::HEAD);
        Ok(Self { host, secure, client, visitor, may_redirect })
    }
}

/// The host that a request names. HTTP/2 names it in `:authority`; where both are there they must
/// agree (RFC 9113, section 8.3.1).
fn authority(session: &Session) -> Option<&str> {
    let header = session.req_header();
    let named = header.uri.authority().map(|authority| authority.as_str());
    let host = header.headers.get(HOST).map(|host| host.to_str().unwrap_or("\0"));
    match (named, host) {
        (Some(named), Some(host)) if !named.eq_ignore_ascii_case(host) => None,
        (named, host) => host.or(named),
    }
}

/// The address that the nearest proxy which is not trusted saw: reading from the right, the first
/// that is no trusted proxy.
fn client_of(list: &str, trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut client = None;
    for text in list.rsplit(',') {
        let ip: IpAddr = text.trim().parse().ok()?;
        client = Some(ip);
        if !trusted(ip) {
            break;
        }
    }
    client
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

/// The raw path and query of a request, where they are text.
pub fn target(session: &Session) -> Option<&str> {
    let header = session.req_header();
    let raw = std::str::from_utf8(header.raw_path()).ok()?;
    // A fragment has no business in a request line; what the parser made of one is not judged.
    let same = header.uri.path_and_query().is_some_and(|known| known.as_str() == raw);
    (same && !raw.contains('#')).then_some(raw)
}

/// The part of a target that is its path.
pub fn path_part(target: &str) -> &str {
    &target[..path_range(target).end]
}

fn path_range(target: &str) -> Range<usize> {
    0..target.find('?').unwrap_or(target.len())
}

/// Reads a target's path.
///
/// # Errors
/// A 400, where servers could disagree on what it names.
pub fn path<'r>(target: Option<&'r str>, visitor: &Visitor) -> Result<(&'r str, Path<'r>), Stop> {
    let refuse = |why: &str| {
        tracing::info!(request_id = visitor.request_id, why, "a path was refused");
        Stop::from(Failure::bad_path().answer(visitor))
    };
    let target = target.ok_or_else(|| refuse("the target is no plain text"))?;
    match Path::parse(path_part(target)) {
        Ok(path) => Ok((target, path)),
        Err(bad) => Err(refuse(&format!("{bad:?}"))),
    }
}

/// The texts of the request's `Cookie` headers.
pub fn cookies(session: &Session) -> impl Iterator<Item = &str> {
    session.req_header().headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok())
}

/// Whether the request asks for another protocol on its connection.
pub fn is_upgrade(session: &Session) -> bool {
    session.req_header().version == Version::HTTP_11 && session.is_upgrade_req()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_first_address_from_the_right_that_is_no_trusted_proxy() {
        let trusted = |ip: IpAddr| ip.to_string().starts_with("10.");
        let client = |list| client_of(list, trusted).map(|ip| ip.to_string());
        assert_eq!(client("198.51.100.7").as_deref(), Some("198.51.100.7"));
        assert_eq!(client("6.6.6.6, 198.51.100.7, 10.0.0.2").as_deref(), Some("198.51.100.7"));
        assert_eq!(client("10.0.0.3, 10.0.0.2").as_deref(), Some("10.0.0.3"));
        assert_eq!(client("6.6.6.6, nonsense, 10.0.0.2"), None);
    }
}
