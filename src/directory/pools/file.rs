//! The user pool that the configuration file declares, with its app clients and resource servers:
//! at the start and at each reload they are written to the database, from which every node reads.

use super::client::end_refresh_families;
use super::file_settings::{client_settings, pool_settings, server_settings};
use super::publish;
use crate::base::{Entropy, Secret, Timestamp, time_ordered_number};
use crate::catalogue::Catalogue;
use crate::directory::error::{DirectoryError, Outcome};
use crate::model::{
    AppClient, AppClientSettings, ClientSecret, Pool, PoolSettings, PoolSource, ResourceServer,
    ResourceServerSettings,
};
use crate::store::{CheckedWork, Counter, Store, Tx};

/// Maximum resource servers that are compared with the file's.
const MAX_SERVERS: u32 = 1000;

/// The user pool of the configuration file.
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
    /// Returns what the file of `catalogue` declares.
    pub fn of(catalogue: &Catalogue) -> Self {
        let declared = &catalogue.config.user_pool;
        let id_of = |name: &str| catalogue.pool.clients().find(|client| client.name == name);
        let client = |of: &crate::config::AppClient| {
            Some(FileClient {
                id: id_of(&of.name)?.id.clone(),
                settings: client_settings(of),
                secrets: of.secrets.clone(),
            })
        };
        Self {
            id: catalogue.pool.id.clone(),
            settings: pool_settings(declared),
            resource_servers: declared.resource_servers.iter().map(server_settings).collect(),
            clients: declared.clients.iter().filter_map(client).collect(),
        }
    }
}

/// Writes the pool of the configuration file to the database, as far as it differs. App clients and
/// resource servers that the file no longer declares are removed, with the clients' refresh tokens.
///
/// # Errors
/// Returns `InvalidParameterException` if the file changes a sign-in setting of an existing pool,
/// or declares what the API has created; an error if the database fails.
pub async fn write_file_pool(
    store: &Store,
    declared: &FilePool,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<()> {
    let write = store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
        Box::pin(async move { write(tx, declared, now, entropy).await })
    });
    // The refresh tokens of a removed client would be valid again if the file had it again.
    for client_id in write.await? {
        end_refresh_families(store, &client_id, now, entropy).await?;
    }
    Ok(())
}

/// Writes what differs. Returns the ids of the clients that were added or removed: neither has
/// valid refresh tokens.
async fn write(
    tx: &mut Tx<'_>,
    declared: &FilePool,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<Vec<String>> {
    let (pool, mut differs) = write_pool(tx, declared, now, entropy).await?;
    differs |= write_servers(tx, &pool, declared, now).await?;
    let mut ended = Vec::new();
    for client in tx.app_clients_of_source(PoolSource::File).await? {
        let is_declared = declared.clients.iter().any(|of| of.id == client.id);
        // A pool of another name is another pool: its clients are no longer the file's.
        if !is_declared || client.pool != pool.no {
            tx.remove_app_client(&client.id).await?;
            ended.push(client.id);
        }
    }
    for client in &declared.clients {
        let (changed, added) = write_client(tx, &pool, client, now, entropy).await?;
        differs |= changed;
        if added && !ended.contains(&client.id) {
            ended.push(client.id.clone());
        }
    }
    if differs || !ended.is_empty() {
        publish(tx, &pool, entropy).await?;
    }
    Ok(ended)
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

async fn write_servers(tx: &mut Tx<'_>, pool: &Pool, declared: &FilePool, now: Timestamp) -> Outcome<bool> {
    let stored = tx.resource_servers(pool.no, MAX_SERVERS).await?;
    let mut differs = false;
    for server in stored.iter().filter(|server| server.source == PoolSource::File) {
        if !declared.resource_servers.iter().any(|(identifier, _)| *identifier == server.identifier) {
            tx.remove_resource_server(pool.no, &server.identifier).await?;
            differs = true;
        }
    }
    for (identifier, settings) in &declared.resource_servers {
        let mut server = ResourceServer {
            pool: pool.no,
            identifier: identifier.clone(),
            source: PoolSource::File,
            settings: settings.clone(),
            created_at: now,
            updated_at: now,
        };
        match stored.iter().find(|stored| stored.identifier == *identifier) {
            Some(stored) if stored.source == PoolSource::Api => {
                return Err(taken("resource server", identifier));
            }
            Some(stored) if stored.settings == *settings => {}
            Some(stored) => {
                server.created_at = stored.created_at;
                tx.save_resource_server(&server).await?;
                differs = true;
            }
            None => differs |= tx.add_resource_server(&server).await?,
        }
    }
    Ok(differs)
}

/// Returns whether the client has changed, and whether it was added.
async fn write_client(
    tx: &mut Tx<'_>,
    pool: &Pool,
    declared: &FileClient,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<(bool, bool)> {
    let Some(mut client) = tx.app_client(&declared.id).await? else {
        let client = AppClient {
            id: declared.id.clone(),
            pool: pool.no,
            source: PoolSource::File,
            settings: declared.settings.clone(),
            version: 1,
            created_at: now,
            updated_at: now,
        };
        tx.add_app_client(&client).await?;
        write_secrets(tx, &client, &declared.secrets, now, entropy).await?;
        return Ok((true, true));
    };
    if client.source == PoolSource::Api {
        return Err(taken("app client", &declared.id));
    }
    let differs = client.settings != declared.settings;
    let rotated = write_secrets(tx, &client, &declared.secrets, now, entropy).await?;
    if differs || rotated {
        client.settings = declared.settings.clone();
        client.version += 1;
        client.updated_at = now;
        tx.save_app_client(&client).await?;
    }
    Ok((differs || rotated, false))
}

/// Stores the secrets of a client, if they differ. Returns whether they do.
async fn write_secrets(
    tx: &mut Tx<'_>,
    client: &AppClient,
    declared: &[Secret],
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<bool> {
    let stored = tx.client_secrets(&client.id).await?;
    if stored.iter().map(|stored| &stored.secret).eq(declared) {
        return Ok(false);
    }
    tx.remove_client_secrets(&client.id).await?;
    for (number, secret) in (1..).zip(declared) {
        // The order of the ids is the order of the file, which has at most two.
        let id = format!("{}--file{number}", client.id);
        let secret = ClientSecret { id, secret: secret.clone(), created_at: now };
        tx.add_client_secret(client, &secret, entropy).await?;
    }
    Ok(true)
}

fn taken(what: &str, id: &str) -> DirectoryError {
    DirectoryError::invalid(format!(
        "the file declares the {what} `{id}`, which the API has created\n  help: give it another id in the file, \
         or delete the other one first"
    ))
}
