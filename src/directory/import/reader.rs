//! Reads a file and divides it into batches. It runs on a thread of its own, ahead of the writer.

use super::csv::{self, Columns};
use super::json::{self, JsonLine};
use super::lines::{Line, Lines};
use super::row::{Entry, Row};
use super::{ImportError, ImportTarget};
use crate::directory::error::{DirectoryError, Outcome};
use std::io::Read;

/// Maximum rows of a batch.
pub const MAX_BATCH_ROWS: usize = 512;
/// Maximum bytes of the rows of a batch.
const MAX_BATCH_BYTES: usize = 1 << 21;
/// Maximum characters of a name in a report.
const MAX_REPORTED_NAME: usize = 128;
/// The byte order mark in UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A part of a file: groups or users, and rows that are refused.
#[derive(Default)]
pub struct Batch {
    /// The rows.
    pub rows: Vec<Row>,
    /// Bytes of the file up to its end.
    pub bytes: u64,
    has_groups: bool,
    has_users: bool,
}

/// The format of a file, which its first line shows.
enum Format {
    Json,
    Csv(Columns),
}

impl Format {
    /// Returns the format that the first line shows, and whether that line is a row.
    fn of(first: &str, target: &ImportTarget) -> Result<(Self, bool), ImportError> {
        if first.starts_with(BYTE_ORDER_MARK) {
            let why = "the file begins with a byte order mark\n  help: save it as UTF-8 without one";
            return Err(ImportError::File(why.to_owned()));
        }
        if !first.trim_start().starts_with('{') {
            let columns = Columns::parse(first, &target.pool).map_err(ImportError::File)?;
            return Ok((Self::Csv(columns), false));
        }
        match json::parse(first).1 {
            Ok(JsonLine::Format(Some(json::VERSION))) => Ok((Self::Json, false)),
            Ok(JsonLine::Format(_)) => {
                let why = format!(
                    "the file has another version of the format than {}\n  help: import it with the version of \
                     Narthex that wrote it",
                    json::VERSION
                );
                Err(ImportError::File(why))
            }
            _ => Ok((Self::Json, true)),
        }
    }

    fn max_line(&self) -> usize {
        match self {
            Self::Json => json::MAX_LINE_BYTES,
            Self::Csv(_) => csv::MAX_ROW_BYTES,
        }
    }

    /// Parses and checks a row.
    fn row(&self, line: u64, text: &str, target: &ImportTarget) -> Row {
        let check =
            |user: super::user::UserLine| user.check(&target.pool, target.clock.now(), &*target.entropy);
        let (name, entry) = match self {
            Self::Json => {
                let (name, parsed) = json::parse(text);
                (name, parsed.and_then(|parsed| parsed.entry(check)))
            }
            Self::Csv(columns) => {
                let entry = columns.user(text, &target.pool).and_then(check);
                (columns.username(text).unwrap_or_default(), entry)
            }
        };
        row(line, &name, entry)
    }
}

impl Batch {
    /// Returns whether it stays a batch of either groups or users with this row.
    fn fits(&self, row: &Row) -> bool {
        match row.entry {
            Ok(Entry::Group(_)) => !self.has_users,
            Ok(Entry::User(_)) => !self.has_groups,
            Err(_) => true,
        }
    }

    fn push(&mut self, row: Row) {
        self.has_groups |= row.group().is_some();
        self.has_users |= row.user().is_some();
        self.rows.push(row);
    }
}

fn row(line: u64, name: &str, entry: Outcome<Entry>) -> Row {
    Row { line, name: name.chars().take(MAX_REPORTED_NAME).collect(), entry }
}

/// Reads `input`, and gives each batch to `send` until that returns false.
///
/// # Errors
/// Returns an error if the file cannot be read, or cannot be imported at all.
pub fn read(
    input: impl Read,
    target: &ImportTarget,
    mut send: impl FnMut(Batch) -> bool,
) -> Result<(), ImportError> {
    let mut lines = Lines::new(input);
    let Some((format, mut first)) = first_line(&mut lines, target)? else {
        return Err(ImportError::File("the file is empty".to_owned()));
    };
    let (mut batch, mut size) = (Batch::default(), 0);
    loop {
        let next = match first.take() {
            Some(row) => Some((row, 0)),
            None => next_row(&mut lines, &format, target)?,
        };
        let is_over = next.is_none();
        let fits = next.as_ref().is_some_and(|(row, bytes)| {
            batch.rows.len() < MAX_BATCH_ROWS && size + bytes <= MAX_BATCH_BYTES && batch.fits(row)
        });
        if !fits && !batch.rows.is_empty() {
            batch.bytes = lines.bytes();
            if !send(std::mem::take(&mut batch)) {
                return Ok(());
            }
            size = 0;
        }
        if let Some((row, bytes)) = next {
            batch.push(row);
            size += bytes;
        }
        if is_over {
            return Ok(());
        }
    }
}

/// Reads the first line that is not empty: the format, and the row that it has.
fn first_line(
    lines: &mut Lines<impl Read>,
    target: &ImportTarget,
) -> Result<Option<(Format, Option<Row>)>, ImportError> {
    while let Some(Line { number, text }) = lines.next(json::MAX_LINE_BYTES)? {
        let text = text.map_err(|error| ImportError::File(format!("the first line: {}", error.reason())))?;
        if !text.trim().is_empty() {
            let (format, is_row) = Format::of(text, target)?;
            let row = is_row.then(|| format.row(number, text, target));
            return Ok(Some((format, row)));
        }
    }
    Ok(None)
}

/// Reads the next row and its size; skips empty lines.
fn next_row(
    lines: &mut Lines<impl Read>,
    format: &Format,
    target: &ImportTarget,
) -> Result<Option<(Row, usize)>, ImportError> {
    while let Some(Line { number, text }) = lines.next(format.max_line())? {
        match text {
            Err(error) => {
                return Ok(Some((row(number, "", Err(DirectoryError::invalid(error.reason()))), 0)));
            }
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => return Ok(Some((format.row(number, text, target), text.len()))),
        }
    }
    Ok(None)
}
