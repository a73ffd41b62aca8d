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

use crate::base::{Duration, KeyRing, Timestamp};
use crate::config::StoreUrl;
use sqlx::any::AnyPoolOptions;
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Connection, Executor};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

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
    /// It can be read, and the last write failed.
    NotWritable,
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
            Self::NotWritable => f.write_str(
                "the last write to the store failed; help: see the log for its error, such as a full disk",
            ),
            Self::Corrupt(what) => write!(f, "the store holds something unreadable: {what}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// What a store method answers.
pub type Result<T> = std::result::Result<T, StoreError>;

/// A piece of work inside a transaction.
pub type Work<'t, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 't>>;

/// What the two engines spell differently.
struct Dialect {
    begin: &'static str,
    /// The engine's own clock, in milliseconds since the Unix epoch: one clock for all nodes.
    now: &'static str,
    connections: u32,
    on_connect: &'static [&'static str],
}

const SQLITE: Dialect = Dialect {
    // A deferred transaction that turns writer half-way can fail without ever waiting.
    begin: "BEGIN IMMEDIATE",
    now: "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
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
    connections: 10,
    on_connect: &["SET statement_timeout = '6s'", "SET idle_in_transaction_session_timeout = '10s'"],
};

/// The state that outlives a process.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    dialect: &'static Dialect,
    ring: Arc<KeyRing>,
    /// Whether the last write failed, of all clones of this store.
    last_write_failed: Arc<AtomicBool>,
}

/// An open transaction. Nothing in it counts until [`Store::transaction`] commits it.
///
/// `'a` is how long the work's surroundings live: it lets the work borrow from them.
pub struct Tx<'a> {
    inner: OpenTransaction,
    dialect: &'static Dialect,
    ring: Arc<KeyRing>,
    surroundings: PhantomData<&'a ()>,
}

/// A connection inside a transaction. It returns to the pool only after a COMMIT or a ROLLBACK that succeeded: in
/// whatever state a failed or an interrupted one leaves it, the next user would inherit that. sqlx's own transaction
/// returns it and counts on a later rollback, which fails where SQLite has rolled back by itself, as on a full disk.
struct OpenTransaction {
    connection: PoolConnection<Any>,
    ended: bool,
}

impl OpenTransaction {
    async fn begin(pool: &AnyPool, statement: &'static str) -> Result<Self> {
        let mut begun = Self { connection: pool.acquire().await?, ended: false };
        begun.connection.execute(statement).await?;
        Ok(begun)
    }

    async fn commit(&mut self) -> Result<()> {
        let committed = self.connection.execute("COMMIT").await.map(drop).map_err(StoreError::from);
        match &committed {
            // That is how serializable transactions end often, and no reason to connect anew.
            Err(error) if error.lost_a_race() => self.rollback().await,
            committed => self.ended = committed.is_ok(),
        }
        committed
    }

    async fn rollback(&mut self) {
        self.ended = self.connection.execute("ROLLBACK").await.is_ok();
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        if !self.ended {
            self.connection.close_on_drop();
        }
    }
}

impl Deref for OpenTransaction {
    type Target = AnyConnection;

    fn deref(&self) -> &AnyConnection {
        &self.connection
    }
}

impl DerefMut for OpenTransaction {
    fn deref_mut(&mut self) -> &mut AnyConnection {
        &mut self.connection
    }
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
        let (address, dialect): (String, &'static Dialect) = match url {
            StoreUrl::Sqlite(path) => (sqlite_address(path), &SQLITE),
            StoreUrl::Postgres(url) => (url.expose().to_owned(), &POSTGRES),
        };
        let pool = AnyPoolOptions::new()
            .max_connections(dialect.connections)
            .acquire_timeout(DEADLINE)
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
        let result = within_deadline(attempts).await;
        match &result {
            // What the work itself refuses says nothing of the store.
            Err(StoreError::Corrupt(_)) => {}
            Err(error) if error.lost_a_race() => {}
            result => self.note_write(result.is_err()),
        }
        result
    }

    /// Runs a single statement that writes.
    async fn write(&self, statement: sqlx::query::Query<'_, Any, sqlx::any::AnyArguments>) -> Result<()> {
        let written = within_deadline(async { Ok(statement.execute(&self.pool).await.map(drop)?) }).await;
        self.note_write(written.is_err());
        written
    }

    fn note_write(&self, failed: bool) {
        self.last_write_failed.store(failed, Ordering::Release);
    }

    async fn attempt<'a, T: Send>(
        &self,
        work: &(impl for<'t> Fn(&'t mut Tx<'a>) -> Work<'t, T> + Send + Sync),
    ) -> Result<T> {
        let begun = Instant::now();
        let inner = OpenTransaction::begin(&self.pool, self.dialect.begin).await?;
        let (dialect, ring) = (self.dialect, self.ring.clone());
        let mut tx = Tx { inner, dialect, ring, surroundings: PhantomData };
        match work(&mut tx).await {
            // A process that was stopped for a while must not commit what other nodes no longer look for in the feed.
            Ok(_) if begun.elapsed() > DEADLINE => Err(StoreError::Timeout),
            Ok(value) => tx.inner.commit().await.map(|()| value),
            Err(error) => {
                tx.inner.rollback().await;
                Err(error)
            }
        }
    }

    /// Whether the store can be read and written now: reading is tried, and of writing the last attempt tells. Every node
    /// writes to `nodes` every five seconds.
    ///
    /// # Errors
    /// Where it cannot.
    pub async fn ping(&self) -> Result<()> {
        within_deadline(async { Ok(self.pool.acquire().await?.ping().await?) }).await?;
        match self.last_write_failed.load(Ordering::Acquire) {
            true => Err(StoreError::NotWritable),
            false => Ok(()),
        }
    }

    /// The time by the database's own clock, which is the same for every node.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn time(&self) -> Result<Timestamp> {
        within_deadline(async {
            let query = AssertSqlSafe(format!("SELECT {}", self.dialect.now));
            let now: i64 = sqlx::query_scalar(query).fetch_one(&self.pool).await?;
            Ok(Timestamp::from_millis(now))
        })
        .await
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
