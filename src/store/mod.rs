//! One store over SQL: SQLite on one machine, any Postgres-wire engine on several. One text of SQL
//! serves both, through `sqlx::Any`. A file per part of the model; every method is a face of
//! [`Store`] (reads) or [`Tx`] (writes).

mod changes;
mod codes;
mod identities;
mod judged_logins;
mod keys;
mod migrate;
mod nodes;
mod once;
mod provider_tokens;
mod purge;
mod revoked_tokens;
mod sessions;
mod settings;
mod users;

pub use changes::{Change, Feed, SILENCE};
pub use keys::StoredKey;
pub use nodes::Node;
pub use once::Once;
pub use provider_tokens::{Lease, StoredTokens};
pub use sessions::Found;

use crate::base::{Duration, KeyRing};
use crate::config::StoreUrl;
use sqlx::any::AnyPoolOptions;
use sqlx::{Any, AnyPool, Connection, Executor};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

/// How long one piece of work on the store may take.
const DEADLINE: Duration = Duration::from_secs(8);
/// How often a transaction is run again that lost against another one.
const ATTEMPTS: u32 = 6;

/// Why the store did not do it.
#[derive(Debug)]
pub enum StoreError {
    /// It did not answer in time.
    Timeout,
    /// It answered with an error.
    Sql(sqlx::Error),
    /// What it holds cannot be read.
    Corrupt(String),
}

impl StoreError {
    /// A transaction lost against another one and may be run again: SQLSTATE 40001 and 40P01, SQLite's
    /// BUSY, and 23505, which is what two first sign-ins of one person come to.
    fn lost_a_race(&self) -> bool {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return false };
        matches!(error.code().as_deref(), Some("40001" | "40P01" | "23505" | "5" | "517"))
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
            Self::Timeout => write!(f, "the store did not answer within {} s", DEADLINE.as_secs()),
            Self::Sql(error) => write!(f, "the store answered: {error}"),
            Self::Corrupt(what) => write!(f, "the store holds something unreadable: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// What a store method answers.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A piece of work inside a transaction.
pub type Work<'t, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 't>>;

/// The state that outlives a process.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    begin: &'static str,
    ring: Arc<KeyRing>,
}

/// An open transaction. Nothing in it counts until [`Store::transaction`] commits it.
///
/// `'a` is how long the work's surroundings live: it lets the work borrow from them.
pub struct Tx<'a> {
    inner: sqlx::Transaction<'static, Any>,
    ring: Arc<KeyRing>,
    surroundings: PhantomData<&'a ()>,
}

impl Store {
    /// Opens the store at `url`, and brings its tables up to date.
    ///
    /// # Errors
    /// Where it cannot be reached, or its tables cannot be brought up to date.
    pub async fn open(url: &StoreUrl, ring: Arc<KeyRing>) -> Result<Self> {
        if let StoreUrl::Sqlite(path) = url {
            make_private(path).map_err(|error| StoreError::Sql(sqlx::Error::Io(error)))?;
        }
        let store = Self::connect(url, ring).await?;
        migrate::run(&store.pool, url).await?;
        Ok(store)
    }

    /// Opens the store at `url` for somebody who only looks: nothing is made or changed. None where there is no
    /// such file.
    ///
    /// # Errors
    /// Where it cannot be reached.
    pub async fn look(url: &StoreUrl, ring: Arc<KeyRing>) -> Result<Option<Self>> {
        match url {
            StoreUrl::Sqlite(path) if !path.exists() => Ok(None),
            _ => Self::connect(url, ring).await.map(Some),
        }
    }

    async fn connect(url: &StoreUrl, ring: Arc<KeyRing>) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let (address, connections, begin, on_connect): (String, _, _, &[&str]) = match url {
            StoreUrl::Sqlite(path) => (
                sqlite_address(path),
                4,
                // A deferred transaction that turns writer half-way can fail without ever waiting.
                "BEGIN IMMEDIATE",
                &[
                    "PRAGMA journal_mode = WAL",
                    "PRAGMA synchronous = FULL",
                    "PRAGMA foreign_keys = ON",
                    "PRAGMA busy_timeout = 5000",
                ],
            ),
            StoreUrl::Postgres(url) => (
                url.expose().to_owned(),
                10,
                "BEGIN ISOLATION LEVEL SERIALIZABLE",
                &["SET statement_timeout = '6s'", "SET idle_in_transaction_session_timeout = '10s'"],
            ),
        };
        let pool = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(DEADLINE)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    for statement in on_connect {
                        connection.execute(*statement).await?;
                    }
                    Ok(())
                })
            })
            .connect(&address)
            .await?;
        Ok(Self { pool, begin, ring })
    }

    /// Runs `work` in a transaction and commits it. It may be run several times: what it does
    /// beside the transaction must bear that.
    ///
    /// # Errors
    /// Whatever `work` answers, and what the store does; nothing of it counts then.
    pub async fn transaction<'a, T: Send>(
        &self,
        work: impl for<'t> Fn(&'t mut Tx<'a>) -> Work<'t, T> + Send + Sync,
    ) -> Result<T> {
        let attempts = async {
            let mut attempt = 1;
            loop {
                match self.attempt(&work).await {
                    Err(error) if error.lost_a_race() && attempt < ATTEMPTS => {
                        tokio::time::sleep(Duration::from_millis(5 << attempt)).await;
                        attempt += 1;
                    }
                    result => return result,
                }
            }
        };
        within_deadline(attempts).await
    }

    async fn attempt<'a, T: Send>(
        &self,
        work: &(impl for<'t> Fn(&'t mut Tx<'a>) -> Work<'t, T> + Send + Sync),
    ) -> Result<T> {
        let inner = self.pool.begin_with(self.begin).await?;
        let mut tx = Tx { inner, ring: self.ring.clone(), surroundings: PhantomData };
        let value = work(&mut tx).await?;
        tx.inner.commit().await?;
        Ok(value)
    }

    /// Whether the store answers now.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn ping(&self) -> Result<()> {
        within_deadline(async { Ok(self.pool.acquire().await?.ping().await?) }).await
    }

    /// Closes every connection, so that SQLite can tidy its files.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn within_deadline<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(DEADLINE, work).await.unwrap_or(Err(StoreError::Timeout))
}

/// Makes a database file that only its owner may read; SQLite gives the files beside it the same mode.
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
