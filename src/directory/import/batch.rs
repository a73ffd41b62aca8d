//! Writes batches: each in one transaction. A row that the database refuses fails alone.

use super::ImportTarget;
use super::claims::{Claims, Lookup};
use super::row::{ImportedUser, Row};
use crate::base::{Duration, time_ordered_number};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::directory::groups::{insert_group, too_many_groups_of_pool};
use crate::model::PoolState;
use crate::store::{BulkUser, CheckedWork, Counter, Tx};

/// Attempts to write a batch while the database fails.
const MAX_ATTEMPTS: u32 = 4;
/// The wait before the second attempt; it doubles.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// The result of each row of a batch.
type Results = Vec<Outcome<()>>;

/// Writes batches.
pub struct Writer<'a> {
    target: &'a ImportTarget,
    /// What the rows of a dry run have taken so far.
    claims: Claims,
}

impl<'a> Writer<'a> {
    /// Writes to a target.
    pub fn new(target: &'a ImportTarget) -> Self {
        Self { target, claims: Claims::default() }
    }

    /// Writes a batch. Returns the result of each row whose entry was not refused before.
    ///
    /// # Errors
    /// Returns an error if the database fails, or the pool is deleted.
    pub async fn write(&mut self, rows: &[&Row]) -> Outcome<Results> {
        match self.retry(rows).await {
            Err(error) if is_of_a_row(&error) => {
                let mut results = Results::with_capacity(rows.len());
                for row in rows {
                    match self.retry(&[*row]).await {
                        Ok(result) => results.extend(result),
                        Err(error) if is_of_a_row(&error) => results.push(Err(error)),
                        Err(error) => return Err(error),
                    }
                }
                Ok(results)
            }
            results => results,
        }
    }

    async fn retry(&mut self, rows: &[&Row]) -> Outcome<Results> {
        let mut attempt = 1;
        loop {
            match self.attempt(rows).await {
                Err(error @ DirectoryError::Store(_)) if attempt < MAX_ATTEMPTS && !is_of_a_row(&error) => {
                    tokio::time::sleep(RETRY_INTERVAL * 2_u32.pow(attempt - 1)).await;
                    attempt += 1;
                }
                results => return results,
            }
        }
    }

    async fn attempt(&mut self, rows: &[&Row]) -> Outcome<Results> {
        let users: Vec<&ImportedUser> = rows.iter().filter_map(|row| row.user()).collect();
        match (users.is_empty(), self.target.dry_run) {
            (false, false) => self.write_users(&users).await,
            (false, true) => self.check_users(&users).await,
            (true, false) => self.write_groups(rows).await,
            (true, true) => self.check_groups(rows).await,
        }
    }

    async fn write_users(&self, users: &[&ImportedUser]) -> Outcome<Results> {
        let target = self.target;
        self.transaction(|tx| -> CheckedWork<'_, _, _> {
            Box::pin(async move {
                let found = Lookup::read(tx, &target.pool, users).await?;
                let (mut claims, mut results, mut batch) = (Claims::default(), Vec::new(), Vec::new());
                for user in users {
                    let groups = claims.take(&target.pool, user, &found);
                    results.push(groups.map(|groups| batch.push((&user.stored, groups))));
                }
                add_users(tx, target, &batch).await?;
                Ok(results)
            })
        })
        .await
    }

    async fn check_users(&mut self, users: &[&ImportedUser]) -> Outcome<Results> {
        let pool = &self.target.pool;
        let read = self.transaction(|tx| -> CheckedWork<'_, _, _> {
            Box::pin(async move { Lookup::read(tx, pool, users).await })
        });
        let found = read.await?;
        Ok(users.iter().map(|user| self.claims.take(pool, user, &found).map(drop)).collect())
    }

    async fn write_groups(&self, rows: &[&Row]) -> Outcome<Results> {
        let target = self.target;
        self.transaction(|tx| -> CheckedWork<'_, _, _> {
            Box::pin(async move {
                let (now, entropy) = (target.clock.now(), &*target.entropy);
                let first = time_ordered_number(now, entropy);
                let mut results = Vec::new();
                for (no, group) in (first..).zip(rows.iter().filter_map(|row| row.group())) {
                    match insert_group(tx, &target.pool, group, no, now, entropy).await {
                        Err(error @ DirectoryError::Store(_)) => return Err(error),
                        result => results.push(result.map(drop)),
                    }
                }
                Ok(results)
            })
        })
        .await
    }

    async fn check_groups(&mut self, rows: &[&Row]) -> Outcome<Results> {
        let pool = &self.target.pool;
        let groups: Vec<_> = rows.iter().filter_map(|row| row.group()).collect();
        let names: &Vec<&str> = &groups.iter().map(|group| group.name.as_str()).collect();
        let read = self.transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                let count = tx.counter(pool.no, Counter::Groups).await?;
                Ok((tx.group_numbers(pool.no, names).await?, count))
            })
        });
        let (found, count) = read.await?;
        let count = usize::try_from(count).unwrap_or_default();
        let quota = usize::try_from(pool.settings.quotas.groups).unwrap_or(usize::MAX);
        let mut check = |name: &str| {
            if found.contains_key(name) || self.claims.groups.contains(name) {
                return Err(ErrorKind::GroupExists.into());
            }
            if count + self.claims.groups.len() >= quota {
                return Err(too_many_groups_of_pool());
            }
            self.claims.groups.insert(name.to_owned());
            Ok(())
        };
        Ok(names.iter().map(|name| check(name)).collect())
    }

    /// Runs `work` in a transaction, if the pool is in use.
    async fn transaction<'w, T: Send>(
        &self,
        work: impl for<'t> Fn(&'t mut Tx<'w>) -> CheckedWork<'t, T, DirectoryError> + Send + Sync,
    ) -> Outcome<T> {
        let is_live = self.target.store.pool(&self.target.pool.id).await?;
        if is_live.is_none_or(|pool| pool.state != PoolState::Live) {
            return Err(ErrorKind::PoolNotFound.into());
        }
        self.target.store.checked_transaction(work).await
    }
}

async fn add_users(tx: &mut Tx<'_>, target: &ImportTarget, batch: &[(&BulkUser, Vec<i64>)]) -> Outcome<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let (now, entropy) = (target.clock.now(), &*target.entropy);
    let first_no = tx.free_user_numbers(batch.len(), now, entropy).await?;
    tx.add_users(&target.pool, batch, first_no, entropy).await?;
    Ok(())
}

/// Returns whether the data of a row is at fault, rather than the state of the database.
fn is_of_a_row(error: &DirectoryError) -> bool {
    matches!(error, DirectoryError::Store(error) if error.is_of_data())
}
