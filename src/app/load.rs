//! `narthex load`: measures the maximum request rate of a server.

use super::build::CommandError;
use super::output::{complain, say};
use crate::base::{Duration, Secret};
use crate::load::{self, Claims, ClientCredentials, Issuer, Mix, Plan, TargetOptions, TokenSource};
use clap::Args;
use http::{HeaderName, HeaderValue};
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use url::Url;

/// The environment variable with the secret of `--client-id`. There is no option for it, because
/// command lines are visible to all users of a machine.
const SECRET: &str = "NARTHEX_LOAD_CLIENT_SECRET";

/// Help below the options.
pub const HELP: &str = "\
Requests are sent when they are due, whatever became of those before, and what they took is counted from then: a server \
that stalls cannot hide it. The rate grows by half until less than 97 % is answered in its time or more than 1 % fails, \
and is then narrowed down to 4 %.

Tokens: with --issuer, a folder gets a key and its JWK Set, and the answer to the first try says what the configuration \
of the server must say to trust it; with --client-id, tokens come from --token-endpoint by client_credentials, with the \
secret in NARTHEX_LOAD_CLIENT_SECRET. Without either, requests carry none.

  narthex load --issuer load-issuer --cacert .narthex/ca.pem https://app.localhost:8443/
  narthex load --rate 500 --until 20000 --unseen 5 --bad 1 --report load.html --issuer load-issuer https://127.0.0.1/";

/// Arguments of `narthex load`.
#[derive(Args)]
pub struct Arguments {
    /// The URLs, used in turn; all of one server
    #[arg(required = true, value_name = "URL", value_parser = address)]
    targets: Vec<Url>,
    /// Connects to this address instead of resolving the host name
    #[arg(long, value_name = "ADDRESS:PORT")]
    connect_to: Option<SocketAddr>,
    /// The trusted certificate authorities, in PEM [default: those of the system]
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Uses HTTP/2
    #[arg(long)]
    http2: bool,
    /// A header of every request; may be repeated
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// Number of connections
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Concurrent requests per connection, with --http2
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    streams: u32,
    /// The first rate, in requests per second
    #[arg(long, value_name = "RATE", default_value_t = 100.0, value_parser = rate)]
    rate: f64,
    /// The maximum rate
    #[arg(long, value_name = "RATE", default_value_t = 100_000.0, value_parser = rate)]
    until: f64,
    /// Duration of each rate, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    step_time: f64,
    /// Number of recurring users
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    users: u32,
    /// Percentage of requests with a new user's token
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    unseen: f64,
    /// Percentage of requests with an invalid token
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    bad: f64,
    /// Signs tokens with the key in this folder; generates it if missing
    #[arg(long, value_name = "FOLDER", conflicts_with = "client_id")]
    issuer: Option<PathBuf>,
    /// The `iss` of tokens of --issuer
    #[arg(long, value_name = "URL", default_value = "https://load.invalid")]
    issuer_url: String,
    /// Their `aud`
    #[arg(long, value_name = "NAME", default_value = "load")]
    audience: String,
    /// The scopes of the tokens, separated by spaces
    #[arg(long, value_name = "SCOPES", default_value = "")]
    scope: String,
    /// Obtains the tokens by client_credentials, as this client
    #[arg(long, value_name = "ID", requires = "token_endpoint")]
    client_id: Option<String>,
    /// The token endpoint
    #[arg(long, value_name = "URL", value_parser = address, requires = "client_id")]
    token_endpoint: Option<Url>,
    /// Writes an HTML report with plots
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    /// Allows a server on another machine
    #[arg(long)]
    i_own_this_host: bool,
}

fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err("write it like https://app.example.com/".to_owned()),
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
    let name = name.trim().parse().map_err(|_| format!("`{name}` is no header's name"))?;
    Ok((name, HeaderValue::from_str(value.trim()).map_err(|_| "the value is none of a header".to_owned())?))
}

fn between(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    match (least..=most).contains(&number) {
        true => Ok(number),
        false => Err(format!("it lies between {least} and {most}")),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    between(text, 1.0, 1e6)
}

fn seconds(text: &str) -> Result<f64, String> {
    between(text, 0.5, 3600.0)
}

fn percent(text: &str) -> Result<f64, String> {
    between(text, 0.0, 100.0)
}

/// Runs the load test and prints its results.
///
/// # Errors
/// Returns an error if the test failed, or an invalid token was accepted.
pub async fn load(arguments: Arguments) -> Result<(), CommandError> {
    let (json, file) = (arguments.json, arguments.report.clone());
    let plan = plan(arguments).await?;
    let terminal = std::io::stderr().is_terminal();
    let live = |line: &str, lasts: bool| {
        let mut to = std::io::stderr().lock();
        // A closed terminal must not end the test.
        drop(match (terminal, lasts) {
            (true, false) => write!(to, "\r\x1b[2K{line}").and_then(|()| to.flush()),
            (true, true) => writeln!(to, "\r\x1b[2K{line}"),
            (false, true) => writeln!(to, "{line}"),
            (false, false) => Ok(()),
        });
    };
    let report = load::run(&plan, &live).await.map_err(fatal)?;
    match json {
        true => say!("{}", serde_json::to_string(&report).map_err(fatal)?),
        false => say!("{report}"),
    }
    if let Some(file) = file {
        let written = std::fs::write(&file, report.html().map_err(fatal)?);
        written.map_err(|error| fatal(format!("{}: {error}", file.display())))?;
        complain!("narthex: the plots are in {}", file.display());
    }
    match report.wrongly_accepted() {
        0 => Ok(()),
        passed => Err(CommandError::new(
            "invalid tokens were accepted",
            format!("{passed} requests with invalid tokens were accepted"),
        )),
    }
}

async fn plan(arguments: Arguments) -> Result<Plan, CommandError> {
    let Arguments { targets, connect_to, cacert, http2, header, rate, until, scope, .. } = arguments;
    let reach = TargetOptions { connect_to, cacert, elsewhere: arguments.i_own_this_host };
    let tokens = match (arguments.issuer, arguments.client_id, arguments.token_endpoint) {
        (Some(folder), _, _) => {
            let claims = Claims { issuer: arguments.issuer_url, audience: arguments.audience, scope };
            Some(TokenSource::Issuer(Box::new(Issuer::in_folder(&folder, claims).map_err(fatal)?)))
        }
        (None, Some(id), Some(endpoint)) => {
            let secret = std::env::var(SECRET)
                .map_err(|_| fatal(format!("the client's secret is not in {SECRET}")))?;
            let secret = Secret::new(secret);
            let program = ClientCredentials::new(endpoint, id, secret, scope, &reach);
            Some(TokenSource::ClientCredentials(program.await.map_err(fatal)?))
        }
        _ => None,
    };
    if tokens.is_none() && arguments.unseen + arguments.bad > 0.0 {
        return Err(fatal("--unseen and --bad require tokens; help: add --issuer or --client-id"));
    }
    if arguments.unseen + arguments.bad > 100.0 {
        return Err(fatal("--unseen and --bad exceed 100 % together"));
    }
    Ok(Plan {
        targets,
        target_options: reach,
        http2,
        headers: header,
        connections: arguments.connections as usize,
        streams: arguments.streams as usize,
        rate,
        until: until.max(rate),
        step_time: Duration::from_secs_f64(arguments.step_time),
        tokens,
        users: arguments.users as usize,
        mix: Mix { new_tokens: arguments.unseen, bad: arguments.bad },
    })
}

/// Returns the command error for `why`.
fn fatal(why: impl std::fmt::Display) -> CommandError {
    CommandError::new("no load test", why)
}
