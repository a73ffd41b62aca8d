//! Log lines: text on a terminal, JSON elsewhere. `NARTHEX_LOG` chooses what is told, in the form of
//! `tracing-subscriber`'s filters; `NARTHEX_LOG=info,narthex::request=debug` tells of every request.

use super::log_writer;
use std::io::IsTerminal as _;
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The gateway itself logs failed requests, with the request's id.
const DEFAULT: &str = "info,pingora_load_balancing=error,sqlx=warn,hyper=warn";

/// Begins to log.
pub fn start() {
    let chosen = EnvFilter::try_from_env("NARTHEX_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    // Libraries print whole requests, cookies among them, where they are let: no filter lets them.
    let discreet = filter_fn(|metadata| {
        let target = metadata.target();
        let ours = target.starts_with("narthex") || target == "audit";
        // Their errors contain the bytes that could not be parsed; the gateway logs the kind of error.
        let raw = ["pingora_core", "pingora_pool", "pingora_proxy"]
            .iter()
            .any(|library| target.starts_with(library));
        ours || (!raw && *metadata.level() <= Level::INFO)
    });
    // Where nobody reads the log, there is nobody to report that to.
    let lines = tracing_subscriber::fmt::layer().with_writer(log_writer::stderr).log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(chosen).with(discreet);
    // A second start, in tests, finds the first one's subscriber and leaves it.
    drop(match std::io::stderr().is_terminal() {
        true => registry.with(lines).try_init(),
        false => {
            let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
            registry.with(lines).try_init()
        }
    });
    // The same for libraries that write through `log`, which has no callsites to remember the answer:
    // pingora writes dozens of lines a request that nobody reads.
    log::set_max_level(log::LevelFilter::Info);
}
