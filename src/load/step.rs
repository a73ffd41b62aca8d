//! One rate, for a while: requests at fixed times, whatever became of those before.
//!
//! What each took is counted from when it was to be sent, and not from when a connection was free for it: a server that
//! stalls would otherwise be asked less just then, and its stall be counted once (coordinated omission).

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

/// The longest time that is told apart, in microseconds.
const MAX_LATENCY_MICROS: u64 = 120_000_000;
/// The share of requests by which a rate is judged.
const JUDGED_SHARE: f64 = 0.99;
/// How long a connection is not tried again that has failed.
const RECONNECT_DELAY: Duration = Duration::from_millis(20);

/// The rate of a step, and how long it is kept up.
#[derive(Clone, Copy, Debug)]
pub struct TargetRate {
    /// Requests a second.
    pub rate: f64,
    /// For how long.
    pub time: Duration,
}

impl TargetRate {
    /// How many requests that makes.
    pub fn count(self) -> u64 {
        (self.rate * self.time.as_secs_f64()).round().max(1.0) as u64
    }

    /// All but the few latest of them.
    pub fn judged_count(self) -> u64 {
        (self.count() as f64 * JUDGED_SHARE).ceil() as u64
    }

    /// When the request of this number is to be sent, from the beginning.
    fn due_at(self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }
}

/// What was measured so far.
#[derive(Clone)]
pub struct Measurements {
    /// How long requests took from when they were due, in microseconds.
    pub due: Histogram<u64>,
    /// How long they took from when they were sent.
    pub sent: Histogram<u64>,
    /// Requests that were answered as they must be.
    pub good: u64,
    /// Tokens that are not to be believed, and were: that is worse than any failure.
    pub wrongly_accepted: u64,
    /// What else came, and how often.
    pub failures: BTreeMap<String, u64>,
    /// When the last answer came of all but the few latest, from the beginning: a straggler says nothing of the rate.
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

    /// How many requests came to an end.
    pub fn ended(&self) -> u64 {
        self.good + self.failed()
    }

    /// How many of them failed.
    pub fn failed(&self) -> u64 {
        self.wrongly_accepted + self.failures.values().sum::<u64>()
    }

    fn count(
        &mut self,
        kind: TokenKind,
        answer: Result<StatusCode, LoadError>,
        due: Duration,
        sent: Duration,
    ) {
        // Histograms take what is longer for the longest.
        self.due.saturating_record(micros(due));
        self.sent.saturating_record(micros(sent));
        let failure = match (kind, answer) {
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

/// A step that is under way.
pub struct Step {
    pace: TargetRate,
    started_at: Instant,
    /// As many as are due and nobody has taken.
    due: Semaphore,
    next: AtomicU64,
    tally: Mutex<Measurements>,
}

/// Makes the request of a number.
pub type Requests = dyn Fn(u64) -> (TokenKind, Request<Empty<Bytes>>) + Send + Sync;

impl Step {
    /// A step of this pace.
    ///
    /// # Errors
    /// Where nothing can be measured.
    pub fn new(pace: TargetRate) -> Result<Arc<Self>, LoadError> {
        let (due, next, tally) = (Semaphore::new(0), AtomicU64::new(0), Mutex::new(Measurements::new()?));
        Ok(Arc::new(Self { pace, started_at: Instant::now(), due, next, tally }))
    }

    /// What was measured so far.
    pub fn tally(&self) -> Measurements {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long it has been going on.
    pub fn elapsed(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// Sends all requests over `lines`, so many side by side on each; those that are not answered as long again after the
    /// last was due are given up.
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
        // A thread of its own: the runtime's timers are not exact enough, and the load must not hold it up.
        let ticking = std::thread::spawn(move || clock.tick());
        let all = async { while senders.join_next().await.is_some() {} };
        drop(tokio::time::timeout(2 * self.pace.time + RECONNECT_DELAY, all).await);
        self.due.close();
        drop(ticking.join());
    }

    /// Lets requests go when they are due.
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
            // Not longer than it takes somebody to see that it is over.
            std::thread::sleep(wait.min(Duration::from_millis(50)));
        }
        // Nothing more comes: whoever still waits for some sees that its number is too high.
        self.due.add_permits(Semaphore::MAX_PERMITS >> 2);
    }

    /// Notes what became of a request that took so long once it was sent, and was sent so late.
    fn count(&self, kind: TokenKind, answer: Result<StatusCode, LoadError>, late: Duration, took: Duration) {
        let end = self.started_at.elapsed();
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.count(kind, answer, late + took, took);
        if tally.ended() <= self.pace.judged_count() {
            tally.last = end;
        }
    }

    /// Sends what is due, one after another, as long as there is something.
    async fn send(&self, server: &Server, requests: &Requests, line: &ConnectionSlot) {
        while let Ok(permit) = self.due.acquire().await {
            permit.forget();
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.pace.count() {
                break;
            }
            let (kind, request) = requests(number);
            let sent = Instant::now();
            let answer = match line.take(server).await {
                Ok(mut connection) => {
                    let answer = connection.send(request).await;
                    match &answer {
                        Ok(_) => line.put_back(connection).await,
                        Err(_) => line.give_up().await,
                    }
                    answer
                }
                Err(error) => Err(error),
            };
            let broken = answer.is_err();
            let late = sent.saturating_duration_since(self.started_at + self.pace.due_at(number));
            self.count(kind, answer, late, sent.elapsed());
            if broken {
                tokio::time::sleep(RECONNECT_DELAY).await;
            }
        }
    }
}
