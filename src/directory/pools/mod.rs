//! User pools made at run time, and what belongs to them: app clients, secrets, domains, resource
//! servers and identity providers. What the configuration file declares is read-only here.

mod attributes;
mod callback_url;
mod check;
mod client;
mod client_settings;
mod domain;
mod file;
mod file_parts;
mod file_settings;
mod pool;
mod provider;
mod provider_settings;
mod resource_server;
mod secret;
mod tags;
mod ui_customization;

pub use attributes::add_custom_attributes;
pub use check::check_triggers;
pub use client::{
    ClientDescription, NewClient, NewSecret, create_client, delete_client, describe_client, list_clients,
    register_client, update_client,
};
pub use domain::{create_domain, delete_domain, find_domain, list_domains, update_domain};
pub use file::{FileClient, FilePool, write_file_pools};
pub use pool::{
    EMAIL_MFA, MfaChange, PoolChanges, SMS_MFA, create_pool, delete_pool, find_pool, list_pools, update_pool,
    with_mode,
};
pub use provider::{
    NewProvider, ProviderChanges, create_provider, delete_provider, describe_provider, find_provider,
    list_providers, update_provider,
};
pub use resource_server::{
    create_resource_server, delete_resource_server, describe_resource_server, list_resource_servers,
    update_resource_server,
};
pub use secret::{add_client_secret, list_client_secrets, remove_client_secret};
pub use tags::{TagChanges, change_tags};
pub use ui_customization::{
    NewUiCustomization, find_ui_customization, refuse_declared_branding, set_ui_customization,
};

use super::error::{DirectoryError, ErrorKind, Outcome};
use super::page_token::{Page, Tokens};
use crate::base::Entropy;
use crate::model::{Pool, PoolSource, PoolState};
use crate::store::{Change, Tx};

/// Returns the pool with this id, which is in use.
async fn live_pool(tx: &mut Tx<'_>, id: &str) -> Outcome<Pool> {
    let pool = tx.pool(id).await?.filter(|pool| pool.state == PoolState::Live);
    pool.ok_or_else(|| no_pool(id))
}

fn no_pool(id: &str) -> DirectoryError {
    DirectoryError::new(ErrorKind::PoolNotFound, format!("User pool {id} does not exist."))
}

/// Refuses a change of what the configuration file declares.
fn check_writable(source: PoolSource, what: &str, name: &str) -> Outcome<()> {
    match source {
        PoolSource::Api => Ok(()),
        PoolSource::File => Err(DirectoryError::new(
            ErrorKind::ReadOnly,
            format!("{what} `{name}` is declared in the configuration file; help: change the file"),
        )),
    }
}

/// Publishes a change of `pool` to every node.
async fn publish(tx: &mut Tx<'_>, pool: &Pool, entropy: &dyn Entropy) -> Outcome<()> {
    Ok(tx.publish(&Change::Pool(pool.id.clone()), entropy).await?)
}

/// Returns the text in the token of a page, empty for the first page.
fn text_position(position: Option<Vec<u8>>) -> Outcome<String> {
    let text = String::from_utf8(position.unwrap_or_default());
    text.map_err(|_| DirectoryError::invalid("Invalid pagination token."))
}

/// Cuts `entries`, which are in the order of `key`, and of which there is one too many if another
/// page follows.
fn text_page<T>(
    tokens: Tokens<'_>,
    mut entries: Vec<T>,
    limit: u32,
    key: impl Fn(&T) -> &str,
    entropy: &dyn Entropy,
) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = entries.len() > limit;
    entries.truncate(limit);
    let last = entries.last().filter(|_| more);
    let token = last.map(|entry| tokens.seal(key(entry).as_bytes(), entropy));
    Page { entries, token }
}
