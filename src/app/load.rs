//! `narthex load`: what a server bears on its token path.

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

/// From where the secret of `--client-id` is read: a command line is seen by all who are on the machine.
const SECRET: &str = "NARTHEX_LOAD_CLIENT_SECRET";

/// What stands under the options.
pub const HELP: &str = "\
Requests are sent when they are due, whatever became of those before, and what they took is counted from then: a server \
that stalls cannot hide it. The rate grows by half until less than 97 % is answered in its time or more than 1 % fails, \
and is then narrowed down to 4 %.

Tokens: with --issuer, a folder gets a key and its JWK Set, and the answer to the first try says what the configuration \
of the server must say to trust it; with --client-id, tokens come from --token-endpoint by client_credentials, with the \
secret in NARTHEX_LOAD_CLIENT_SECRET. Without either, requests carry none.

  narthex load --issuer load-issuer --cacert .narthex/ca.pem https://app.localhost:8443/
  narthex load --rate 500 --until 20000 --unseen 5 --bad 1 --report load.html --issuer load-issuer https://127.0.0.1/";

/// What is loaded, and how.
#[derive(Args)]
pub struct Arguments {
    /// The addresses, in turn; all of one server
    #[arg(required = true, value_name = "URL", value_parser = address)]
    targets: Vec<Url>,
    /// Where the server is, if not where its name says
    #[arg(long, value_name = "ADDRESS:PORT")]
    connect_to: Option<SocketAddr>,
    /// The authorities that its certificate is judged by, in PEM [default: those of this machine]
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// Speaks HTTP/2
    #[arg(long)]
    http2: bool,
    /// A header of every request; several times, if need be
    #[arg(long, short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// How many connections
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// How many requests each carries side by side, with --http2
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    streams: u32,
    /// The first rate, in requests a second
    #[arg(long, value_name = "RATE", default_value_t = 100.0, value_parser = rate)]
    rate: f64,
    /// The highest
    #[arg(long, value_name = "RATE", default_value_t = 100_000.0, value_parser = rate)]
    until: f64,
    /// How long each rate is kept up, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    step_time: f64,
    /// How many people come again and again
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    users: u32,
    /// How many in a hundred requests bring a token that was never seen
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    unseen: f64,
    /// How many in a hundred bring one that must not open anything
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    bad: f64,
    /// Signs the tokens with the key in this folder, made where there is none
    #[arg(long, value_name = "FOLDER", conflicts_with = "client_id")]
    issuer: Option<PathBuf>,
    /// What the tokens of --issuer say is their `iss`
    #[arg(long, value_name = "URL", default_value = "https://load.invalid")]
    issuer_url: String,
    /// What they say is their `aud`
    #[arg(long, value_name = "NAME", default_value = "load")]
    audience: String,
    /// The scopes of the tokens, with spaces between
    #[arg(long, value_name = "SCOPES", default_value = "")]
    scope: String,
    /// Gets the tokens by client_credentials, as this client
    #[arg(long, value_name = "ID", requires = "token_endpoint")]
    client_id: Option<String>,
    /// Where it gets them
    #[arg(long, value_name = "URL", value_parser = address, requires = "client_id")]
    token_endpoint: Option<Url>,
    /// Writes a page with plots
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Tells what came of it as JSON
    #[arg(long)]
    json: bool,
    /// Loads what is not on this machine, too
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

/// Loads what `arguments` say, and tells what came of it.
///
/// # Errors
/// Where there was no load, or a token passed that must open nothing.
pub async fn load(arguments: Arguments) -> Result<(), CommandError> {
    let (json, file) = (arguments.json, arguments.report.clone());
    let plan = plan(arguments).await?;
    let terminal = std::io::stderr().is_terminal();
    let live = |line: &str, lasts: bool| {
        let mut to = std::io::stderr().lock();
        // Whoever does not listen any more misses nothing else.
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
            "this is no door",
            format!("{passed} requests passed with tokens that must open nothing"),
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
        return Err(fatal(
            "--unseen and --bad are about tokens: say where they come from, by --issuer or --client-id",
        ));
    }
    if arguments.unseen + arguments.bad > 100.0 {
        return Err(fatal("--unseen and --bad are more than all requests together"));
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

/// As whatever keeps a command from doing its work is told.
fn fatal(why: impl std::fmt::Display) -> CommandError {
    CommandError::new("no load test", why)
}
