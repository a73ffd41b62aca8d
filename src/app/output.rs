//! Output of commands. A closed pipe, as in `narthex check | head -1`, changes neither the command
//! nor its exit status.

use crate::base::escape_deceptive;
use std::fmt;
use std::io::Write as _;

/// Prints a line on standard output.
pub fn line(line: fmt::Arguments<'_>) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// Escapes characters that could disguise or end a line. Claims, addresses and names are printed
/// without other changes.
pub fn on_one_line(text: &str) -> String {
    escape_deceptive(text, |_| false)
}

/// Escapes a message like [`on_one_line`], but keeps further lines that are indented by two spaces,
/// such as a remedy.
pub fn message(text: &str) -> String {
    const BREAK: &str = "\n  ";
    text.split(BREAK).map(on_one_line).collect::<Vec<_>>().join(BREAK)
}

/// Prints a line on standard error.
pub fn error(line: fmt::Arguments<'_>) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Prints a line on standard output, like `println!`, but ignores errors.
macro_rules! say {
    ($($arguments:tt)*) => { $crate::app::output::line(format_args!($($arguments)*)) };
}

/// Prints a line on standard error, and ignores errors.
macro_rules! complain {
    ($($arguments:tt)*) => { $crate::app::output::error(format_args!($($arguments)*)) };
}

pub(super) use {complain, say};
