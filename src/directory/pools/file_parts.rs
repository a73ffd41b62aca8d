//! App clients and resource servers of the configuration file: their rows in the database.

use super::file::FileClient;
use crate::base::{Entropy, Secret, Timestamp};
use crate::directory::error::{DirectoryError, Outcome};
use crate::model::{AppClient, ClientSecret, Pool, PoolSource, ResourceServer, ResourceServerSettings};
use crate::store::Tx;

/// Maximum resource servers that are compared with the file's.
const MAX_SERVERS: u32 = 1000;

/// Writes the resource servers of `pool`, and removes those that the file no longer declares.
/// Returns whether any has changed.
pub(super) async fn write_servers(
    tx: &mut Tx<'_>,
    pool: &Pool,
    declared: &[(String, ResourceServerSettings)],
    now: Timestamp,
) -> Outcome<bool> {
    let stored = tx.resource_servers(pool.no, MAX_SERVERS).await?;
    let mut differs = false;
    for server in stored.iter().filter(|server| server.source == PoolSource::File) {
        if !declared.iter().any(|(identifier, _)| *identifier == server.identifier) {
            tx.remove_resource_server(pool.no, &server.identifier).await?;
            differs = true;
        }
    }
    for (identifier, settings) in declared {
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
pub(super) async fn write_client(
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
