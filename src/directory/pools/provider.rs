//! Identity providers of user pools: creation, changes, deletion, lists.

use super::provider_settings::check_provider;
use super::{live_pool, publish, text_page, text_position};
use crate::base::{Entropy, KeyRing, Timestamp};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::directory::page_token::{Page, PageRequest, Tokens};
use crate::model::{IdentityProvider, IdentityProviderSettings, Pool, ProviderKind};
use crate::store::{Store, Tx};
use std::collections::BTreeMap;

/// Maximum identity providers of a pool.
pub(super) const MAX_PROVIDERS: u32 = 300;

/// An identity provider to create.
#[derive(Clone, Debug)]
pub struct NewProvider {
    /// The name.
    pub name: String,
    /// The kind.
    pub kind: ProviderKind,
    /// The settings.
    pub settings: IdentityProviderSettings,
    /// The identifiers.
    pub identifiers: Vec<String>,
}

/// Changes of an identity provider; what is absent stays.
#[derive(Clone, Default)]
pub struct ProviderChanges {
    /// The details.
    pub details: Option<BTreeMap<String, String>>,
    /// The attribute mapping.
    pub attribute_mapping: Option<BTreeMap<String, String>>,
    /// The identifiers.
    pub identifiers: Option<Vec<String>>,
}

/// Creates an identity provider.
///
/// # Errors
/// Returns `DuplicateProviderException`, `LimitExceededException` for the 301st,
/// `InvalidParameterException` for what is not valid, `ResourceNotFoundException` if there is no
/// such pool.
pub async fn create_provider(
    tx: &mut Tx<'_>,
    pool_id: &str,
    new: &NewProvider,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<IdentityProvider> {
    let pool = live_pool(tx, pool_id).await?;
    let NewProvider { name, kind, settings, identifiers } = new.clone();
    let provider = IdentityProvider {
        pool: pool.no,
        name,
        kind,
        settings,
        identifiers,
        created_at: now,
        updated_at: now,
    };
    check_provider(&pool.settings.schema, &provider)?;
    if !tx.add_identity_provider(&provider, entropy).await? {
        let message = format!("A provider with the name {} already exists.", provider.name);
        return Err(DirectoryError::new(ErrorKind::DuplicateProvider, message));
    }
    let all = tx.identity_provider_names(pool.no, MAX_PROVIDERS + 1).await?.len();
    if all > usize::try_from(MAX_PROVIDERS).unwrap_or(usize::MAX) {
        let message = format!("A user pool has at most {MAX_PROVIDERS} identity providers.");
        return Err(DirectoryError::new(ErrorKind::LimitExceeded, message));
    }
    set_identifiers(tx, &provider).await?;
    publish(tx, &pool, entropy).await?;
    Ok(provider)
}

/// Changes an identity provider.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such provider, `InvalidParameterException`
/// for what is not valid.
pub async fn update_provider(
    tx: &mut Tx<'_>,
    pool_id: &str,
    name: &str,
    changes: &ProviderChanges,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<IdentityProvider> {
    let pool = live_pool(tx, pool_id).await?;
    let mut provider = tx.identity_provider(pool.no, name).await?.ok_or_else(|| not_found(name))?;
    let ProviderChanges { details, attribute_mapping, identifiers } = changes.clone();
    provider.settings.details = details.unwrap_or(provider.settings.details);
    provider.settings.attribute_mapping = attribute_mapping.unwrap_or(provider.settings.attribute_mapping);
    provider.identifiers = identifiers.unwrap_or(provider.identifiers);
    provider.updated_at = now;
    check_provider(&pool.settings.schema, &provider)?;
    tx.save_identity_provider(&provider, entropy).await?;
    set_identifiers(tx, &provider).await?;
    publish(tx, &pool, entropy).await?;
    Ok(provider)
}

/// Deletes an identity provider and its identifiers.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such provider.
pub async fn delete_provider(
    tx: &mut Tx<'_>,
    pool_id: &str,
    name: &str,
    entropy: &dyn Entropy,
) -> Outcome<()> {
    let pool = live_pool(tx, pool_id).await?;
    if !tx.remove_identity_provider(pool.no, name).await? {
        return Err(not_found(name));
    }
    publish(tx, &pool, entropy).await
}

/// Returns an identity provider by its name.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such provider.
pub async fn describe_provider(store: &Store, pool: &Pool, name: &str) -> Outcome<IdentityProvider> {
    store.identity_provider(pool.no, name).await?.ok_or_else(|| not_found(name))
}

/// Returns an identity provider by one of its identifiers.
///
/// # Errors
/// Returns `ResourceNotFoundException` if no provider has the identifier.
pub async fn find_provider(store: &Store, pool: &Pool, identifier: &str) -> Outcome<IdentityProvider> {
    let found = store.identity_provider_by_identifier(pool.no, identifier).await?;
    found.ok_or_else(|| not_found(identifier))
}

/// Returns a page of the identity providers of `pool`, in the order of their names and without
/// their identifiers.
///
/// # Errors
/// Returns `InvalidParameterException` for a page that is not valid.
pub async fn list_providers(
    store: &Store,
    ring: &KeyRing,
    pool: &Pool,
    page: PageRequest<'_>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<Page<IdentityProvider>> {
    let tokens = Tokens { ring, list: &format!("identity_providers/{}", pool.id), now };
    let (limit, after) = (page.limit()?, text_position(page.position(tokens)?)?);
    let providers = store.identity_providers(pool.no, &after, limit + 1).await?;
    Ok(text_page(tokens, providers, limit, |provider| &provider.name, entropy))
}

async fn set_identifiers(tx: &mut Tx<'_>, provider: &IdentityProvider) -> Outcome<()> {
    match tx.set_provider_identifiers(provider).await? {
        Some(taken) => Err(DirectoryError::invalid(format!("Another provider has the identifier {taken}."))),
        None => Ok(()),
    }
}

fn not_found(name: &str) -> DirectoryError {
    DirectoryError::new(ErrorKind::ResourceNotFound, format!("Identity provider {name} does not exist."))
}
