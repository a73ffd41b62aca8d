//! TCP settings of connections to upstreams.

use crate::base::Duration;
use pingora_core::protocols::l4::ext::TcpKeepalive;

/// The timeout for connecting.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The timeout for connecting and the TLS handshake together.
pub const TLS_CONNECT_TIMEOUT: Duration = Duration::from_secs(6);
/// The keepalive settings, which detect dead connections on which both sides may be silent.
pub const TCP_KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(60),
    interval: Duration::from_secs(15),
    count: 4,
    #[cfg(target_os = "linux")]
    user_timeout: Duration::from_secs(120),
};
