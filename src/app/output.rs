//! What commands print. A reader that is gone, as in `narthex check | head -1`, ends neither the command nor changes how it
//! ends.

use std::fmt;
use std::io::Write as _;

/// Prints a line on standard output.
pub fn line(line: fmt::Arguments<'_>) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Prints a line on standard error.
pub fn error(line: fmt::Arguments<'_>) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Prints a line on standard output, as `println!` does where somebody reads it.
macro_rules! say {
    ($($arguments:tt)*) => { $crate::app::output::line(format_args!($($arguments)*)) };
}

/// The same on standard error.
macro_rules! complain {
    ($($arguments:tt)*) => { $crate::app::output::error(format_args!($($arguments)*)) };
}

pub(super) use {complain, say};
