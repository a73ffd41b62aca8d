//! What came of a load test: a line while it goes on, a table, a page with plots, JSON.

use super::step::Tally;
use super::{NotLoaded, Plan};
use askama::Template;
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;

/// A plot's size, in the units of its drawing, and what its axes' numbers take of that.
const SIZE: (f64, f64) = (720.0, 300.0);
const MARGIN: (f64, f64) = (64.0, 28.0);
/// The height of a line's name.
const NAME: f64 = 14.0;

/// What one rate came to. Times are in microseconds, counted from when a request was due.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Requests a second that were to be sent.
    pub offered: f64,
    /// Requests a second that were answered.
    pub achieved: f64,
    /// How many were answered as they must be.
    pub good: u64,
    /// Tokens that are not to be believed, and were.
    pub let_in: u64,
    /// The share of requests that failed.
    pub failed: f64,
    /// What else came, and how often.
    pub failures: Vec<(String, u64)>,
    /// Half of them took no longer.
    pub p50: u64,
    /// Nine of ten took no longer.
    pub p90: u64,
    /// All but one in a hundred.
    pub p99: u64,
    /// All but one in a thousand.
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// All but one in a hundred, counted from when they were sent: what whoever waits for an answer before they ask again
    /// would see.
    pub p99_sent: u64,
    /// Whether the rate was borne.
    pub borne: bool,
}

/// What came of a load test.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The addresses that were loaded.
    pub targets: Vec<String>,
    /// Where they were found.
    pub address: SocketAddr,
    /// How it was loaded.
    pub how: String,
    /// What each rate came to, in the order in which they were tried.
    pub rows: Vec<Row>,
    /// The highest rate that was borne, where any was.
    pub knee: Option<f64>,
    /// Whether a higher one was tried, and was not.
    pub found: bool,
}

impl Row {
    /// What `tally` says of `count` requests at the rate `offered`.
    pub(super) fn of(offered: f64, count: u64, tally: &Tally) -> Self {
        let lost = count - tally.ended();
        let achieved = tally.ended() as f64 / tally.last.as_secs_f64().max(count as f64 / offered);
        let failed = (tally.failed() + lost) as f64 / count as f64;
        let mut failures: Vec<(String, u64)> =
            tally.failures.iter().map(|(what, count)| (what.clone(), *count)).collect();
        if lost > 0 {
            failures.push(("given up".to_owned(), lost));
        }
        let due = |quantile| tally.due.value_at_quantile(quantile);
        Self {
            offered,
            achieved,
            good: tally.good,
            let_in: tally.let_in,
            failed,
            failures,
            p50: due(0.5),
            p90: due(0.9),
            p99: due(0.99),
            p999: due(0.999),
            max: tally.due.max(),
            p99_sent: tally.sent.value_at_quantile(0.99),
            borne: Self::is_borne(offered, achieved, failed),
        }
    }

    /// The same in a line.
    pub(super) fn line(&self) -> String {
        format!(
            "{:>8.0}/s  answered {:>8.0}/s  p50 {:>8}  p99 {:>8}  p99.9 {:>8}  failed {:>5.2} %  {}",
            self.offered,
            self.achieved,
            time(self.p50),
            time(self.p99),
            time(self.p999),
            self.failed * 100.0,
            if self.borne { "borne" } else { "too much" }
        )
    }
}

/// What is known of a rate while it goes on.
pub(super) fn live_line(rate: f64, tally: &Tally, now: f64) -> String {
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
                "tokens of {} people, {} % never seen before, {} % not to be believed",
                plan.users, plan.mix.unseen, plan.mix.bad
            ),
            None => "no tokens".to_owned(),
        };
        let how = format!(
            "{version}, {} connections{streams}, {} s a rate; {tokens}",
            plan.connections,
            plan.step_time.as_secs_f64()
        );
        let targets = plan.targets.iter().map(ToString::to_string).collect();
        Self { targets, address, how, rows: Vec::new(), knee: None, found: false }
    }

    /// Works out what all rates say together.
    pub(super) fn finish(&mut self) {
        let borne = self.rows.iter().filter(|row| row.borne).map(|row| row.achieved);
        self.knee = borne.reduce(f64::max);
        self.found = self.rows.iter().any(|row| !row.borne);
    }

    /// Whether any token was believed that must not be.
    pub fn let_in(&self) -> u64 {
        self.rows.iter().map(|row| row.let_in).sum()
    }

    /// The same in a sentence.
    pub fn verdict(&self) -> String {
        match (self.knee, self.found) {
            (Some(knee), true) => format!("It bears {knee:.0} requests a second, and not many more."),
            (Some(knee), false) => {
                format!("It bore {knee:.0} requests a second, and more was not asked for.")
            }
            (None, _) => "It bore none of these rates.".to_owned(),
        }
    }

    /// A page that shows it, on its own.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn html(&self) -> Result<String, NotLoaded> {
        let mut rows = self.rows.clone();
        rows.sort_by(|one, other| one.offered.total_cmp(&other.offered));
        let line = |name: &'static str, of: &dyn Fn(&Row) -> f64| {
            (name, rows.iter().map(|row| (row.offered, of(row))).collect::<Vec<_>>())
        };
        let latencies = [
            line("p50", &|row| row.p50 as f64 / 1000.0),
            line("p99", &|row| row.p99 as f64 / 1000.0),
            line("p99.9", &|row| row.p999 as f64 / 1000.0),
        ];
        let rates = [line("asked", &|row| row.offered), line("answered", &|row| row.achieved)];
        let plots = vec![
            Plot::new("How long requests take, in milliseconds, at each rate", &latencies, true, self.knee),
            Plot::new("How many are answered, a second", &rates, false, self.knee),
        ];
        let page = Page { report: self, rows: &rows, plots };
        page.render().map_err(|error| NotLoaded::new(error.to_string()))
    }
}

/// The table.
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
                if row.borne { "" } else { "  too much" }
            )?;
            for (what, count) in &row.failures {
                writeln!(f, "{:>9} {count} x {what}", "")?;
            }
        }
        if self.let_in() > 0 {
            writeln!(f, "\n{} requests passed with tokens that must open nothing.", self.let_in())?;
        }
        write!(f, "\n{}", self.verdict())
    }
}

/// Microseconds in the unit in which they are short.
fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.2} s", micros as f64 / 1e6),
    }
}

#[derive(Template)]
#[template(path = "load.html")]
struct Page<'a> {
    report: &'a Report,
    rows: &'a [Row],
    plots: Vec<Plot>,
}

/// A drawing of some lines over one axis of rates.
struct Plot {
    title: &'static str,
    lines: Vec<Line>,
    /// Where a number stands, and what it says.
    across: Vec<(f64, String)>,
    up: Vec<(f64, String)>,
    /// Where the knee is.
    knee: Option<f64>,
}

struct Line {
    name: &'static str,
    /// For a `polyline`.
    points: String,
    /// Where its name stands.
    end: (f64, f64),
}

/// An axis: what it goes up to, and whether each step is ten times the last.
struct Axis {
    from: f64,
    to: f64,
    decades: bool,
    length: f64,
}

/// The step of the numbers of an axis up to `most`: a round one.
fn round_step(most: f64) -> f64 {
    let tenth = 10_f64.powf((most / 5.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|times| times * tenth)
        .into_iter()
        .find(|step| *step >= most / 5.0)
        .unwrap_or(most)
}

impl Axis {
    /// One that begins at nothing, and ends at a round number.
    fn up_to(most: f64, length: f64) -> Self {
        let step = round_step(most);
        Self { from: 0.0, to: (most / step).ceil() * step, decades: false, length }
    }

    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.decades { value.max(self.from).log10() } else { value };
        self.length * (scale(value) - scale(self.from)) / (scale(self.to) - scale(self.from))
    }

    fn numbers(&self) -> Vec<f64> {
        if self.decades {
            let mut numbers = vec![self.from];
            while let Some(last) = numbers.last()
                && last * 10.0 <= self.to * 1.001
            {
                numbers.push(last * 10.0);
            }
            return numbers;
        }
        let step = round_step(self.to);
        (0..).map(|at| f64::from(at) * step).take_while(|number| *number <= self.to * 1.001).collect()
    }
}

impl Plot {
    fn new(
        title: &'static str,
        lines: &[(&'static str, Vec<(f64, f64)>)],
        decades: bool,
        knee: Option<f64>,
    ) -> Self {
        let all = || lines.iter().flat_map(|(_, points)| points);
        let most = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(1e-3, f64::max);
        let least = all().map(|point| point.1).fold(f64::INFINITY, f64::min).max(1e-3);
        let (width, height) = (SIZE.0 - 2.0 * MARGIN.0, SIZE.1 - 2.0 * MARGIN.1);
        let across = Axis::up_to(most(|point| point.0), width);
        let up = match decades {
            true => Axis {
                from: 10_f64.powf(least.log10().floor()),
                to: 10_f64.powf((most(|point| point.1) * 1.01).log10().ceil()),
                decades,
                length: height,
            },
            false => Axis::up_to(most(|point| point.1), height),
        };
        let x = |value| MARGIN.0 + across.place(value);
        let y = |value| SIZE.1 - MARGIN.1 - up.place(value);
        let line = |(name, points): &(&'static str, Vec<(f64, f64)>)| {
            let mut text = String::new();
            for (rate, value) in points {
                // Writing to a text does not fail.
                _ = write!(text, "{:.1},{:.1} ", x(*rate), y(*value));
            }
            let end = points.last().map_or((0.0, 0.0), |(rate, value)| (x(*rate), y(*value)));
            Line { name, points: text, end }
        };
        let mut drawn: Vec<Line> = lines.iter().map(line).collect();
        // Lines that end together have names below one another.
        let mut order: Vec<usize> = (0..drawn.len()).collect();
        order.sort_by(|one, other| drawn[*one].end.1.total_cmp(&drawn[*other].end.1));
        let mut free = 0.0;
        for at in order {
            let end = &mut drawn[at].end.1;
            *end = end.max(free);
            free = *end + NAME;
        }
        let numbers = |axis: &Axis, place: &dyn Fn(f64) -> f64| {
            axis.numbers().into_iter().map(|number| (place(number), short(number))).collect()
        };
        Self { title, lines: drawn, across: numbers(&across, &x), up: numbers(&up, &y), knee: knee.map(x) }
    }
}

/// A number on an axis.
fn short(number: f64) -> String {
    match number {
        number if number >= 10_000.0 => format!("{:.0}k", number / 1000.0),
        number if number >= 1000.0 => format!("{:.1}k", number / 1000.0),
        number if number >= 10.0 || number == 0.0 => format!("{number:.0}"),
        number => format!("{number}"),
    }
}
