//! HTML report of a load test.

use super::LoadError;
use super::report::{Report, Row};
use askama::Template;
use std::fmt::Write as _;

/// Size of a plot in SVG units, including its margins.
const SIZE: (f64, f64) = (720.0, 300.0);
const MARGIN: (f64, f64) = (64.0, 28.0);
/// Height of a label.
const NAME: f64 = 14.0;

impl Report {
    /// Renders a self-contained page.
    ///
    /// # Errors
    /// Returns an error if rendering fails.
    pub fn html(&self) -> Result<String, LoadError> {
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
        page.render().map_err(|error| LoadError::new(error.to_string()))
    }
}

#[derive(Template)]
#[template(path = "load.html")]
struct Page<'a> {
    report: &'a Report,
    rows: &'a [Row],
    plots: Vec<Plot>,
}

/// A plot of several curves over an axis of rates.
struct Plot {
    title: &'static str,
    lines: Vec<Curve>,
    /// Labels of the horizontal axis, with their positions.
    across: Vec<(f64, String)>,
    up: Vec<(f64, String)>,
    /// Position of the highest sustained rate.
    knee: Option<f64>,
}

struct Curve {
    name: &'static str,
    /// The `points` attribute of a `polyline`.
    points: String,
    /// The position of the curve's label.
    end: (f64, f64),
}

/// An axis, linear or logarithmic.
struct Axis {
    from: f64,
    to: f64,
    decades: bool,
    length: f64,
}

/// Returns a round interval between the labels of an axis up to `most`.
fn round_step(most: f64) -> f64 {
    let tenth = 10_f64.powf((most / 5.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|times| times * tenth)
        .into_iter()
        .find(|step| *step >= most / 5.0)
        .unwrap_or(most)
}

impl Axis {
    /// Creates an axis from zero to a round number.
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
                // Writing to a string cannot fail.
                _ = write!(text, "{:.1},{:.1} ", x(*rate), y(*value));
            }
            let end = points.last().map_or((0.0, 0.0), |(rate, value)| (x(*rate), y(*value)));
            Curve { name, points: text, end }
        };
        let mut drawn: Vec<Curve> = lines.iter().map(line).collect();
        // Labels of curves with the same end are placed below one another.
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

/// Formats a number of an axis.
fn short(number: f64) -> String {
    match number {
        number if number >= 10_000.0 => format!("{:.0}k", number / 1000.0),
        number if number >= 1000.0 => format!("{:.1}k", number / 1000.0),
        number if number >= 10.0 || number == 0.0 => format!("{number:.0}"),
        number => format!("{number}"),
    }
}
