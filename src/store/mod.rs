//! SQL store: SQLite for one node, PostgreSQL or a database with its wire protocol for several.
//! Both engines run the same SQL text, through `sqlx::Any`. Each part of the model has a file,
//! which adds methods to [`Store`] (reads) or [`Tx`] (writes).

mod account_codes;
mod accounts;
mod app_clients;
mod bulk;
mod bulk_text;
mod changes;
mod client_secrets;
mod codes;
mod consents;
mod device_requests;
mod factors;
mod groups;
mod identities;
mod identity_providers;
mod keys;
mod logout_notices;
mod migrate;
mod nodes;
mod opening;
mod outbox;
mod outbox_rate;
mod passwords;
mod pool_domains;
mod pools;
mod provider_tokens;
mod purge;
mod pushed_requests;
mod refresh_families;
mod remembered_devices;
mod replay;
mod resource_servers;
mod revoked_tokens;
mod saml_certificates;
mod sessions;
mod settings;
mod sign_in_names;
mod statements;
mod transaction;
mod ui_customizations;
mod user_index;
mod user_lists;
mod users;
mod validated_logins;

pub use account_codes::{AccountCode, CodeCheck};
pub use bulk::{BulkBatch, BulkUser, bulk_lookups};
pub use changes::{Change, Feed, MAX_STALENESS};
pub use factors::{StoredFactors, TokenSecrets};
pub use keys::StoredKey;
pub use nodes::Node;
pub use opening::OpenStoreError;
pub use outbox::{ClaimedMessage, DeadMessage, NO_CHANNEL, NewOutboxMessage};
pub use passwords::{PasswordFailures, StoredPassword};
pub use pools::Counter;
pub use provider_tokens::{LeaseResult, StoredTokens};
pub use refresh_families::RefreshFamily;
pub use remembered_devices::RememberedDevice;
pub use replay::ReplayKey;
pub use saml_certificates::StoredCertificate;
pub use sessions::SessionRecord;
pub use sign_in_names::{Lookup, NameHolder};
pub use statements::statements_of_people;
pub use transaction::{CheckedWork, Tx, Work, WorkError};
pub use user_lists::{ListPosition, MAX_LISTED_USERS, UserList};

use crate::base::{Duration, KeyRing, Timestamp};
use crate::config::StoreUrl;
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyPool, AssertSqlSafe, Connection, Executor};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Delay between attempts to set up an SQLite file at the same time as another node: the change to
/// a write-ahead log fails at once while the file is locked.
const SET_UP_DELAY: Duration = Duration::from_millis(100);
/// Timeout of one operation, including the retries of a transaction.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(8);

/// An error of a store operation.
#[derive(Debug)]
pub enum StoreError {
    /// The operation did not finish within `OPERATION_TIMEOUT`.
    Timeout,
    /// The database or its driver returned an error.
    Sql(sqlx::Error),
    /// The database can be read, but the last write failed.
    NotWritable,
    /// Stored data is unreadable; the text names the data.
    Corrupt(String),
}

impl StoreError {
    /// Returns whether a transaction lost against a concurrent one and can be run again: SQLSTATE
    /// 40001 and 40P01, and SQLite's BUSY. 23505 is included: two concurrent first sign-ins of one
    /// person violate a unique constraint.
    fn is_retryable(&self) -> bool {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return false };
        matches!(error.code().as_deref(), Some("40001" | "40P01" | "23505" | "5" | "517"))
    }

    /// Returns whether the database rejects the data of a statement: SQLSTATE classes 22, 23 and
    /// 54, SQLite's TOOBIG, CONSTRAINT and MISMATCH.
    pub fn is_of_data(&self) -> bool {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return false };
        let Some(code) = error.code() else { return false };
        match code.parse::<u32>() {
            // Extended codes of SQLite have the code in the lowest byte; a SQLSTATE has five
            // characters.
            Ok(number) if code.len() < 5 => matches!(number & 0xff, 18..=20),
            _ => ["22", "23", "54"].iter().any(|class| code.starts_with(class)),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::Timeout,
            error => Self::Sql(error),
        }
    }
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout => write!(f, "the store did not answer within {} s", OPERATION_TIMEOUT.as_secs()),
            Self::Sql(error) => write!(f, "the store answered: {error}"),
            Self::NotWritable => f.write_str(
                "the last write to the store failed; help: see the log for its error, such as a full disk",
            ),
            Self::Corrupt(what) => write!(f, "the store holds something unreadable: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// The result of a store method.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The differences between the two database engines.
struct Dialect {
    begin: &'static str,
    /// SQL expression for the database's clock, in milliseconds since the Unix epoch. All nodes
    /// share this clock.
    now: &'static str,
    /// Query for the number of tables named `settings`.
    settings_tables: &'static str,
    connections: u32,
    on_connect: &'static [&'static str],
}

const SQLITE: Dialect = Dialect {
    // A deferred transaction that upgrades from reading to writing can fail without waiting for the
    // lock.
    begin: "BEGIN IMMEDIATE",
    now: "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
    settings_tables: "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'settings'",
    connections: 4,
    on_connect: &[
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA foreign_keys = ON",
        "PRAGMA busy_timeout = 5000",
    ],
};

const POSTGRES: Dialect = Dialect {
    begin: "BEGIN ISOLATION LEVEL SERIALIZABLE",
    now: "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    settings_tables: "SELECT COUNT(*) FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p') AND relname = 'settings' \
                      AND pg_table_is_visible(oid)",
    connections: 10,
    on_connect: &["SET statement_timeout = '6s'", "SET idle_in_transaction_session_timeout = '10s'"],
};

/// A handle on the database. Clones share its connections.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    dialect: &'static Dialect,
    ring: Arc<KeyRing>,
    /// Whether the last write failed; shared by all clones.
    last_write_failed: Arc<AtomicBool>,
}

/// Opens a connection with the settings of its database, and closes it.
async fn set_up(address: &str, dialect: &Dialect) -> Result<()> {
    let mut connection = sqlx::AnyConnection::connect(address).await?;
    for statement in dialect.on_connect {
        connection.execute(*statement).await?;
    }
    connection.close().await?;
    Ok(())
}

/// Returns whether another connection has locked an SQLite file (SQLITE_BUSY).
fn is_locked(error: &StoreError) -> bool {
    let StoreError::Sql(sqlx::Error::Database(error)) = error else { return false };
    error.code().and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

impl Store {
    /// Opens the store at `url` and migrates its tables.
    ///
    /// # Errors
    /// Returns an error if the database cannot be reached, or a migration fails.
    pub async fn open(url: &StoreUrl, ring: Arc<KeyRing>) -> std::result::Result<Self, OpenStoreError> {
        match Self::open_at(url, ring).await {
            Ok(store) => Ok(store),
            Err(error) => Err(OpenStoreError::of(url, error).await),
        }
    }

    async fn open_at(url: &StoreUrl, ring: Arc<KeyRing>) -> Result<Self> {
        if let StoreUrl::Sqlite(path) = url {
            make_private(path).map_err(|error| StoreError::Sql(sqlx::Error::Io(error)))?;
        }
        let store = Self::connect(url, ring).await?;
        migrate::run(&store.pool, url).await?;
        Ok(store)
    }

    /// Opens the store at `url` without creating or changing anything. Returns `None` if the SQLite
    /// file does not exist.
    ///
    /// # Errors
    /// Returns an error if the database cannot be reached.
    pub async fn open_read_only(
        url: &StoreUrl,
        ring: Arc<KeyRing>,
    ) -> std::result::Result<Option<Self>, OpenStoreError> {
        let opened = match url {
            StoreUrl::Sqlite(path) if matches!(path.try_exists(), Ok(false)) => return Ok(None),
            _ => Self::connect(url, ring).await,
        };
        let looked = match opened {
            // SQLite does not read the file until the first query.
            Ok(store) => store.has_tables().await.map(|_| store),
            Err(error) => Err(error),
        };
        match looked {
            Ok(store) => Ok(Some(store)),
            Err(error) => Err(OpenStoreError::of(url, error).await),
        }
    }

    async fn connect(url: &StoreUrl, ring: Arc<KeyRing>) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let (address, dialect): (String, &'static Dialect) = match url {
            StoreUrl::Sqlite(path) => (sqlite_address(path), &SQLITE),
            StoreUrl::Postgres(url) => (url.expose().to_owned(), &POSTGRES),
        };
        if let StoreUrl::Sqlite(_) = url {
            // The pool retries until its deadline after any error, and then reports only the
            // timeout.
            let begun = Instant::now();
            while let Err(error) = set_up(&address, dialect).await {
                if !is_locked(&error) || begun.elapsed() > OPERATION_TIMEOUT {
                    return Err(error);
                }
                tokio::time::sleep(SET_UP_DELAY).await;
            }
        }
        let pool = AnyPoolOptions::new()
            .max_connections(dialect.connections)
            .acquire_timeout(OPERATION_TIMEOUT)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    for statement in dialect.on_connect {
                        connection.execute(*statement).await?;
                    }
                    Ok(())
                })
            })
            .connect(&address)
            .await?;
        Ok(Self { pool, dialect, ring, last_write_failed: Arc::default() })
    }

    /// Checks whether the database can be read and written. This sends a ping and reports the
    /// result of the last write: every node writes to `nodes` every five seconds.
    ///
    /// # Errors
    /// Returns an error if the ping or the last write failed.
    pub async fn ping(&self) -> Result<()> {
        within_deadline(async { Ok(self.pool.acquire().await?.ping().await?) }).await?;
        match self.last_write_failed.load(Ordering::Acquire) {
            true => Err(StoreError::NotWritable),
            false => Ok(()),
        }
    }

    /// Returns the time of the database's clock, which all nodes share.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn time(&self) -> Result<Timestamp> {
        within_deadline(async {
            let query = AssertSqlSafe(format!("SELECT {}", self.dialect.now));
            let now: i64 = sqlx::query_scalar(query).fetch_one(&self.pool).await?;
            Ok(Timestamp::from_millis(now))
        })
        .await
    }

    /// Closes every connection, so that SQLite can remove its temporary files.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn within_deadline<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(OPERATION_TIMEOUT, work).await.unwrap_or(Err(StoreError::Timeout))
}

/// Creates a database file that only its owner may read and write. SQLite gives its auxiliary files
/// the same mode.
fn make_private(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
}

fn sqlite_address(path: &std::path::Path) -> String {
    let mut address = String::from("sqlite://");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => address.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => address.push(char::from(*byte)),
            byte => address.push_str(&format!("%{byte:02X}")),
        }
    }
    address + "?mode=rwc"
}
