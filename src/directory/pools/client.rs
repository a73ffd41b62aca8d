//! App clients of user pools: creation, changes, deletion, lists.

use super::client_settings::{check_client, check_without_providers};
use super::secret::{check_given, next_secret};
use super::{check_writable, live_pool, publish, text_page, text_position};
use crate::base::{Entropy, KeyRing, Secret, Timestamp, client_id};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::directory::page_token::{Page, PageRequest, Tokens};
use crate::model::{AppClient, AppClientSettings, ClientSecret, Pool, PoolSource};
use crate::store::{CheckedWork, Store, Tx};
use crate::token::client_origin;

/// App clients of a pool beyond which none can register itself; Cognito's quota.
const MAX_CLIENTS: u32 = 1000;
/// Families of refresh tokens that one transaction ends.
const FAMILIES_AT_ONCE: u32 = 1000;

/// An app client to create.
#[derive(Clone, Debug, Default)]
pub struct NewClient {
    /// The settings.
    pub settings: AppClientSettings,
    /// The secret; a public client has none.
    pub secret: Option<NewSecret>,
}

/// A secret to create.
#[derive(Clone, Debug)]
pub enum NewSecret {
    /// A random one.
    Generated,
    /// This one.
    Given(Secret),
}

/// An app client with its secrets.
#[derive(Clone, Debug)]
pub struct ClientDescription {
    /// The client.
    pub client: AppClient,
    /// Its secrets, in the order of creation.
    pub secrets: Vec<ClientSecret>,
}

/// Creates an app client.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such pool, and the exceptions of settings
/// that are not valid.
pub async fn create_client(
    tx: &mut Tx<'_>,
    pool_id: &str,
    new: &NewClient,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<ClientDescription> {
    let pool = live_pool(tx, pool_id).await?;
    check_client(tx, &pool, &new.settings, new.secret.is_some()).await?;
    if let Some(NewSecret::Given(secret)) = &new.secret {
        check_given(secret)?;
    }
    add_client(tx, &pool, new, now, entropy).await
}

/// Creates an app client that registers itself (RFC 7591). Its providers are those that the caller
/// knows the pool to have.
///
/// # Errors
/// As [`create_client`].
pub async fn register_client(
    tx: &mut Tx<'_>,
    pool_id: &str,
    new: &NewClient,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<ClientDescription> {
    let pool = live_pool(tx, pool_id).await?;
    check_without_providers(tx, &pool, &new.settings, new.secret.is_some()).await?;
    if tx.has_app_clients(pool.no, MAX_CLIENTS).await? {
        let why = format!("The user pool has {MAX_CLIENTS} app clients: delete some.");
        return Err(DirectoryError::new(ErrorKind::LimitExceeded, why));
    }
    add_client(tx, &pool, new, now, entropy).await
}

async fn add_client(
    tx: &mut Tx<'_>,
    pool: &Pool,
    new: &NewClient,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<ClientDescription> {
    let client = AppClient {
        id: client_id(entropy),
        pool: pool.no,
        source: PoolSource::Api,
        settings: new.settings.clone(),
        version: 1,
        created_at: now,
        updated_at: now,
    };
    if !tx.add_app_client(&client).await? {
        return Err(ErrorKind::TooManyRequests.into());
    }
    let mut secrets = Vec::new();
    if let Some(secret) = &new.secret {
        let secret = next_secret(&client, &secrets, secret, now, entropy);
        tx.add_client_secret(&client, &secret, entropy).await?;
        secrets.push(secret);
    }
    publish(tx, pool, entropy).await?;
    Ok(ClientDescription { client, secrets })
}

/// Replaces the settings of an app client. Without a name, the earlier one stays, and so do the
/// settings that Cognito's API does not have.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such client, and the exceptions of settings
/// that are not valid.
pub async fn update_client(
    tx: &mut Tx<'_>,
    pool_id: &str,
    client_id: &str,
    settings: &AppClientSettings,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<AppClient> {
    let (pool, mut client) = writable_client(tx, pool_id, client_id).await?;
    let has_secret = !tx.client_secrets(client_id).await?.is_empty();
    let earlier = std::mem::replace(&mut client.settings, settings.clone());
    if client.settings.name.is_empty() {
        client.settings.name = earlier.name;
    }
    client.settings.extensions = earlier.extensions;
    check_client(tx, &pool, &client.settings, has_secret).await?;
    client.version += 1;
    client.updated_at = now;
    tx.save_app_client(&client).await?;
    publish(tx, &pool, entropy).await?;
    Ok(client)
}

/// Deletes an app client, its secrets, and its tokens.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such client.
pub async fn delete_client(
    store: &Store,
    pool_id: &str,
    client_id: &str,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<()> {
    let check = store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
        Box::pin(async move { writable_client(tx, pool_id, client_id).await })
    });
    check.await?;
    // The client is removed last: an interrupted deletion can be repeated.
    end_refresh_families(store, client_id, now, entropy).await?;
    let delete = store.checked_transaction(|tx| -> CheckedWork<'_, _, _> {
        Box::pin(async move {
            let (pool, client) = writable_client(tx, pool_id, client_id).await?;
            tx.remove_app_client(&client.id).await?;
            tx.remove_consents_to(&client.id).await?;
            tx.remove_ui_customization(pool.no, &client.id).await?;
            tx.end_refresh_families_of_client(&client.id, FAMILIES_AT_ONCE, now, entropy).await?;
            tx.end_refresh_family_of_id(&client_origin(&client.id), now, entropy).await?;
            publish(tx, &pool, entropy).await
        })
    });
    delete.await
}

/// Ends every refresh token of an app client.
pub(super) async fn end_refresh_families(
    store: &Store,
    client_id: &str,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<()> {
    loop {
        let ended = store.transaction(|tx| {
            Box::pin(async move {
                tx.end_refresh_families_of_client(client_id, FAMILIES_AT_ONCE, now, entropy).await
            })
        });
        if !ended.await? {
            return Ok(());
        }
    }
}

/// Returns an app client of a pool, with its secrets.
///
/// # Errors
/// Returns `ResourceNotFoundException` if the pool has no such client.
pub async fn describe_client(store: &Store, pool: &Pool, client_id: &str) -> Outcome<ClientDescription> {
    let found = store.app_client(client_id).await?.filter(|(client, _)| client.pool == pool.no);
    let (client, _) = found.ok_or_else(|| not_found(client_id))?;
    let secrets = store.client_secrets(client_id).await?;
    Ok(ClientDescription { client, secrets })
}

/// Returns a page of the app clients of `pool`, in the order of their ids.
///
/// # Errors
/// Returns `InvalidParameterException` for a page that is not valid.
pub async fn list_clients(
    store: &Store,
    ring: &KeyRing,
    pool: &Pool,
    page: PageRequest<'_>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<Page<AppClient>> {
    let tokens = Tokens { ring, list: &format!("clients/{}", pool.id), now };
    let (limit, after) = (page.limit()?, text_position(page.position(tokens)?)?);
    let clients = store.app_clients(pool.no, &after, limit + 1).await?;
    Ok(text_page(tokens, clients, limit, |client| &client.id, entropy))
}

/// Returns an app client of a pool in use that the configuration file does not declare.
pub(super) async fn writable_client(
    tx: &mut Tx<'_>,
    pool_id: &str,
    client_id: &str,
) -> Outcome<(Pool, AppClient)> {
    let pool = live_pool(tx, pool_id).await?;
    let client = tx.app_client(client_id).await?.filter(|client| client.pool == pool.no);
    let client = client.ok_or_else(|| not_found(client_id))?;
    check_writable(client.source, "app client", client_id)?;
    Ok((pool, client))
}

pub(super) fn not_found(client_id: &str) -> DirectoryError {
    DirectoryError::new(ErrorKind::ClientNotFound, format!("User pool client {client_id} does not exist."))
}
