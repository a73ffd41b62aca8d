//! Log lines: text on a terminal, JSON elsewhere. `NARTHEX_LOG` chooses what is told, in the form of
//! `tracing-subscriber`'s filters; `NARTHEX_LOG=info,narthex::request=debug` tells of every request.

use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

///
/// What pingora calls errors of its connections is mostly browsers that went away; what failed of a
/// request is told by the gateway, with the request's id.
const DEFAULT: &str = "info,pingora_core=error,pingora_core::apps=off,pingora_proxy=off,pingora_load_balancing=error,sqlx=warn,hyper=warn";

/// Begins to log.
pub fn start() {
    let filter = EnvFilter::try_from_env("NARTHEX_LOG").unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, in tests, finds the first one's subscriber and leaves it.
    drop(match std::io::stderr().is_terminal() {
        true => builder.try_init(),
        false => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    });
}
