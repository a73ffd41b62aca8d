//! The front door: listeners and TLS, the conductor that takes a request from its first byte to the
//! upstream, and the bridge to the pages. A request's whole way is one function,
//! `conduct` in `proxy.rs`.

mod access_log;
mod admission;
mod app_host;
mod bridge;
mod buffered;
mod chunks;
mod connection;
mod core;
mod cors;
mod direct;
mod errors;
mod forward;
mod forward_auth;
mod framing;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod headers;
mod idle;
mod incoming;
mod judge;
mod landings;
mod lenient;
mod listed;
mod listener;
mod message;
pub mod metrics;
mod outer;
mod outward;
mod path;
mod patient;
mod proxy;
mod proxy_protocol;
mod refusal;
mod route_metrics;
mod silence;
mod stop;
mod streams;
mod strict_stream;
mod table;
mod tls;
mod under_policy;
mod upstream;
mod upstream_connection;
mod upstream_tls;
mod userinfo;
mod watch;

pub use access_log::AccessLog;
pub use core::{Gateway, Parts};
pub use incoming::Face;
pub use listener::{Ending, Listener, serve};
pub use path::{BadPath, Path};
pub use table::locate;
pub use tls::{
    CertificateError, Certificates, LoadedCertificate, LocalAuthority, TlsStore, hosts_without_certificate,
};
pub use under_policy::Resources;
pub use upstream_tls::unusable_upstream_files;
