//! Load generator. It measures the latency of requests with tokens at increasing rates, and finds
//! the highest sustained rate.
//!
//! It acts as a client that only knows the server's address.

mod client;
mod page;
mod report;
mod step;
mod tokens;

pub use report::{Report, Row};
pub use tokens::{Claims, ClientCredentials, Issuer, Mix, TokenSource};

pub use client::TargetOptions;

use arc_swap::ArcSwap;
use client::{ConnectionSlot, Server};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use step::{Requests, Step, TargetRate};
use thiserror::Error;
use tokens::TokenKind;
use url::Url;

/// Interval of progress lines.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// Pause between two steps, during which the server recovers.
const REST_BETWEEN_STEPS: Duration = Duration::from_millis(300);
/// Factor by which the rate increases.
const GROWTH: f64 = 1.5;
/// Ratio between the lowest failing and the highest sustained rate at which the search ends.
const SEARCH_PRECISION: f64 = 1.04;
/// Minimum ratio of the achieved to the offered rate for a sustained rate.
const MIN_ON_TIME: f64 = 0.97;
/// Maximum number of new tokens for one step.
const MAX_NEW_TOKENS: f64 = 1e6;
/// Maximum share of failed requests for a sustained rate.
const MAX_FAILURE_RATIO: f64 = 0.01;

/// An error that prevents or aborts a load test.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct LoadError(String);

impl LoadError {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// The configuration of a load test.
pub struct Plan {
    /// The URLs, used in turn. All are on the same server.
    pub targets: Vec<Url>,
    /// How the server is located.
    pub target_options: TargetOptions,
    /// Whether to use HTTP/2.
    pub http2: bool,
    /// Additional headers of each request.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Number of connections.
    pub connections: usize,
    /// Concurrent requests per HTTP/2 connection.
    pub streams: usize,
    /// The first rate, in requests per second.
    pub rate: f64,
    /// The maximum rate, in requests per second.
    pub until: f64,
    /// Duration of the step at each rate.
    pub step_time: Duration,
    /// The source of tokens; `None` for requests without tokens.
    pub tokens: Option<TokenSource>,
    /// Number of recurring users.
    pub users: usize,
    /// The shares of the kinds of token.
    pub mix: Mix,
}

/// A callback for progress lines: the line, and whether it is the last of its rate.
pub type Progress<'a> = dyn Fn(&str, bool) + Sync + 'a;

/// The tokens for requests.
struct Tokens {
    known: ArcSwap<Vec<HeaderValue>>,
    /// The earliest expiry of the known tokens.
    end: Instant,
    bad: Vec<HeaderValue>,
}

/// Runs `plan`. `live` receives the progress lines.
///
/// # Errors
/// Returns an error if the server must not be loaded, is unreachable, or rejects the first tokens.
pub async fn run(plan: &Plan, live: &Progress<'_>) -> Result<Report, LoadError> {
    let first = plan.targets.first().ok_or_else(|| LoadError::new("there is no target"))?;
    let origin = |url: &Url| (url.scheme().to_owned(), url.port_or_known_default());
    if plan.targets.iter().any(|target| origin(target) != origin(first)) {
        return Err(LoadError::new("the addresses are of several servers; help: load one after the other"));
    }
    let unseen = plan.until * plan.step_time.as_secs_f64() * plan.mix.new_tokens / 100.0;
    if unseen > MAX_NEW_TOKENS {
        return Err(LoadError::new(format!(
            "{} requests a second would bring {unseen:.0} tokens that were never seen, and {MAX_NEW_TOKENS:.0} are made \
             beforehand at most\n  help: lower --unseen, --until or --step-time",
            plan.until
        )));
    }
    let server = Arc::new(Server::find(first, &plan.target_options, plan.http2).await?);
    let tokens = match &plan.tokens {
        Some(source) => Some(Tokens::get(source, plan.users).await?),
        None => None,
    };
    let tokens = Arc::new(tokens);
    warm_up(plan, &server, &tokens).await?;
    tokio::select! {
        report = search_rate(plan, &server, &tokens, live) => report,
        never = keep_fresh(plan, &tokens) => match never {},
    }
}

/// Searches for the highest sustained rate.
async fn search_rate(
    plan: &Plan,
    server: &Arc<Server>,
    tokens: &Arc<Option<Tokens>>,
    live: &Progress<'_>,
) -> Result<Report, LoadError> {
    let lines: Vec<Arc<ConnectionSlot>> = (0..plan.connections).map(|_| Arc::default()).collect();
    let mut report = Report::new(plan, server.address());
    let (mut rate, mut sustained, mut too_high) = (plan.rate, None::<f64>, None::<f64>);
    loop {
        let pace = TargetRate { rate, time: plan.step_time };
        let ready = async {
            let requests = requests(plan, tokens, pace).await?;
            for line in &lines {
                line.put_back(line.take(server).await?).await;
            }
            Ok(requests)
        };
        let requests = match ready.await {
            Ok(requests) => requests,
            Err(error) if report.rows.is_empty() => return Err(error),
            // The server may have failed at the last rate, so the results so far are reported.
            Err(error) => {
                report.ended = Some(error.to_string());
                break;
            }
        };
        let row = step(plan, server, &requests, &lines, pace, live).await?;
        match row.sustained {
            true => sustained = Some(rate),
            false => too_high = Some(rate),
        }
        let is_open = row.wrongly_accepted > 0;
        report.rows.push(row);
        if is_open {
            // Latency is irrelevant if an invalid token was accepted.
            break;
        }
        rate = match (sustained, too_high) {
            (Some(sustained), None) if sustained >= plan.until => break,
            (Some(sustained), None) => (sustained * GROWTH).min(plan.until),
            (Some(sustained), Some(high)) if high / sustained <= SEARCH_PRECISION => break,
            (Some(sustained), Some(high)) => (sustained * high).sqrt(),
            // The first rate was too high, so lower rates are tried.
            (None, Some(high)) if high <= 1.0 => break,
            (None, _) => rate / 4.0,
        };
        tokio::time::sleep(REST_BETWEEN_STEPS).await;
    }
    report.finish();
    Ok(report)
}

impl Tokens {
    async fn get(source: &TokenSource, users: usize) -> Result<Self, LoadError> {
        let (known, end) = source.tokens(users.max(1)).await?;
        Ok(Self { known: ArcSwap::from_pointee(known), end, bad: source.bad().await? })
    }
}

/// Renews the known tokens before they expire. Never returns.
async fn keep_fresh(plan: &Plan, tokens: &Option<Tokens>) -> Infallible {
    let (Some(source), Some(tokens)) = (&plan.tokens, tokens) else { return std::future::pending().await };
    let mut end = tokens.end;
    loop {
        // If renewals keep failing, the failed requests show it.
        let wait = end.saturating_duration_since(Instant::now()) / 2;
        tokio::time::sleep(wait.max(REST_BETWEEN_STEPS)).await;
        if let Ok((known, until)) = source.tokens(plan.users.max(1)).await {
            tokens.known.store(Arc::new(known));
            end = until;
        }
    }
}

/// Sends every known token twice, because caches may admit only repeated tokens. Returns an error
/// for a rejected token, because all further requests with it would fail too.
async fn warm_up(plan: &Plan, server: &Server, tokens: &Option<Tokens>) -> Result<(), LoadError> {
    let known = tokens.as_ref().map_or_else(Arc::default, |tokens| tokens.known.load_full());
    let line = ConnectionSlot::default();
    for number in 0..(2 * known.len()).max(plan.targets.len()) {
        let mut request = client::request(&plan.targets[number % plan.targets.len()], plan.http2)?;
        for (name, value) in &plan.headers {
            request.headers_mut().insert(name, value.clone());
        }
        if !known.is_empty() {
            request.headers_mut().insert(AUTHORIZATION, known[number % known.len()].clone());
        }
        let mut connection = line.take(server).await?;
        let status = connection.send(request).await?;
        line.put_back(connection).await;
        if status.is_success() {
            continue;
        }
        let help = match &plan.tokens {
            Some(TokenSource::Issuer(issuer)) => format!(
                "\n  help: the file of the Narthex under test trusts these tokens once it says\n\n{}\n  \
                 and its route says bearer = true",
                issuer.configuration()
            ),
            _ => String::new(),
        };
        let target = &plan.targets[number % plan.targets.len()];
        return Err(LoadError::new(format!("{target} answered {status} before the load test{help}")));
    }
    Ok(())
}

/// Returns the function that creates the requests of a step. New tokens are obtained before the
/// step begins.
async fn requests(
    plan: &Plan,
    tokens: &Arc<Option<Tokens>>,
    pace: TargetRate,
) -> Result<Arc<Requests>, LoadError> {
    let (mix, count) = (plan.mix, pace.count());
    let unseen = match &plan.tokens {
        Some(source) => {
            let count = (0..count).filter(|number| mix.kind(*number) == TokenKind::New).count();
            let (all, end) = source.tokens(count).await?;
            let left = end.saturating_duration_since(Instant::now());
            // Some requests are sent up to one step time after the scheduled end of the step.
            if count > 0 && left < 2 * pace.time {
                return Err(LoadError::new(format!(
                    "tokens count for {} s more, and those that were never seen are got before a step\n  help: a \
                     --step-time of half as long at most",
                    left.as_secs()
                )));
            }
            all
        }
        None => Vec::new(),
    };
    let mut plain = Vec::new();
    for target in &plan.targets {
        let mut request = client::request(target, plan.http2)?;
        for (name, value) in &plan.headers {
            request.headers_mut().insert(name, value.clone());
        }
        plain.push(request);
    }
    let (tokens, next) = (tokens.clone(), std::sync::atomic::AtomicUsize::new(0));
    Ok(Arc::new(move |number| {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        let mut request = plain[place % plain.len()].clone();
        let Some(tokens) = &*tokens else { return (TokenKind::Known, request) };
        let kind = mix.kind(number);
        let known = tokens.known.load();
        let token = match kind {
            TokenKind::Known => &known[place % known.len()],
            TokenKind::Invalid => &tokens.bad[place % tokens.bad.len()],
            TokenKind::New => {
                // There are as many as were obtained above.
                &unseen[next.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % unseen.len()]
            }
        };
        request.headers_mut().insert(AUTHORIZATION, token.clone());
        (kind, request)
    }))
}

/// Runs one step and reports its progress.
async fn step(
    plan: &Plan,
    server: &Arc<Server>,
    requests: &Arc<Requests>,
    lines: &[Arc<ConnectionSlot>],
    pace: TargetRate,
    live: &Progress<'_>,
) -> Result<Row, LoadError> {
    let step = Step::new(pace)?;
    let telling = async {
        let mut before = (0, Duration::ZERO);
        loop {
            tokio::time::sleep(PROGRESS_INTERVAL).await;
            let (tally, now) = (step.tally(), step.elapsed());
            let seconds = (now - before.1).as_secs_f64();
            live(&report::live_line(pace.rate, &tally, (tally.ended() - before.0) as f64 / seconds), false);
            before = (tally.ended(), now);
        }
    };
    // An HTTP/1.1 connection handles one request at a time.
    let streams = if plan.http2 { plan.streams } else { 1 };
    tokio::select! {
        () = step.run(server, requests, lines, streams) => {}
        never = telling => never,
    }
    let row = Row::of(pace, &step.tally());
    live(&row.line(), true);
    Ok(row)
}

impl Row {
    /// Returns whether the server responded correctly and on time to nearly all requests.
    fn is_sustained(offered: f64, achieved: f64, failed: f64) -> bool {
        achieved >= MIN_ON_TIME * offered && failed <= MAX_FAILURE_RATIO
    }
}
