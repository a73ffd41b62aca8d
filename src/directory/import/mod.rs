//! Import of users: Cognito's CSV, and JSON lines with groups, provider accounts and password
//! hashes. Rows fail alone. A file takes the same memory whatever its size.

mod batch;
mod claims;
mod csv;
mod fields;
mod json;
mod lines;
mod reader;
mod row;
mod user;

pub use csv::csv_header;
pub(super) use json::VERSION;

use super::error::DirectoryError;
use crate::base::{Clock, Entropy};
use crate::model::Pool;
use crate::store::Store;
use batch::Writer;
use reader::Batch;
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Batches that are read ahead of the writer.
const BATCHES_AHEAD: usize = 2;

/// Where users are imported to.
#[derive(Clone)]
pub struct ImportTarget {
    /// The database.
    pub store: Store,
    /// The pool.
    pub pool: Arc<Pool>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random number generator.
    pub entropy: Arc<dyn Entropy>,
    /// Whether the file is only checked.
    pub dry_run: bool,
}

/// A row that was not imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFailure {
    /// The number of the line, from 1.
    pub line: u64,
    /// The name of the user or group, as far as it is known.
    pub name: String,
    /// The reason: an exception of Cognito's API and its message.
    pub reason: String,
}

/// How much of a file is imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportCounts {
    /// Rows so far.
    pub rows: u64,
    /// Users among them that were imported.
    pub users: u64,
    /// Groups among them that were imported.
    pub groups: u64,
    /// Rows that failed.
    pub failures: u64,
    /// Bytes so far.
    pub bytes: u64,
}

/// What is reported during an import.
#[derive(Clone, Copy, Debug)]
pub enum ImportEvent<'a> {
    /// A row failed.
    Failure(&'a RowFailure),
    /// A batch is done.
    Progress(&'a ImportCounts),
}

/// Why an import ended before the file did. What was imported before stays.
#[derive(Debug)]
pub enum ImportError {
    /// The file as a whole cannot be imported.
    File(String),
    /// The file cannot be read.
    Read(io::Error),
    /// The database failed, or the pool was deleted, at the batch that begins with this line.
    Directory(u64, DirectoryError),
}

impl From<io::Error> for ImportError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(why) => f.write_str(why),
            Self::Read(error) => write!(f, "cannot read the file: {error}"),
            Self::Directory(line, error) => write!(
                f,
                "stopped before line {line}: {error}\n  help: import the file again; rows that were imported then \
                 fail alone"
            ),
        }
    }
}

impl std::error::Error for ImportError {}

/// Imports the users and groups of a file, and reports each failed row and each batch in the order
/// of the file.
///
/// # Errors
/// Returns why the import ended before the file did.
pub async fn import_users(
    target: &ImportTarget,
    input: impl Read + Send + 'static,
    report: &mut dyn FnMut(ImportEvent<'_>),
) -> Result<ImportCounts, ImportError> {
    let (sender, mut batches) = mpsc::channel::<Batch>(BATCHES_AHEAD);
    let of_reader = target.clone();
    let reader = tokio::task::spawn_blocking(move || {
        reader::read(input, &of_reader, |batch| sender.blocking_send(batch).is_ok())
    });
    let (mut writer, mut counts) = (Writer::new(target), ImportCounts::default());
    while let Some(batch) = batches.recv().await {
        let line = batch.rows.first().map_or(0, |row| row.line);
        let failures = write(&mut writer, batch, &mut counts).await;
        for failure in &failures.map_err(|error| ImportError::Directory(line, error))? {
            report(ImportEvent::Failure(failure));
        }
        report(ImportEvent::Progress(&counts));
    }
    let read = reader.await.map_err(|error| ImportError::Read(io::Error::other(error)))?;
    read.map(|()| counts)
}

/// Writes a batch. Returns the rows that failed.
async fn write(
    writer: &mut Writer<'_>,
    batch: Batch,
    counts: &mut ImportCounts,
) -> Result<Vec<RowFailure>, DirectoryError> {
    let accepted: Vec<_> = batch.rows.iter().filter(|row| row.entry.is_ok()).collect();
    let mut results = match accepted.is_empty() {
        true => Vec::new(),
        false => writer.write(&accepted).await?,
    }
    .into_iter();
    counts.bytes = batch.bytes;
    let mut failures = Vec::new();
    for row in batch.rows {
        let is_group = row.group().is_some();
        let result = match row.entry {
            Ok(_) => results.next().unwrap_or(Ok(())),
            Err(error) => Err(error),
        };
        counts.rows += 1;
        match result {
            Ok(()) if is_group => counts.groups += 1,
            Ok(()) => counts.users += 1,
            Err(error) => {
                counts.failures += 1;
                let reason = error.to_string().trim_end().to_owned();
                failures.push(RowFailure { line: row.line, name: row.name, reason });
            }
        }
    }
    Ok(failures)
}
