//! Resource servers of user pools, and their scopes.

use super::check::{check_length, check_name, check_pattern, check_visible, duplicate};
use super::{check_writable, live_pool, publish, text_page, text_position};
use crate::base::{Entropy, KeyRing, Timestamp};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::directory::page_token::{Page, PageRequest, Tokens};
use crate::model::{Pool, PoolSource, ResourceServer, ResourceServerSettings};
use crate::store::{Store, Tx};

/// Maximum resource servers of a pool.
pub(super) const MAX_RESOURCE_SERVERS: u32 = 25;
/// Maximum scopes of a resource server.
const MAX_SCOPES: usize = 100;
/// Maximum characters of identifiers, names and descriptions.
const MAX_TEXT_LENGTH: usize = 256;

/// Creates a resource server.
///
/// # Errors
/// Returns `InvalidParameterException` for settings that are not valid or an identifier that is
/// taken, `LimitExceededException` for the 26th, `ResourceNotFoundException` if there is no such
/// pool.
pub async fn create_resource_server(
    tx: &mut Tx<'_>,
    pool_id: &str,
    identifier: &str,
    settings: &ResourceServerSettings,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<ResourceServer> {
    let pool = live_pool(tx, pool_id).await?;
    check_visible("identifier", identifier, MAX_TEXT_LENGTH)?;
    check_settings(settings)?;
    let server = ResourceServer {
        pool: pool.no,
        identifier: identifier.to_owned(),
        source: PoolSource::Api,
        settings: settings.clone(),
        created_at: now,
        updated_at: now,
    };
    if !tx.add_resource_server(&server).await? {
        let message = format!("A resource server with the identifier {identifier} already exists.");
        return Err(DirectoryError::invalid(message));
    }
    let all = tx.resource_servers(pool.no, MAX_RESOURCE_SERVERS + 1).await?.len();
    if all > usize::try_from(MAX_RESOURCE_SERVERS).unwrap_or(usize::MAX) {
        let message = format!("A user pool has at most {MAX_RESOURCE_SERVERS} resource servers.");
        return Err(DirectoryError::new(ErrorKind::LimitExceeded, message));
    }
    publish(tx, &pool, entropy).await?;
    Ok(server)
}

/// Replaces the settings of a resource server.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such resource server,
/// `InvalidParameterException` for settings that are not valid.
pub async fn update_resource_server(
    tx: &mut Tx<'_>,
    pool_id: &str,
    identifier: &str,
    settings: &ResourceServerSettings,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<ResourceServer> {
    let (pool, mut server) = writable_server(tx, pool_id, identifier).await?;
    check_settings(settings)?;
    server.settings = settings.clone();
    server.updated_at = now;
    tx.save_resource_server(&server).await?;
    publish(tx, &pool, entropy).await?;
    Ok(server)
}

/// Deletes a resource server. App clients keep the names of its scopes, which no longer exist.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such resource server.
pub async fn delete_resource_server(
    tx: &mut Tx<'_>,
    pool_id: &str,
    identifier: &str,
    entropy: &dyn Entropy,
) -> Outcome<()> {
    let (pool, server) = writable_server(tx, pool_id, identifier).await?;
    tx.remove_resource_server(pool.no, &server.identifier).await?;
    publish(tx, &pool, entropy).await
}

/// Returns a resource server.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such resource server.
pub async fn describe_resource_server(
    store: &Store,
    pool: &Pool,
    identifier: &str,
) -> Outcome<ResourceServer> {
    store.resource_server(pool.no, identifier).await?.ok_or_else(|| not_found(identifier))
}

/// Returns a page of the resource servers of `pool`, in the order of their identifiers.
///
/// # Errors
/// Returns `InvalidParameterException` for a page that is not valid.
pub async fn list_resource_servers(
    store: &Store,
    ring: &KeyRing,
    pool: &Pool,
    page: PageRequest<'_>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<Page<ResourceServer>> {
    let tokens = Tokens { ring, list: &format!("resource_servers/{}", pool.id), now };
    let (limit, after) = (page.limit()?, text_position(page.position(tokens)?)?);
    let servers = store.resource_servers(pool.no, &after, limit + 1).await?;
    Ok(text_page(tokens, servers, limit, |server| &server.identifier, entropy))
}

async fn writable_server(
    tx: &mut Tx<'_>,
    pool_id: &str,
    identifier: &str,
) -> Outcome<(Pool, ResourceServer)> {
    let pool = live_pool(tx, pool_id).await?;
    let server = tx.resource_server(pool.no, identifier).await?.ok_or_else(|| not_found(identifier))?;
    check_writable(server.source, "resource server", identifier)?;
    Ok((pool, server))
}

fn not_found(identifier: &str) -> DirectoryError {
    DirectoryError::new(ErrorKind::ResourceNotFound, format!("Resource server {identifier} does not exist."))
}

fn check_settings(settings: &ResourceServerSettings) -> Outcome<()> {
    check_name("name", &settings.name, MAX_TEXT_LENGTH)?;
    check_length("scopes", settings.scopes.len(), 0..=MAX_SCOPES)?;
    let names: Vec<&str> = settings.scopes.iter().map(|scope| scope.name.as_str()).collect();
    if let Some(twice) = duplicate(&names) {
        return Err(DirectoryError::invalid(format!("The scope {twice} is declared twice.")));
    }
    for scope in &settings.scopes {
        check_visible("scopeName", &scope.name, MAX_TEXT_LENGTH)?;
        // The full name is `identifier/name`, and an identifier may have slashes.
        check_pattern("scopeName", &scope.name, "[\\x21\\x23-\\x2E\\x30-\\x5B\\x5D-\\x7E]+", |c| c != '/')?;
        check_length("scopeDescription", scope.description.chars().count(), 1..=MAX_TEXT_LENGTH)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ResourceScope;

    #[test]
    fn settings_have_cognitos_bounds() {
        let scope = |name: &str| ResourceScope { name: name.to_owned(), description: "x".to_owned() };
        let settings = |scopes| ResourceServerSettings { name: "Photos".to_owned(), scopes };
        let many = (0..101).map(|number| scope(&number.to_string())).collect::<Vec<_>>();
        for (settings, fits) in [
            (settings(vec![]), true),
            (settings(vec![scope("read"), scope("write.all")]), true),
            (settings(many[..100].to_vec()), true),
            (settings(many), false),
            (settings(vec![scope("a/b")]), false),
            (settings(vec![scope("a b")]), false),
            (settings(vec![scope("a"), scope("a")]), false),
            (settings(vec![ResourceScope { description: String::new(), ..scope("a") }]), false),
            (ResourceServerSettings { name: String::new(), ..settings(vec![]) }, false),
        ] {
            assert_eq!(check_settings(&settings).is_ok(), fits, "{settings:?}");
        }
    }

    #[test]
    fn a_scope_has_the_identifier_of_its_server() {
        let server = ResourceServer {
            pool: 1,
            identifier: "https://photos.example/api".to_owned(),
            source: PoolSource::Api,
            settings: ResourceServerSettings {
                name: "Photos".to_owned(),
                scopes: vec![ResourceScope { name: "read".to_owned(), description: "x".to_owned() }],
            },
            created_at: Timestamp::from_millis(0),
            updated_at: Timestamp::from_millis(0),
        };
        assert!(server.has_scope("https://photos.example/api/read"));
        for other in ["read", "https://photos.example/read", "https://photos.example/api/write", ""] {
            assert!(!server.has_scope(other), "{other}");
        }
    }
}
