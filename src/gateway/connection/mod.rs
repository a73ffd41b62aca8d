//! A client's connection: limits, PROXY protocol, TLS and buffering.

pub mod buffered;
mod info;
pub mod limits;
pub mod proxy_protocol;
pub mod request_limits;
pub mod tls;

pub use info::*;
