//! The PROXY protocol, versions 1 and 2, in which a load balancer names the client of a connection.

use crate::base::Duration;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::{GetSocketDigest as _, SocketDigest};
use ppp::{v1, v2};
use std::net::{IpAddr, SocketAddr as InetAddr};
use std::os::fd::AsRawFd as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The timeout for receiving the header.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum length of a version 1 line in bytes. Section 2.1: "So a 108-byte buffer is always
/// enough to store all the line and a trailing zero".
const MAX_V1_LINE_BYTES: usize = 107;
/// The maximum length in bytes of addresses and extensions in version 2. Section 2.2 allows 64 KB;
/// load balancers send some hundred bytes.
const MAX_V2_BYTES: usize = 2048;
/// The length of version 2's fixed part in bytes.
const V2_FIXED_BYTES: usize = 16;
/// Section 2.2.6: the connection was made over TLS.
const PP2_CLIENT_SSL: u8 = 0x01;
const PP2_TYPE_SSL: u8 = 0x20;

/// The content of a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The client's address; `None` if the load balancer itself made the connection, for a health
    /// check.
    pub client: Option<InetAddr>,
    /// Whether the client connected to the load balancer over TLS.
    pub tls: bool,
}

/// Reads the header with which `stream` must begin, and sets the stream's peer address to the
/// client's. Reads no byte after the header.
///
/// # Errors
/// The reason, if there is no valid header within the timeout.
pub async fn read(stream: &mut Stream) -> Result<ProxyHeader, String> {
    let parsed = match tokio::time::timeout(HEADER_TIMEOUT, read_header(stream)).await {
        Ok(header) => parse(&header.map_err(|error| error.to_string())?)?,
        Err(_) => return Err("the PROXY header did not come in time".to_owned()),
    };
    if let Some(client) = parsed.client {
        let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
        // A new cell is empty.
        drop(digest.peer_addr.set(Some(SocketAddr::Inet(client))));
        stream.set_socket_digest(digest);
    }
    Ok(parsed)
}

/// Reads the bytes of the header with which `stream` begins, and none after it.
///
/// # Errors
/// There is no header, or it is too large.
pub async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut header = vec![0; v2::PROTOCOL_PREFIX.len()];
    stream.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        header.resize(V2_FIXED_BYTES, 0);
        stream.read_exact(&mut header[v2::PROTOCOL_PREFIX.len()..]).await?;
        let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if length > MAX_V2_BYTES {
            return Err(std::io::Error::other("the PROXY header is too large"));
        }
        header.resize(V2_FIXED_BYTES + length, 0);
        stream.read_exact(&mut header[V2_FIXED_BYTES..]).await?;
        return Ok(header);
    }
    while !header.ends_with(b"\r\n") {
        if header.len() >= MAX_V1_LINE_BYTES || !header.starts_with(b"PROXY ") {
            return Err(std::io::Error::other("there is no PROXY header"));
        }
        header.push(stream.read_u8().await?);
    }
    Ok(header)
}

/// Parses a complete header.
///
/// # Errors
/// The header is malformed, or has no internet address.
pub fn parse(header: &[u8]) -> Result<ProxyHeader, String> {
    if header.starts_with(v2::PROTOCOL_PREFIX) {
        let header = v2::Header::try_from(header).map_err(|error| error.to_string())?;
        // Section 2.2: with LOCAL, "the receiver must use the real connection endpoints".
        if header.command == v2::Command::Local {
            return Ok(ProxyHeader { client: None, tls: false });
        }
        let client = match header.addresses {
            v2::Addresses::IPv4(a) => InetAddr::from((IpAddr::V4(a.source_address), a.source_port)),
            v2::Addresses::IPv6(a) => InetAddr::from((IpAddr::V6(a.source_address), a.source_port)),
            _ => return Err("the PROXY header names no internet address".to_owned()),
        };
        let tls = header.tlvs().filter_map(Result::ok).any(|extension| {
            extension.kind == PP2_TYPE_SSL
                && extension.value.first().is_some_and(|client| client & PP2_CLIENT_SSL != 0)
        });
        return Ok(ProxyHeader { client: Some(client), tls });
    }
    let header = v1::Header::try_from(header).map_err(|error| error.to_string())?;
    let client = match header.addresses {
        v1::Addresses::Tcp4(a) => Some(InetAddr::from((IpAddr::V4(a.source_address), a.source_port))),
        v1::Addresses::Tcp6(a) => Some(InetAddr::from((IpAddr::V6(a.source_address), a.source_port))),
        v1::Addresses::Unknown => None,
    };
    Ok(ProxyHeader { client, tls: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, addresses: &[u8], extensions: &[u8]) -> Vec<u8> {
        let mut header = v2::PROTOCOL_PREFIX.to_vec();
        let length = u16::try_from(addresses.len() + extensions.len()).unwrap();
        header.extend([0x20 | command, family]);
        header.extend(length.to_be_bytes());
        header.extend(addresses);
        header.extend(extensions);
        header
    }

    #[test]
    fn both_versions_name_the_client_and_version_2_says_whether_it_spoke_tls() {
        let parsed =
            |header: &[u8]| parse(header).map(|parsed| (parsed.client.map(|c| c.to_string()), parsed.tls));
        let client = |text: &str| Some(text.to_owned());
        assert_eq!(
            parsed(b"PROXY TCP4 192.0.2.7 10.0.0.1 4000 443\r\n"),
            Ok((client("192.0.2.7:4000"), false))
        );
        assert_eq!(
            parsed(b"PROXY TCP6 2001:db8::7 ::1 4000 443\r\n"),
            Ok((client("[2001:db8::7]:4000"), false))
        );
        assert_eq!(parsed(b"PROXY UNKNOWN\r\n"), Ok((None, false)));
        let addresses = [192, 0, 2, 7, 10, 0, 0, 1, 0x0f, 0xa0, 1, 0xbb];
        assert_eq!(parsed(&v2(1, 0x11, &addresses, &[])), Ok((client("192.0.2.7:4000"), false)));
        let ssl = [0x20, 0, 5, 1, 0, 0, 0, 0];
        assert_eq!(parsed(&v2(1, 0x11, &addresses, &ssl)), Ok((client("192.0.2.7:4000"), true)));
        let no_ssl = [0x20, 0, 5, 0, 0, 0, 0, 0];
        assert_eq!(parsed(&v2(1, 0x11, &addresses, &no_ssl)), Ok((client("192.0.2.7:4000"), false)));
        assert_eq!(parsed(&v2(0, 0, &[], &[])), Ok((None, false)));
        for bad in [&b"PROXY TCP4 192.0.2.7\r\n"[..], b"PROXY TCP4 a b 1 2\r\n", &v2(1, 0x31, &[0; 216], &[])]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
