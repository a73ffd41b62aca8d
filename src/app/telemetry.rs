//! Logging: text on a terminal, JSON otherwise. `NARTHEX_LOG` is a `tracing-subscriber` filter;
//! `NARTHEX_LOG=info,narthex::request=debug` logs every request.

use super::log_writer;
use std::io::IsTerminal as _;
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The gateway logs failed requests itself, with the request id.
const DEFAULT: &str = "info,pingora_load_balancing=error,sqlx=warn,hyper=warn";

/// Initializes logging.
pub fn start() {
    let chosen = EnvFilter::try_from_env("NARTHEX_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    // Some libraries can log whole requests with cookies: no filter may enable that.
    let discreet = filter_fn(|metadata| {
        let target = metadata.target();
        let ours = target.starts_with("narthex") || target == "audit";
        // Their errors contain unparsed bytes; the gateway logs the kind of error.
        let raw = ["pingora_core", "pingora_pool", "pingora_proxy"]
            .iter()
            .any(|library| target.starts_with(library));
        ours || (!raw && *metadata.level() <= Level::INFO)
    });
    // If standard error is closed, logging errors cannot be reported.
    let lines = tracing_subscriber::fmt::layer().with_writer(log_writer::stderr).log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(chosen).with(discreet);
    // A second initialization, in tests, keeps the first subscriber.
    drop(match std::io::stderr().is_terminal() {
        true => registry.with(lines).try_init(),
        false => {
            let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
            registry.with(lines).try_init()
        }
    });
    // The same limit for libraries that use `log`, which does not cache filter decisions. pingora
    // would log dozens of lines per request at lower levels.
    log::set_max_level(log::LevelFilter::Info);
}
