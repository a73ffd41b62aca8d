//! Progress of a command on standard error. On a terminal one line is rewritten; otherwise a line
//! is printed at intervals.

use super::output::complain;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// The interval of updates on a terminal.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);
/// The interval of lines if standard error is not a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
/// Width of the bar, in characters.
const BAR_WIDTH: u64 = 30;

/// The state of the work.
#[derive(Clone, Copy, Default)]
pub struct Work {
    /// Processed rows.
    pub rows: u64,
    /// Processed rows that failed.
    pub failures: u64,
    /// Processed bytes.
    pub bytes: u64,
}

/// The display of the progress of work on rows.
pub struct Progress {
    begun: Instant,
    shown: Option<Instant>,
    is_terminal: bool,
    /// The total number of bytes, if known.
    size: Option<u64>,
}

impl Progress {
    /// Starts the display. `size` is the total number of bytes, if known.
    pub fn begin(size: Option<u64>) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        Self { begun: Instant::now(), shown: None, is_terminal, size: size.filter(|size| *size > 0) }
    }

    /// Updates the display, if the interval since the last update has passed.
    pub fn update(&mut self, work: Work) {
        let interval = if self.is_terminal { TERMINAL_INTERVAL } else { LINE_INTERVAL };
        if self.shown.unwrap_or(self.begun).elapsed() < interval {
            return;
        }
        self.shown = Some(Instant::now());
        let text = text(work, self.begun.elapsed(), self.size.filter(|_| self.is_terminal));
        match self.is_terminal {
            true => rewrite(&text),
            false => complain!("{text}"),
        }
    }

    /// Removes the displayed line from a terminal, before other output.
    pub fn clear(&mut self) {
        if self.is_terminal && self.shown.is_some() {
            rewrite("");
        }
    }
}

/// Replaces the last line of the terminal.
fn rewrite(text: &str) {
    let mut stderr = std::io::stderr();
    drop(write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush()));
}

fn text(work: Work, elapsed: Duration, size: Option<u64>) -> String {
    let mut text = String::new();
    if let Some(size) = size {
        let filled = (work.bytes.min(size) * BAR_WIDTH / size) as usize;
        let percent = work.bytes.min(size) * 100 / size;
        let _ =
            write!(text, "[{:-<width$}] {percent:>3} %  ", "#".repeat(filled), width = BAR_WIDTH as usize);
    }
    let rate = work.rows as f64 / elapsed.as_secs_f64().max(0.001);
    let _ = write!(text, "{} rows, {rate:.0} rows/s", work.rows);
    if work.failures > 0 {
        let _ = write!(text, ", {} failed", work.failures);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_rows_rate_failures_and_a_bar_if_the_size_is_known() {
        let work = Work { rows: 1000, failures: 3, bytes: 50 };
        assert_eq!(text(work, Duration::from_secs(2), None), "1000 rows, 500 rows/s, 3 failed");
        let whole = text(Work { failures: 0, ..work }, Duration::from_secs(2), Some(100));
        assert_eq!(whole, format!("[{}{}]  50 %  1000 rows, 500 rows/s", "#".repeat(15), "-".repeat(15)));
        let more = text(Work { bytes: 500, ..work }, Duration::from_secs(2), Some(100));
        assert!(more.starts_with(&format!("[{}] 100 %", "#".repeat(30))));
    }
}
