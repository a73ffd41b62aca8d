//! Errors of opening a store, with their remedies.

use super::StoreError;
use crate::base::Duration;
use crate::config::StoreUrl;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use tokio::net::TcpStream;

/// Timeout of the connection attempt that checks whether anything listens at the database's
/// address.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Default port of PostgreSQL, for a URL without a port.
const POSTGRES_PORT: u16 = 5432;

/// An error of opening the store, with its remedy.
#[derive(Debug)]
pub struct OpenStoreError {
    message: String,
    help: &'static str,
}

impl fmt::Display for OpenStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  help: {}", self.message, self.help)
    }
}

impl std::error::Error for OpenStoreError {}

impl OpenStoreError {
    /// Determines why the store at `url` could not be opened.
    pub(super) async fn of(url: &StoreUrl, error: StoreError) -> Self {
        match url {
            StoreUrl::Sqlite(path) => sqlite(path, &error),
            StoreUrl::Postgres(url) => postgres(url.expose(), &error).await,
        }
    }
}

/// Returns the database's error code: SQLite's result code, or the SQLSTATE of PostgreSQL.
fn code(error: &StoreError) -> Option<String> {
    let StoreError::Sql(sqlx::Error::Database(error)) = error else { return None };
    error.code().map(std::borrow::Cow::into_owned)
}

fn io_kind(error: &StoreError) -> Option<ErrorKind> {
    match error {
        StoreError::Sql(sqlx::Error::Io(error)) => Some(error.kind()),
        _ => None,
    }
}

fn sqlite(path: &Path, error: &StoreError) -> OpenStoreError {
    const PERMISSION: &str = "let the user that Narthex runs as read and write the file and its folder, in which SQLite \
                              makes files of its own";
    let file = path.display();
    let primary = code(error).and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff);
    let folder_is_missing =
        path.parent().is_some_and(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let (message, help) = match (primary, io_kind(error)) {
        _ if folder_is_missing => (
            format!("cannot open the database `{file}`: its folder does not exist"),
            "make the folder, or name another one with `url` in [store]",
        ),
        _ if path.is_dir() => (
            format!("cannot open the database `{file}`: it is a folder"),
            "name a file with `url` in [store]",
        ),
        // SQLITE_CORRUPT and SQLITE_NOTADB.
        (Some(11 | 26), _) => (
            format!("cannot open the database `{file}`: it is damaged, or no SQLite database ({error})"),
            "restore it from a backup, or name another file with `url` in [store]",
        ),
        // SQLITE_PERM, SQLITE_READONLY and SQLITE_CANTOPEN.
        (Some(3 | 8 | 14), _) | (_, Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)) => {
            (format!("cannot open the database `{file}`: permission denied ({error})"), PERMISSION)
        }
        // SQLITE_FULL.
        (Some(13), _) | (_, Some(ErrorKind::StorageFull)) => {
            (format!("cannot open the database `{file}`: the disk is full"), "make room on the disk")
        }
        _ => (
            format!("cannot open the database `{file}`: {error}"),
            "look at the error above; the file may be in use by another program",
        ),
    };
    OpenStoreError { message, help }
}

async fn postgres(url: &str, error: &StoreError) -> OpenStoreError {
    // The URL contains a password: only host and port are shown.
    let url = url::Url::parse(url).ok();
    let host = url.as_ref().and_then(url::Url::host_str).unwrap_or("localhost").to_owned();
    let port = url.as_ref().and_then(url::Url::port).unwrap_or(POSTGRES_PORT);
    let place = format!("{host}:{port}");
    let state = code(error);
    let (why, help) = match (state.as_deref(), error) {
        (Some("28P01" | "28000"), _) => (
            format!("it refuses the user or the password ({error})"),
            "correct user and password in `url` of [store]",
        ),
        (Some("3D000"), _) => (
            format!("the database does not exist ({error})"),
            "create it, or name another one in `url` of [store]",
        ),
        (Some("42501"), _) => (
            format!("permission denied ({error})"),
            "let the user of `url` in [store] create tables in its schema",
        ),
        (Some(_), _) => (error.to_string(), "look at the error above, and at the log of the database"),
        // The driver retries until its deadline, and does not report the error of the attempts.
        (None, StoreError::Timeout | StoreError::Sql(sqlx::Error::Io(_))) => probe(&host, port).await,
        (None, _) => (error.to_string(), "check `url` in [store]"),
    };
    OpenStoreError { message: format!("cannot open the store at PostgreSQL `{place}`: {why}"), help }
}

/// Connects to the database's address, and describes the result with a remedy.
async fn probe(host: &str, port: u16) -> (String, &'static str) {
    let address = (host.trim_matches(['[', ']']), port);
    match tokio::time::timeout(PROBE_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => (
            "something listens there and does not answer like PostgreSQL".to_owned(),
            "check host and port in `url` of [store], and whether the database has connections left",
        ),
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => (
            "connection refused: nothing listens there".to_owned(),
            "start the database, or correct host and port in `url` of [store]",
        ),
        Ok(Err(error)) => (error.to_string(), "correct the host in `url` of [store]"),
        Err(_) => (
            "it cannot be reached: nothing answers".to_owned(),
            "check host, port and the firewalls in between",
        ),
    }
}
