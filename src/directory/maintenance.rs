//! Background work on users: rows of older nodes, deleted pools.

use super::error::Outcome;
use super::lifecycle::delete_user;
use crate::base::{Entropy, Timestamp};
use crate::store::{CheckedWork, Result, Store, Tx};
use crate::token::{PoolKeys, TokenUse};

/// Users of one transaction.
const BATCH: u32 = 200;
/// Pools of one round.
const POOLS_AT_ONCE: u32 = 10;

/// Gives numbers and search keys to users that a node of an older version wrote, at most `batches`
/// transactions. Returns how many users it has indexed.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn index_users(
    store: &Store,
    batches: u32,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<usize> {
    let mut indexed = 0;
    for _ in 0..batches {
        let ids = store.unindexed_users(BATCH).await?;
        if ids.is_empty() {
            break;
        }
        let ids_of_batch = &ids;
        let work =
            store.transaction(|tx| Box::pin(async move { tx.index_users(ids_of_batch, now, entropy).await }));
        work.await?;
        indexed += ids.len();
    }
    Ok(indexed)
}

/// Removes the users and groups of deleted pools, at most `batches` transactions, then what else
/// they have, and then the pools. Returns whether anything is left.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn purge_pools(
    store: &Store,
    batches: u32,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<bool> {
    let pools = store.deleted_pools(POOLS_AT_ONCE).await?;
    let mut left = !pools.is_empty();
    let mut failed = Vec::new();
    for _ in 0..batches {
        let pools = store.deleted_pools(POOLS_AT_ONCE).await?;
        left = !pools.is_empty();
        // One that cannot be removed now must not keep the others.
        let Some(pool) = pools.iter().find(|pool| !failed.contains(&pool.no)) else { break };
        let removed = store.checked_transaction(|tx| -> CheckedWork<'_, (), _> {
            Box::pin(async move { purge_batch(tx, (&pool.id, pool.no), now, entropy).await })
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, pool = pool.id, "the rows of a deleted user pool were not removed");
            failed.push(pool.no);
        }
    }
    Ok(left)
}

async fn purge_batch(
    tx: &mut Tx<'_>,
    (pool_id, pool): (&str, i64),
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<()> {
    let users = tx.users_of_pool(pool_id, BATCH).await?;
    for user in &users {
        delete_user(tx, user, now, entropy).await?;
    }
    let groups = tx.groups(pool, BATCH).await?;
    for group in &groups {
        tx.remove_group(group.no).await?;
    }
    if users.is_empty() && groups.is_empty() {
        tx.remove_pool_domains(pool).await?;
        tx.remove_ui_customizations(pool).await?;
        tx.remove_app_clients(pool).await?;
        tx.remove_resource_servers(pool).await?;
        tx.remove_identity_providers(pool).await?;
        for token_use in TokenUse::ALL {
            tx.remove_signing_keys_before(&PoolKeys::purpose(pool_id, token_use), i64::MAX).await?;
        }
        tx.remove_pool(pool).await?;
    }
    Ok(())
}
