//! What a check has found.

use crate::app::output::say;
use std::fmt::Display;

/// Prints what is found, and counts it.
#[derive(Default)]
pub struct Report {
    /// What cannot work.
    pub problems: usize,
    /// What is odd.
    pub warnings: usize,
}

impl Report {
    /// Something works.
    pub fn good(&self, line: impl Display) {
        say!("  ok       {line}");
    }

    /// Something is worth knowing.
    pub fn note(&self, line: impl Display) {
        say!("  note     {line}");
    }

    /// Something is odd.
    pub fn warn(&mut self, line: impl Display) {
        self.warnings += 1;
        say!("  warning  {line}");
    }

    /// Something cannot work.
    pub fn problem(&mut self, line: impl Display) {
        self.problems += 1;
        say!("  problem  {line}");
    }
}
