//! Upstream clusters, their connections, TLS and liveness.

pub mod cluster;
pub mod connection;
pub mod idle_pool;
pub mod silence;
pub mod tcp;
pub mod tls;
pub mod websocket;
