//! Results of a load test, as progress lines, as a table and as JSON.

use super::Plan;
use super::step::{Measurements, TargetRate};
use serde::Serialize;
use std::fmt;
use std::net::SocketAddr;

/// The results of one rate. Latencies are in microseconds, counted from the scheduled time of a
/// request.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Scheduled requests per second.
    pub offered: f64,
    /// Responses per second.
    pub achieved: f64,
    /// Number of correct responses.
    pub good: u64,
    /// Number of invalid tokens that were accepted.
    pub wrongly_accepted: u64,
    /// The share of requests that failed.
    pub failed: f64,
    /// The kinds of failures, with their counts.
    pub failures: Vec<(String, u64)>,
    /// Median latency.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Maximum latency.
    pub max: u64,
    /// 99th percentile of the latencies counted from the time of sending. A client that waits for
    /// each response before its next request observes these latencies.
    pub p99_sent: u64,
    /// Whether the rate was sustained.
    pub sustained: bool,
}

/// The results of a load test.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The URLs under load.
    pub targets: Vec<String>,
    /// The server's socket address.
    pub address: SocketAddr,
    /// A description of the load.
    pub how: String,
    /// The results of each rate, in the order of execution.
    pub rows: Vec<Row>,
    /// The highest achieved rate of the sustained ones; `None` if no rate was sustained.
    pub knee: Option<f64>,
    /// Whether some rate was not sustained.
    pub found: bool,
    /// The error that ended the test early, if there was one.
    pub ended: Option<String>,
}

impl Row {
    /// Computes the results of a step at `pace`.
    pub(super) fn of(pace: TargetRate, tally: &Measurements) -> Self {
        let (offered, count) = (pace.rate, pace.count());
        let lost = count - tally.ended();
        let most = tally.ended().min(pace.judged_count()) as f64;
        let achieved = if most > 0.0 { most / tally.last.as_secs_f64().max(most / offered) } else { 0.0 };
        // Abandoned requests had waited for at least this long.
        let (mut times, waited) =
            (tally.due.clone(), u64::try_from(pace.time.as_micros()).unwrap_or(u64::MAX));
        if lost > 0 {
            times.saturating_record_n(waited, lost);
        }
        let failed = (tally.failed() + lost) as f64 / count as f64;
        let mut failures: Vec<(String, u64)> =
            tally.failures.iter().map(|(what, count)| (what.clone(), *count)).collect();
        if lost > 0 {
            failures.push(("given up".to_owned(), lost));
        }
        let due = |quantile| times.value_at_quantile(quantile);
        Self {
            offered,
            achieved,
            good: tally.good,
            wrongly_accepted: tally.wrongly_accepted,
            failed,
            failures,
            p50: due(0.5),
            p90: due(0.9),
            p99: due(0.99),
            p999: due(0.999),
            max: times.max(),
            p99_sent: tally.sent.value_at_quantile(0.99),
            sustained: Self::is_sustained(offered, achieved, failed),
        }
    }

    /// Formats the results as a line.
    pub(super) fn line(&self) -> String {
        format!(
            "{:>8.0}/s  answered {:>8.0}/s  p50 {:>8}  p99 {:>8}  p99.9 {:>8}  failed {:>5.2} %  {}",
            self.offered,
            self.achieved,
            time(self.p50),
            time(self.p99),
            time(self.p999),
            self.failed * 100.0,
            if self.sustained { "sustained" } else { "too high" }
        )
    }
}

/// Formats the intermediate results of a step as a line.
pub(super) fn live_line(rate: f64, tally: &Measurements, now: f64) -> String {
    let due = |quantile| time(tally.due.value_at_quantile(quantile));
    format!(
        "{rate:>8.0}/s  now      {now:>8.0}/s  p50 {:>8}  p99 {:>8}  p99.9 {:>8}  failed {}",
        due(0.5),
        due(0.99),
        due(0.999),
        tally.failed()
    )
}

impl Report {
    pub(super) fn new(plan: &Plan, address: SocketAddr) -> Self {
        let version = if plan.http2 { "HTTP/2" } else { "HTTP/1.1" };
        let streams = if plan.http2 { format!(" of {} streams each", plan.streams) } else { String::new() };
        let tokens = match &plan.tokens {
            Some(_) => format!(
                "tokens of {} users, {} % new, {} % invalid",
                plan.users, plan.mix.new_tokens, plan.mix.bad
            ),
            None => "no tokens".to_owned(),
        };
        let how = format!(
            "{version}, {} connections{streams}, {} s a rate; {tokens}",
            plan.connections,
            plan.step_time.as_secs_f64()
        );
        let targets = plan.targets.iter().map(ToString::to_string).collect();
        Self { targets, address, how, rows: Vec::new(), knee: None, found: false, ended: None }
    }

    /// Computes the results over all rates.
    pub(super) fn finish(&mut self) {
        let sustained = self.rows.iter().filter(|row| row.sustained).map(|row| row.achieved);
        self.knee = sustained.reduce(f64::max);
        self.found = self.rows.iter().any(|row| !row.sustained);
    }

    /// Returns the number of invalid tokens that were accepted.
    pub fn wrongly_accepted(&self) -> u64 {
        self.rows.iter().map(|row| row.wrongly_accepted).sum()
    }

    /// Summarizes the results in one sentence.
    pub fn verdict(&self) -> String {
        match (self.knee, self.found) {
            (Some(knee), true) => format!("Maximum sustained rate: {knee:.0} requests per second."),
            (Some(knee), false) => {
                format!("Sustained {knee:.0} requests per second; no higher rate was tried.")
            }
            (None, _) => "None of these rates was sustained.".to_owned(),
        }
    }
}

/// Formats the results as a table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} at {}\n{}\n", self.targets.join(" "), self.address, self.how)?;
        writeln!(
            f,
            "{:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}  {:>7}",
            "asked/s", "done/s", "p50", "p90", "p99", "p99.9", "longest", "p99 sent", "failed"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "{:>9.0} {:>9.0} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6.2} %{}",
                row.offered,
                row.achieved,
                time(row.p50),
                time(row.p90),
                time(row.p99),
                time(row.p999),
                time(row.max),
                time(row.p99_sent),
                row.failed * 100.0,
                if row.sustained { "" } else { "  too high" }
            )?;
            for (what, count) in &row.failures {
                writeln!(f, "{:>9} {count} x {what}", "")?;
            }
        }
        if self.wrongly_accepted() > 0 {
            writeln!(f, "\n{} requests with invalid tokens were accepted.", self.wrongly_accepted())?;
        }
        if let Some(why) = &self.ended {
            writeln!(f, "\nNo further rate could be tried: {why}")?;
        }
        write!(f, "\n{}", self.verdict())
    }
}

/// Formats microseconds in a suitable unit.
fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}
