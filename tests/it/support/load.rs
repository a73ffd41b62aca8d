//! A steady stream of requests, and their results.

use super::visitor::Visitor;
use reqwest::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Requests that are being sent until [`Load::stop`].
pub struct Load {
    stop: Arc<AtomicBool>,
    begun: Instant,
    senders: JoinSet<Outcome>,
}

/// The results of the requests.
#[derive(Debug, Default)]
pub struct Outcome {
    pub good: usize,
    /// The good ones a second.
    pub rate: f64,
    /// Whatever was not 200, or no answer at all.
    pub bad: Vec<String>,
    /// How long the good ones took, in order once all are gathered.
    pub took: Vec<Duration>,
}

impl Outcome {
    /// The time within which this share of the good ones was answered.
    pub fn percentile(&self, share: f64) -> Duration {
        let at = (self.took.len() as f64 * share) as usize;
        self.took[at.min(self.took.len() - 1)]
    }
}

impl Load {
    /// Each of `visitors` asks for `url`, so often that all together do so `rate` times a second.
    pub fn start(visitors: Vec<Visitor>, url: &str, rate: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let period = Duration::from_secs_f64(visitors.len() as f64 / rate as f64);
        let mut senders = JoinSet::new();
        for (number, visitor) in visitors.into_iter().enumerate() {
            let (stop, url) = (stop.clone(), url.to_owned());
            let offset = period.mul_f64(number as f64 / 7.0).min(period);
            senders.spawn(async move {
                let mut outcome = Outcome::default();
                let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + offset, period);
                while !stop.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    let begun = Instant::now();
                    match visitor.client.request(Method::GET, &url).send().await {
                        Ok(answer) if answer.status() == 200 => match answer.bytes().await {
                            Ok(_) => {
                                outcome.good += 1;
                                outcome.took.push(begun.elapsed());
                            }
                            Err(error) => outcome.bad.push(format!("{error:?}")),
                        },
                        Ok(answer) => outcome.bad.push(answer.status().to_string()),
                        Err(error) => outcome.bad.push(format!("{error:?}")),
                    }
                }
                outcome
            });
        }
        Self { stop, begun: Instant::now(), senders }
    }

    /// Ends it.
    pub async fn stop(mut self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Outcome::default();
        while let Some(outcome) = self.senders.join_next().await {
            let outcome = outcome.unwrap();
            all.good += outcome.good;
            all.bad.extend(outcome.bad);
            all.took.extend(outcome.took);
        }
        all.took.sort_unstable();
        all.rate = all.good as f64 / self.begun.elapsed().as_secs_f64();
        all
    }
}
