//! HTTP listeners, TLS, routing and proxying. `handle_request` in `proxy.rs` contains all steps of
//! a request in order.
//!
//! The modules from top to bottom. Each module imports only modules below it; `tests/layers.rs`
//! checks this.
//!
//! | Module | Content |
//! |---|---|
//! | `listener` | the accept loop, and the check of HTTP/1.1 messages in front of the parser |
//! | `proxy` | the steps of a request in order, and pingora's filters |
//! | `forward` | sending an authorized request to its upstream |
//! | `authorize` | route matching, authentication and policy evaluation; forward-auth |
//! | `builtin` | the gateway's own endpoints, and the user pool's endpoints in process |
//! | `state` | the gateway, its routes, long-lived requests |
//! | `access_log` | the access log |
//! | `request` | the parsed request and the local response |
//! | `upstream` | upstream clusters and their connections |
//! | `connection` | a client's connection: limits, PROXY protocol, TLS, buffering |
//! | `framing` | HTTP/1.1 message framing |
//! | `metrics`, `errors` | counters; the formatting of pingora's errors |

mod access_log;
mod authorize;
mod builtin;
mod connection;
mod errors;
mod forward;
mod framing;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod listener;
pub mod metrics;
mod proxy;
mod request;
mod state;
mod upstream;

pub use access_log::AccessLog;
pub use authorize::policy_rule::Resources;
pub use connection::tls::{
    CertificateError, Certificates, LoadedCertificate, LocalAuthority, TlsStore, hosts_without_certificate,
};
pub use listener::accept::{Listener, MAX_IDLE_FILES, Shutdown, serve};
pub use request::ListenerKind;
pub use request::path::{BadPath, Path};
pub use state::gateway::{Gateway, GatewayDeps};
pub use state::routes::locate;
pub use upstream::tls::unusable_upstream_files;
