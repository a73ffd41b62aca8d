//! One step of a load test. Requests are sent at scheduled times, regardless of earlier responses.
//!
//! Latency is measured from the scheduled time, not from the time when a connection was free.
//! Otherwise a stalled server would receive fewer requests, and its stall would count only once
//! (coordinated omission).

use super::LoadError;
use super::client::{ConnectionSlot, Server};
use super::tokens::TokenKind;
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, StatusCode};
use http_body_util::Empty;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Maximum recorded latency, in microseconds.
const MAX_LATENCY_MICROS: u64 = 120_000_000;
/// The share of requests, in the order of their completion, that determines a step's duration.
const JUDGED_SHARE: f64 = 0.99;
/// Delay before a failed connection is replaced.
const RECONNECT_DELAY: Duration = Duration::from_millis(20);

/// The rate and the duration of a step.
#[derive(Clone, Copy, Debug)]
pub struct TargetRate {
    /// Requests per second.
    pub rate: f64,
    /// The scheduled duration.
    pub time: Duration,
}

impl TargetRate {
    /// Returns the number of requests in the step.
    pub fn count(self) -> u64 {
        (self.rate * self.time.as_secs_f64()).round().max(1.0) as u64
    }

    /// Returns the number of requests except the last few, whose completion is not considered for
    /// the rate.
    pub fn judged_count(self) -> u64 {
        (self.count() as f64 * JUDGED_SHARE).ceil() as u64
    }

    /// Returns the scheduled time of a request, as the time since the start.
    fn due_at(self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }
}

/// The measurements of a step.
#[derive(Clone)]
pub struct Measurements {
    /// Latencies from the scheduled time, in microseconds.
    pub due: Histogram<u64>,
    /// Latencies from the time of sending, in microseconds.
    pub sent: Histogram<u64>,
    /// Number of correct responses.
    pub good: u64,
    /// Number of invalid tokens that were accepted, which is a security failure.
    pub wrongly_accepted: u64,
    /// The kinds of failures, with their counts.
    pub failures: BTreeMap<String, u64>,
    /// Time from the start to the last response, without the last few. Single late responses must
    /// not affect the measured rate.
    pub last: Duration,
}

impl Measurements {
    fn new() -> Result<Self, LoadError> {
        let histogram = || {
            Histogram::new_with_bounds(1, MAX_LATENCY_MICROS, 3)
                .map_err(|error| LoadError::new(error.to_string()))
        };
        let (due, sent) = (histogram()?, histogram()?);
        Ok(Self { due, sent, good: 0, wrongly_accepted: 0, failures: BTreeMap::new(), last: Duration::ZERO })
    }

    /// Returns the number of finished requests.
    pub fn ended(&self) -> u64 {
        self.good + self.failed()
    }

    /// Returns the number of failed requests.
    pub fn failed(&self) -> u64 {
        self.wrongly_accepted + self.failures.values().sum::<u64>()
    }

    fn count(
        &mut self,
        kind: TokenKind,
        response: Result<StatusCode, LoadError>,
        due: Duration,
        sent: Duration,
    ) {
        // Histograms clamp longer latencies.
        self.due.saturating_record(micros(due));
        self.sent.saturating_record(micros(sent));
        let failure = match (kind, response) {
            (TokenKind::Invalid, Ok(StatusCode::UNAUTHORIZED)) => None,
            (TokenKind::Invalid, Ok(status)) if !status.is_client_error() && !status.is_server_error() => {
                self.wrongly_accepted += 1;
                return;
            }
            (TokenKind::Known | TokenKind::New, Ok(status)) if status.is_success() => None,
            (_, Ok(status)) => Some(format!("answered {}", status.as_u16())),
            (_, Err(error)) => Some(error.to_string()),
        };
        match failure {
            None => self.good += 1,
            Some(failure) => *self.failures.entry(failure).or_default() += 1,
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A running step.
pub struct Step {
    pace: TargetRate,
    started_at: Instant,
    /// One permit for each request that is due and not yet claimed by a sender.
    due: Semaphore,
    next: AtomicU64,
    tally: Mutex<Measurements>,
}

/// The function that creates the request with a given number.
pub type Requests = dyn Fn(u64) -> (TokenKind, Request<Empty<Bytes>>) + Send + Sync;

impl Step {
    /// Creates a step.
    ///
    /// # Errors
    /// Returns an error if the histograms cannot be created.
    pub fn new(pace: TargetRate) -> Result<Arc<Self>, LoadError> {
        let (due, next, tally) = (Semaphore::new(0), AtomicU64::new(0), Mutex::new(Measurements::new()?));
        Ok(Arc::new(Self { pace, started_at: Instant::now(), due, next, tally }))
    }

    /// Returns the measurements so far.
    pub fn tally(&self) -> Measurements {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// Sends all requests over `lines`, with `streams` concurrent requests on each. Abandons
    /// requests that are not answered within one step time after the last one was due.
    pub async fn run(
        self: &Arc<Self>,
        server: &Arc<Server>,
        requests: &Arc<Requests>,
        lines: &[Arc<ConnectionSlot>],
        streams: usize,
    ) {
        let mut senders = JoinSet::new();
        for line in lines.iter().flat_map(|line| std::iter::repeat_n(line, streams)) {
            let (step, server, requests, line) =
                (self.clone(), server.clone(), requests.clone(), line.clone());
            senders.spawn(async move { step.send(&server, &*requests, &line).await });
        }
        let clock = self.clone();
        // A separate thread is used, because the runtime's timers are too coarse, and the load
        // would delay them.
        let ticking = std::thread::spawn(move || clock.tick());
        let all = async { while senders.join_next().await.is_some() {} };
        drop(tokio::time::timeout(2 * self.pace.time + RECONNECT_DELAY, all).await);
        self.due.close();
        drop(ticking.join());
    }

    /// Releases requests when they are due.
    fn tick(&self) {
        let count = self.pace.count();
        let mut given = 0;
        while given < count && !self.due.is_closed() {
            let due = (self.started_at.elapsed().as_secs_f64() * self.pace.rate).floor() as u64 + 1;
            let due = due.min(count);
            if due > given {
                self.due.add_permits(usize::try_from(due - given).unwrap_or(usize::MAX >> 3));
                given = due;
            }
            let wait = self.pace.due_at(given).saturating_sub(self.started_at.elapsed());
            // The sleep is limited, so that the end of the step is noticed soon.
            std::thread::sleep(wait.min(Duration::from_millis(50)));
        }
        // This wakes the remaining senders, which find no request for their number.
        self.due.add_permits(Semaphore::MAX_PERMITS >> 2);
    }

    /// Records the outcome of a request: `late` is the delay of its sending, `took` the time to its
    /// response.
    fn count(
        &self,
        kind: TokenKind,
        response: Result<StatusCode, LoadError>,
        late: Duration,
        took: Duration,
    ) {
        let end = self.started_at.elapsed();
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.count(kind, response, late + took, took);
        if tally.ended() <= self.pace.judged_count() {
            tally.last = end;
        }
    }

    /// Sends due requests one after another, until none is left.
    async fn send(&self, server: &Server, requests: &Requests, line: &ConnectionSlot) {
        while let Ok(permit) = self.due.acquire().await {
            permit.forget();
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.pace.count() {
                break;
            }
            let (kind, request) = requests(number);
            let sent = Instant::now();
            let response = match line.take(server).await {
                Ok(mut connection) => {
                    let response = connection.send(request).await;
                    match &response {
                        Ok(_) => line.put_back(connection).await,
                        Err(_) => line.give_up().await,
                    }
                    response
                }
                Err(error) => Err(error),
            };
            let broken = response.is_err();
            let late = sent.saturating_duration_since(self.started_at + self.pace.due_at(number));
            self.count(kind, response, late, sent.elapsed());
            if broken {
                tokio::time::sleep(RECONNECT_DELAY).await;
            }
        }
    }
}
