//! The user pools that the configuration file declares, with their app clients and resource
//! servers: at the start and at each reload they are written to the database, from which every node
//! reads.

use super::client::end_refresh_families;
use super::file_parts::{write_client, write_servers};
use super::file_settings::{client_settings, pool_settings, server_settings};
use super::publish;
use crate::base::{Entropy, Secret, Timestamp, time_ordered_number};
use crate::catalogue::{self, Catalogue, pool_setting};
use crate::config;
use crate::directory::error::{DirectoryError, Outcome};
use crate::model::{AppClientSettings, Pool, PoolSettings, PoolSource, PoolState, ResourceServerSettings};
use crate::store::{CheckedWork, Counter, Store, Tx};

/// A user pool of the configuration file.
#[derive(Clone, Debug)]
pub struct FilePool {
    /// Its id.
    pub id: String,
    /// Its settings.
    pub settings: PoolSettings,
    /// Its resource servers, by identifier.
    pub resource_servers: Vec<(String, ResourceServerSettings)>,
    /// Its app clients.
    pub clients: Vec<FileClient>,
}

/// An app client of the configuration file.
#[derive(Clone, Debug)]
pub struct FileClient {
    /// Its client id.
    pub id: String,
    /// Its settings.
    pub settings: AppClientSettings,
    /// Its secrets.
    pub secrets: Vec<Secret>,
}

impl FilePool {
    /// Returns the pools that the file of `catalogue` declares, in its order.
    pub fn all(catalogue: &Catalogue) -> Vec<Self> {
        catalogue.declared_pools().map(|(pool, declared)| Self::new(pool, declared)).collect()
    }

    fn new(pool: &catalogue::Pool, declared: &config::UserPool) -> Self {
        let id_of = |name: &str| pool.clients().find(|client| client.name == name);
        let client = |of: &config::AppClient| {
            Some(FileClient {
                id: id_of(&of.name)?.id.clone(),
                settings: client_settings(of),
                secrets: of.secrets.clone(),
            })
        };
        Self {
            id: pool.id.clone(),
            settings: pool_settings(declared),
            resource_servers: declared.resource_servers.iter().map(server_settings).collect(),
            clients: declared.clients.iter().filter_map(client).collect(),
        }
    }
}

/// Writes the pools of the configuration file to the database, as far as they differ, all or none.
/// App clients and resource servers that the file no longer declares are removed, with the clients'
/// refresh tokens. Returns the pools that it no longer declares: they stay with their users, and
/// the API may change them from now on.
///
/// # Errors
/// Returns `InvalidParameterException` if the file changes a sign-in setting of an existing pool,
/// or declares what the API has created; an error if the database fails.
pub async fn write_file_pools(
    store: &Store,
    declared: &[FilePool],
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<Vec<Pool>> {
    let write = store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
        Box::pin(async move { write(tx, declared, now, entropy).await })
    });
    let (ended, released) = write.await?;
    // The refresh tokens of a removed client would be valid again if the file had it again.
    for client_id in ended {
        end_refresh_families(store, &client_id, now, entropy).await?;
    }
    Ok(released)
}

/// Writes what differs. Returns the ids of the clients that were added or removed, neither of which
/// has valid refresh tokens, and the released pools.
async fn write(
    tx: &mut Tx<'_>,
    declared: &[FilePool],
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<(Vec<String>, Vec<Pool>)> {
    let mut pools = Vec::new();
    for of in declared {
        let (pool, differs) = write_pool(tx, of, now, entropy).await?;
        pools.push((of, pool, differs));
    }
    let mut ended = Vec::new();
    for client in tx.app_clients_of_source(PoolSource::File).await? {
        // A client may have moved to another pool, in which it is another client.
        let pool = pools.iter_mut().find(|(_, pool, _)| pool.no == client.pool);
        if pool.as_ref().is_some_and(|(of, ..)| of.clients.iter().any(|known| known.id == client.id)) {
            continue;
        }
        if let Some((_, _, differs)) = pool {
            *differs = true;
        }
        tx.remove_app_client(&client.id).await?;
        ended.push(client.id);
    }
    for (of, pool, mut differs) in pools {
        differs |= write_servers(tx, &pool, &of.resource_servers, now).await?;
        for client in &of.clients {
            let (changed, added) = write_client(tx, &pool, client, now, entropy).await?;
            differs |= changed;
            if added && !ended.contains(&client.id) {
                ended.push(client.id.clone());
            }
        }
        if differs {
            publish(tx, &pool, entropy).await?;
        }
    }
    Ok((ended, release_pools(tx, declared, now, entropy).await?))
}

/// Returns the stored pool, and whether it has changed.
async fn write_pool(
    tx: &mut Tx<'_>,
    declared: &FilePool,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<(Pool, bool)> {
    let Some(mut pool) = tx.pool(&declared.id).await? else {
        let pool = Pool {
            no: time_ordered_number(now, entropy),
            id: declared.id.clone(),
            settings: declared.settings.clone(),
            created_at: now,
            updated_at: now,
            ..Pool::default()
        };
        tx.add_pool(&pool).await?;
        return Ok((pool, true));
    };
    reclaim(tx, &pool, &declared.settings.name).await?;
    // A pool without a name and without users was added by a node before the file was read: nothing
    // depends on its settings yet.
    let is_unused = pool.settings.name.is_empty() && tx.counter(pool.no, Counter::Users).await? == 0;
    if pool.settings.sign_in != declared.settings.sign_in && !is_unused {
        return Err(DirectoryError::invalid(format!(
            "the file changes `username_attributes`, `alias_attributes` or `case_sensitive` of the user pool \
             `{}`, which are fixed when a pool is created\n  help: restore the earlier values, or give the pool \
             another `name`: it is then another pool, with other users",
            declared.settings.name
        )));
    }
    if pool.settings == declared.settings && pool.source == PoolSource::File {
        return Ok((pool, false));
    }
    pool.settings = declared.settings.clone();
    pool.source = PoolSource::File;
    pool.version += 1;
    pool.updated_at = now;
    tx.save_pool(&pool).await?;
    Ok((pool, true))
}

/// Checks that the file may declare the stored pool: it is the file's, or was until the file no
/// longer declared it.
async fn reclaim(tx: &mut Tx<'_>, pool: &Pool, name: &str) -> Outcome<()> {
    let setting = released_setting(&pool.id);
    if pool.state != PoolState::Live {
        return Err(DirectoryError::invalid(format!(
            "the user pool `{name}` of the file is being deleted\n  help: give the pool another `name`, or try again"
        )));
    }
    if pool.source == PoolSource::File {
        return Ok(());
    }
    if tx.setting(&setting).await?.is_none() {
        return Err(DirectoryError::invalid(format!(
            "the file declares the user pool `{name}` with the id `{}`, which the API has created\n  help: give the \
             pool another `name` in the file, or delete the other one first",
            pool.id
        )));
    }
    Ok(tx.remove_setting(&setting).await?)
}

/// Gives the pools that the file no longer declares to the API, and removes their resource servers
/// of the file. Their users stay.
async fn release_pools(
    tx: &mut Tx<'_>,
    declared: &[FilePool],
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<Vec<Pool>> {
    let mut stored = tx.pools_of_source(PoolSource::File).await?;
    stored.retain(|pool| declared.iter().all(|of| of.id != pool.id));
    for pool in &mut stored {
        write_servers(tx, pool, &[], now).await?;
        tx.save_setting(&released_setting(&pool.id), &pool.settings.name).await?;
        pool.source = PoolSource::Api;
        pool.version += 1;
        pool.updated_at = now;
        tx.save_pool(pool).await?;
        publish(tx, pool, entropy).await?;
    }
    Ok(stored)
}

/// Removes the ids of a pool that the file no longer declared. If the file declares its name again,
/// that is another pool.
pub(super) async fn forget_file_pool(tx: &mut Tx<'_>, id: &str) -> Outcome<()> {
    let setting = released_setting(id);
    if let Some(name) = tx.setting(&setting).await? {
        tx.remove_settings_below(&pool_setting(&name)).await?;
        tx.remove_setting(&setting).await?;
    }
    Ok(())
}

/// Returns the name of the setting with the name in the file of a pool that the file no longer
/// declares.
fn released_setting(id: &str) -> String {
    format!("released_pool/{id}")
}
