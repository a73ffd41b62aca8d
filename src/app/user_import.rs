//! `narthex users import` and `narthex users csv-header`.

use super::build::CommandError;
use super::output::{message, on_one_line, say};
use super::progress::{Progress, Work};
use super::user_admin::open_pool;
use crate::base::{SystemClock, SystemEntropy};
use crate::directory::{self, ImportCounts, ImportEvent, ImportTarget, RowFailure};
use clap::Args;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of the command in errors.
const COMMAND: &str = "narthex users import";

/// The pool of a command.
#[derive(Args)]
pub struct PoolArg {
    /// The name of a user pool of the configuration file, or the id of any; by default, the first
    /// of the file
    #[arg(long, value_name = "NAME_OR_ID")]
    pub pool: Option<String>,
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = super::commands::DEFAULT_FILE)]
    pub config: PathBuf,
}

/// Arguments of an import.
#[derive(Args)]
pub struct Arguments {
    /// A CSV file of Cognito, or JSON lines; - reads standard input
    file: PathBuf,
    #[command(flatten)]
    pool: PoolArg,
    /// Checks every row and writes nothing
    #[arg(long)]
    dry_run: bool,
    /// Prints a JSON object per failed row, and one of the result
    #[arg(long)]
    json: bool,
}

/// Imports a file.
///
/// # Errors
/// Returns an error if any row failed, or the file cannot be imported.
pub async fn import(arguments: Arguments) -> Result<(), CommandError> {
    let Arguments { file, pool, dry_run, json } = arguments;
    let (input, size) = open(&file)?;
    let (store, pool) = open_pool(&pool).await?;
    let target = ImportTarget {
        store: store.clone(),
        pool: Arc::new(pool),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        dry_run,
    };
    let mut progress = Progress::begin(size);
    let imported = directory::import_users(&target, input, &mut |event| match event {
        ImportEvent::Failure(failure) => {
            progress.clear();
            print_failure(failure, json);
        }
        ImportEvent::Progress(ImportCounts { rows, failures, bytes, .. }) => {
            progress.update(Work { rows: *rows, failures: *failures, bytes: *bytes });
        }
    })
    .await;
    progress.clear();
    store.close().await;
    let why =
        |error: directory::ImportError| format!("`{}`: {}", file.display(), message(&error.to_string()));
    let counts = imported.map_err(|error| CommandError::new(COMMAND, why(error)))?;
    print_result(counts, dry_run, json);
    match counts.failures {
        0 => Ok(()),
        failures => {
            let help = "help: correct them and import the file again; rows that exist fail alone";
            Err(CommandError::new(COMMAND, format!("{failures} of {} rows failed\n  {help}", counts.rows)))
        }
    }
}

/// Opens the file. Returns its size, if it has one.
fn open(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>), CommandError> {
    if path == Path::new("-") {
        return Ok((Box::new(std::io::stdin()), None));
    }
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened.map_err(|error| {
        let help = "help: name a CSV file of Cognito or a file of JSON lines";
        CommandError::new(COMMAND, format!("cannot open `{}`: {error}\n  {help}", path.display()))
    })?;
    Ok((Box::new(file), metadata.is_file().then_some(metadata.len())))
}

fn print_failure(failure: &RowFailure, json: bool) {
    let RowFailure { line, name, reason } = failure;
    match json {
        true => say!("{}", serde_json::json!({ "line": line, "name": name, "reason": reason })),
        false => say!("line {line}: {}: {}", on_one_line(name), on_one_line(reason)),
    }
}

fn print_result(counts: ImportCounts, dry_run: bool, json: bool) {
    let ImportCounts { rows, users, groups, failures, .. } = counts;
    if json {
        let result = serde_json::json!({
            "rows": rows, "users": users, "groups": groups, "failures": failures, "dry_run": dry_run,
        });
        say!("{result}");
        return;
    }
    let done = if dry_run { "could be imported" } else { "imported" };
    say!("{users} user(s) and {groups} group(s) {done}; {failures} of {rows} row(s) failed");
}

/// Prints the header of a pool's CSV file.
///
/// # Errors
/// Returns an error if the pool does not exist, or the database fails.
pub async fn csv_header(pool: PoolArg) -> Result<(), CommandError> {
    let (store, pool) = open_pool(&pool).await?;
    store.close().await;
    say!("{}", directory::csv_header(&pool).join(","));
    Ok(())
}
