//! TCP settings of connections to upstreams.

use crate::base::Duration;
use pingora_core::protocols::l4::ext::TcpKeepalive;

/// How long connecting may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The same, with the TLS handshake.
pub const TLS_CONNECT_TIMEOUT: Duration = Duration::from_secs(6);
/// How a connection is found dead on which both sides may be silent.
pub const TCP_KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(60),
    interval: Duration::from_secs(15),
    count: 4,
    #[cfg(target_os = "linux")]
    user_timeout: Duration::from_secs(120),
};
