//! Transactions: run again where they lose a race, ended by a deadline, and never left open on a connection that others get.

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

/// How often a transaction is run again that lost against another one.
const MAX_ATTEMPTS: u32 = 6;

/// A piece of work inside a transaction.
pub type Work<'t, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 't>>;

/// An open transaction. Nothing in it counts until [`Store::transaction`] commits it.
///
/// `'a` is how long the work's surroundings live: it lets the work borrow from them.
pub struct Tx<'a> {
    pub(super) inner: OpenTransaction,
    pub(super) dialect: &'static Dialect,
    pub(super) ring: Arc<KeyRing>,
    surroundings: PhantomData<&'a ()>,
}

/// A connection inside a transaction. It returns to the pool only after a COMMIT or a ROLLBACK that succeeded: in
/// whatever state a failed or an interrupted one leaves it, the next user would inherit that. sqlx's own transaction
/// returns it and counts on a later rollback, which fails where SQLite has rolled back by itself, as on a full disk.
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
            // That is how serializable transactions end often, and no reason to connect anew.
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
    /// Runs `work` in a transaction and commits it. It may be run several times: its other
    /// effects must be idempotent.
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
                    Err(error) if error.is_retryable() && attempt < MAX_ATTEMPTS => {
                        tokio::time::sleep(Duration::from_millis(5 << attempt)).await;
                        attempt += 1;
                    }
                    result => return result,
                }
            }
        };
        let result = within_deadline(attempts).await;
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

    /// Remembers whether the last write failed, for [`Store::ping`].
    pub(super) fn note_write<T>(&self, result: &Result<T>) {
        match result {
            // What the work itself refuses says nothing of the store, and neither does a race.
            Err(StoreError::Corrupt(_)) => {}
            Err(error) if error.is_retryable() => {}
            result => self.last_write_failed.store(result.is_err(), Ordering::Release),
        }
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
            Ok(_) if begun.elapsed() > OPERATION_TIMEOUT => Err(StoreError::Timeout),
            Ok(value) => tx.inner.commit().await.map(|()| value),
            Err(error) => {
                tx.inner.rollback().await;
                Err(error)
            }
        }
    }
}
