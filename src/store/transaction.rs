//! Transactions. They are retried after conflicts and have a deadline. Connections with an open
//! transaction never return to the pool.

use super::{Dialect, OPERATION_TIMEOUT, Result, Store, StoreError, within_deadline};
use crate::base::{Duration, KeyRing};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Executor};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Maximum attempts of a transaction that conflicts with others.
const MAX_ATTEMPTS: u32 = 6;

/// The future of the work inside a transaction.
pub type Work<'t, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 't>>;

/// The future of the work inside a transaction, with an error type of its own.
pub type CheckedWork<'t, T, E> = Pin<Box<dyn Future<Output = std::result::Result<T, E>> + Send + 't>>;

/// An error of the work inside a transaction: an error of the database, or a rejection by the work
/// itself.
pub trait WorkError: From<StoreError> + Send {
    /// Returns the database's error, if it is one.
    fn store_error(&self) -> Option<&StoreError>;
}

impl WorkError for StoreError {
    fn store_error(&self) -> Option<&StoreError> {
        Some(self)
    }
}

fn is_retryable(error: &impl WorkError) -> bool {
    error.store_error().is_some_and(StoreError::is_retryable)
}

/// An open transaction. Nothing in it takes effect until [`Store::transaction`] commits it.
///
/// `'a` is the lifetime of the values that the work may borrow.
pub struct Tx<'a> {
    pub(super) inner: OpenTransaction,
    pub(super) dialect: &'static Dialect,
    pub(super) ring: Arc<KeyRing>,
    surroundings: PhantomData<&'a ()>,
}

/// A connection inside a transaction. It returns to the pool only after a successful COMMIT or
/// ROLLBACK: otherwise the next user would inherit the state of a failed or interrupted
/// transaction. sqlx's own transaction returns the connection and relies on a later rollback. That
/// rollback fails if SQLite has already rolled back by itself, as on a full disk.
pub(super) struct OpenTransaction {
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
            // Serializable transactions often fail at COMMIT. A rollback suffices; the connection
            // stays usable.
            Err(error) if error.is_retryable() => self.rollback().await,
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
    /// Runs `work` in a transaction and commits it. The work may run several times, so its effects
    /// outside the transaction must be idempotent.
    ///
    /// # Errors
    /// Returns the error of `work`, or an error of the database. Nothing is committed then.
    pub async fn transaction<'a, T: Send>(
        &self,
        work: impl for<'t> Fn(&'t mut Tx<'a>) -> Work<'t, T> + Send + Sync,
    ) -> Result<T> {
        self.checked_transaction(work).await
    }

    /// Runs `work` like [`Store::transaction`]. Any error of the work, also a rejection, rolls back
    /// everything that it wrote.
    ///
    /// # Errors
    /// Returns the error of `work`, or an error of the database.
    pub async fn checked_transaction<'a, T: Send, E: WorkError>(
        &self,
        work: impl for<'t> Fn(&'t mut Tx<'a>) -> CheckedWork<'t, T, E> + Send + Sync,
    ) -> std::result::Result<T, E> {
        let attempts = async {
            let mut attempt = 1;
            loop {
                match self.attempt(&work).await {
                    Err(error) if is_retryable(&error) && attempt < MAX_ATTEMPTS => {
                        tokio::time::sleep(Duration::from_millis(5 << attempt)).await;
                        attempt += 1;
                    }
                    result => return result,
                }
            }
        };
        let result = tokio::time::timeout(OPERATION_TIMEOUT, attempts).await;
        let result = result.unwrap_or_else(|_| Err(StoreError::Timeout.into()));
        self.note_write(&result);
        result
    }

    /// Runs a single statement that writes.
    pub(super) async fn write(
        &self,
        statement: sqlx::query::Query<'_, Any, sqlx::any::AnyArguments>,
    ) -> Result<()> {
        let result = within_deadline(async { Ok(statement.execute(&self.pool).await.map(drop)?) }).await;
        self.note_write(&result);
        result
    }

    /// Records whether the last write failed, for [`Store::ping`].
    pub(super) fn note_write<T, E: WorkError>(&self, result: &std::result::Result<T, E>) {
        match result.as_ref().map_err(E::store_error) {
            // A rejection by the work itself does not concern the database, and neither does a
            // conflict or a value that no column takes.
            Err(None | Some(StoreError::Corrupt(_))) => {}
            Err(Some(error)) if error.is_retryable() || error.is_of_data() => {}
            result => self.last_write_failed.store(result.is_err(), Ordering::Release),
        }
    }

    async fn attempt<'a, T: Send, E: WorkError>(
        &self,
        work: &(impl for<'t> Fn(&'t mut Tx<'a>) -> CheckedWork<'t, T, E> + Send + Sync),
    ) -> std::result::Result<T, E> {
        let begun = Instant::now();
        let inner = OpenTransaction::begin(&self.pool, self.dialect.begin).await?;
        let (dialect, ring) = (self.dialect, self.ring.clone());
        let mut tx = Tx { inner, dialect, ring, surroundings: PhantomData };
        match work(&mut tx).await {
            // A process that was suspended for a while must not commit a change that other nodes no
            // longer look for in the feed.
            Ok(_) if begun.elapsed() > OPERATION_TIMEOUT => Err(StoreError::Timeout.into()),
            Ok(value) => tx.inner.commit().await.map(|()| value).map_err(E::from),
            Err(error) => {
                tx.inner.rollback().await;
                Err(error)
            }
        }
    }
}
