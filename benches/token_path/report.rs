//! Formatting of results.

use super::measure::{Measured, Spread};
use super::proxies::Proxy;
use std::fmt::Write as _;

/// Writes a table with a row for each proxy.
pub fn table(report: &mut String, title: &str, proxies: &[&Proxy], measured: &[Measured]) {
    writeln!(report, "\n## {title}\n").unwrap();
    writeln!(
        report,
        "| | µs: median (range) | requests a second | p50, p99, p99.9 in µs | MiB at the end |\n|---|---|---|---|---|"
    )
    .unwrap();
    for (proxy, measured) in proxies.iter().zip(measured) {
        let (cpu, rate) = (measured.of(|round| round.cpu), measured.of(|round| round.rate));
        let [half, one, tenth] = [0, 1, 2].map(|at| measured.of(|round| round.latency[at]).median);
        writeln!(
            report,
            "| {} | {:.1} ({:.1} to {:.1}) | {:.0} | {half:.0}, {one:.0}, {tenth:.0} | {:.0} |",
            proxy.name,
            cpu.median,
            cpu.low,
            cpu.high,
            rate.median,
            measured.memory as f64 / f64::from(1 << 20)
        )
        .unwrap();
    }
}

/// Writes the ratios of CPU time of `ours` to `others`.
pub fn ratios(
    report: &mut String,
    proxies: &[&Proxy],
    measured: &[Measured],
    ours: [usize; 2],
    others: &[usize],
) {
    writeln!(report, "\nRatios of CPU in the same round, median (range):\n").unwrap();
    for one in ours {
        for other in others {
            let ratio = ratio(&measured[one].to(&measured[*other], |round| round.cpu));
            writeln!(report, "- {} to {}: {ratio}", proxies[one].name, proxies[*other].name).unwrap();
        }
    }
}

/// Formats a ratio: median and range.
pub fn ratio(of: &Spread) -> String {
    format!("{:.3} ({:.3} to {:.3})", of.median, of.low, of.high)
}

/// Formats a time: median and range.
pub fn microseconds(of: &Spread) -> String {
    format!("{:.1} ({:.1} to {:.1})", of.median, of.low, of.high)
}
