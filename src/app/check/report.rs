//! The results of `narthex check`.

use crate::app::output::say;
use std::fmt::Display;

/// A printer of results, which counts errors and warnings.
#[derive(Default)]
pub struct Report {
    /// The number of errors.
    pub problems: usize,
    /// The number of warnings.
    pub warnings: usize,
}

impl Report {
    /// Prints a check that passed.
    pub fn good(&self, line: impl Display) {
        say!("  ok       {line}");
    }

    /// Prints a note.
    pub fn note(&self, line: impl Display) {
        say!("  note     {line}");
    }

    /// Prints a warning.
    pub fn warn(&mut self, line: impl Display) {
        self.warnings += 1;
        say!("  warning  {line}");
    }

    /// Prints an error.
    pub fn problem(&mut self, line: impl Display) {
        self.problems += 1;
        say!("  problem  {line}");
    }
}
