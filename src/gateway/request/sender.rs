//! The sender of a request: a client, or a proxy that is trusted to name one.

use crate::catalogue::Catalogue;
use crate::gateway::connection::ConnectionInfo;
use crate::gateway::request::ListenerKind;
use crate::gateway::request::names::{FORWARDED_FOR, FORWARDED_PROTO};
use http::{HeaderMap, HeaderValue};
use pingora_proxy::Session;
use std::net::{IpAddr, SocketAddr};

/// The sender of a request, determined by its connection and by the headers of a trusted proxy.
pub struct Sender {
    /// Whether a trusted proxy sent it.
    pub is_trusted_proxy: bool,
    /// Whether it was sent over TLS, to Narthex or to a trusted proxy.
    pub secure: bool,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// Whether the address is the client's. A trusted proxy may not name its client.
    pub client_ip_trusted: bool,
}

impl Sender {
    /// Returns the sender of `session`, which a listener of the kind `face` accepted.
    pub fn of(session: &Session, face: ListenerKind, catalogue: &Catalogue) -> Self {
        let headers = &session.req_header().headers;
        let peer = session.client_addr().and_then(|addr| addr.as_inet()).map(SocketAddr::ip);
        let trusted = |ip: IpAddr| {
            catalogue.config.listen.trusted_proxies.iter().any(|net| net.contains(&ip.to_canonical()))
        };
        let proxy_header = ConnectionInfo::of(session).and_then(|connection| connection.proxy_header);
        // The address in a PROXY header is always the client's, even that of a trusted proxy.
        let behind =
            proxy_header.is_none() && (face == ListenerKind::UnixSocket || peer.is_some_and(trusted));
        let secure = match (face, proxy_header) {
            (ListenerKind::Tls, _) => true,
            (ListenerKind::Plain | ListenerKind::UnixSocket, Some(proxy_header)) => proxy_header.tls,
            (ListenerKind::Plain | ListenerKind::UnixSocket, None) => {
                let mut lines = headers.get_all(FORWARDED_PROTO).iter().map(HeaderValue::as_bytes);
                let is_https = |line: &[u8]| line.eq_ignore_ascii_case(b"https");
                behind && lines.next().is_some_and(is_https) && lines.all(is_https)
            }
        };
        let forwarded = if behind { client_address(headers, trusted) } else { None };
        Self {
            is_trusted_proxy: behind,
            secure,
            client: forwarded.or(peer),
            client_ip_trusted: forwarded.is_some() || !behind,
        }
    }
}

/// Returns the first address from the right that is not a trusted proxy, or the leftmost if all are
/// trusted. Returns `None` if an address cannot be parsed.
fn client_address(headers: &HeaderMap, trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let lines: Vec<&HeaderValue> = headers.get_all(FORWARDED_FOR).iter().collect();
    let mut client = None;
    for line in lines.into_iter().rev() {
        for text in line.to_str().ok()?.rsplit(',') {
            // Some proxies add the port.
            let text = text.trim();
            let ip: IpAddr =
                text.parse().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip())).ok()?;
            client = Some(ip);
            if !trusted(ip) {
                return client;
            }
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_first_address_from_the_right_that_is_no_trusted_proxy() {
        let trusted = |ip: IpAddr| ip.to_string().starts_with("10.");
        let client = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", HeaderValue::from_static(line));
            }
            client_address(&headers, trusted).map(|ip| ip.to_string())
        };
        assert_eq!(client(&["198.51.100.7"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(client(&["6.6.6.6, 198.51.100.7, 10.0.0.2"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(client(&["6.6.6.6", "198.51.100.7, 10.0.0.2"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(client(&["10.0.0.3, 10.0.0.2"]).as_deref(), Some("10.0.0.3"));
        assert_eq!(client(&["6.6.6.6, nonsense, 10.0.0.2"]), None);
        assert_eq!(client(&["198.51.100.7:4711, 10.0.0.2"]).as_deref(), Some("198.51.100.7"));
        assert_eq!(client(&["[2001:db8::7]:4711"]).as_deref(), Some("2001:db8::7"));
        assert_eq!(client(&[]), None);
    }
}
