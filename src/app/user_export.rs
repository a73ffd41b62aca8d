//! `narthex users export`.

use super::build::CommandError;
use super::output::complain;
use super::progress::{Progress, Work};
use super::user_admin::open_pool;
use super::user_import::PoolArg;
use crate::base::{Entropy as _, SystemEntropy, base64url_encode};
use crate::directory::{self, ExportCounts};
use crate::model::Pool;
use crate::store::Store;
use clap::Args;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The name of the command in errors.
const COMMAND: &str = "narthex users export";

/// Arguments of an export.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    pool: PoolArg,
    /// Includes the password hashes and the second factors, which are secrets
    #[arg(long)]
    passwords: bool,
    /// The file to write, readable for its owner only; by default, standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Exports the groups and users of a pool.
///
/// # Errors
/// Returns an error if the database or the output fails.
pub async fn export(arguments: Arguments) -> Result<(), CommandError> {
    let Arguments { pool, passwords, output } = arguments;
    if passwords && output.is_none() && io::stdout().is_terminal() {
        let why = "password hashes are not written to a terminal\n  help: name a file with `--output`";
        return Err(CommandError::new(COMMAND, why));
    }
    let (store, pool) = open_pool(&pool).await?;
    if passwords {
        complain!("warning: the export contains password hashes; keep it as secret as the database");
    }
    let exported = match &output {
        None => write(&store, &pool, passwords, &mut io::stdout()).await,
        Some(path) => write_file(&store, &pool, passwords, path).await,
    };
    store.close().await;
    let ExportCounts { groups, users } = exported?;
    complain!("{users} user(s) and {groups} group(s) exported");
    Ok(())
}

async fn write(
    store: &Store,
    pool: &Pool,
    passwords: bool,
    output: &mut dyn Write,
) -> Result<ExportCounts, CommandError> {
    let (mut progress, mut output) = (Progress::begin(None), BufWriter::new(output));
    let report = &mut |counts: &ExportCounts| {
        progress.update(Work { rows: counts.users, ..Work::default() });
    };
    let exported = directory::export_users(store, pool, passwords, &mut output, report).await;
    progress.clear();
    exported.map_err(|error| CommandError::new(COMMAND, error))
}

/// Writes a new file and then replaces an existing one with it. The existing file may be readable
/// by others, and a failed export must not change it.
async fn write_file(
    store: &Store,
    pool: &Pool,
    passwords: bool,
    path: &Path,
) -> Result<ExportCounts, CommandError> {
    let failed = |error: io::Error| {
        let help = "help: name a file in a folder that can be written";
        CommandError::new(COMMAND, format!("cannot write `{}`: {error}\n  {help}", path.display()))
    };
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Err(failed(io::Error::other("it is not a file")));
    }
    let (partial, mut file) = create_beside(path).map_err(failed)?;
    let exported = write(store, pool, passwords, &mut file).await.and_then(|counts| {
        file.sync_all().and_then(|()| std::fs::rename(&partial, path)).map_err(failed)?;
        Ok(counts)
    });
    if exported.is_err() {
        drop(std::fs::remove_file(&partial));
    }
    exported
}

/// Creates a file beside `path` that only its owner may read.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut random = [0; 9];
    SystemEntropy.fill(&mut random);
    let name = path.file_name().ok_or_else(|| io::Error::other("it has no name"))?;
    let mut partial = std::ffi::OsString::from(".");
    partial.push(name);
    partial.push(format!(".{}", base64url_encode(random)));
    let partial = path.with_file_name(partial);
    let file = File::options().write(true).create_new(true).mode(0o600).open(&partial)?;
    Ok((partial, file))
}
