//! The front door: listeners and TLS, the conductor that takes a request from its first byte to the
//! upstream, and the bridge to the pages. A request's whole way is one function,
//! `conduct` in `proxy.rs`.

mod app_host;
mod bridge;
mod framing;
mod headers;
mod incoming;
mod listener;
pub mod metrics;
mod path;
mod proxy;
mod stop;
mod table;
mod tls;
mod upstream;

pub use listener::{Face, Listener, serve};
pub use proxy::{Gateway, Parts};
pub use tls::{CertificateError, LoadedCertificate, LocalAuthority, TlsStore, hosts_without_certificate};
