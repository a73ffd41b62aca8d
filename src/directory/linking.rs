//! Linking of accounts: an administrator declares that several provider accounts are one user, or
//! that an account signs in as a local user.

use super::credential_events::{CredentialEvent, Current, end_credentials};
use crate::base::{Entropy, Timestamp};
use crate::model::{Identity, User, UserStatus};
use crate::store::{Change, Result, Tx};

/// Maximum accounts that are linked to a user, besides the one that created the user: "The maximum
/// number of federated identities linked to a user is five" (`AdminLinkProviderForUser`).
const MAX_LINKED: usize = 5;

/// Why accounts were not linked or unlinked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// Both are the same user.
    Same,
    /// One of them is disabled: linking must not enable its accounts.
    Disabled,
    /// Both have an account of this provider: the user of a session would be ambiguous.
    SameProvider(String),
    /// The user has no account of this provider.
    NoAccount,
    /// The user name is derived from this account: the next sign-in with it would conflict.
    NamedAfter,
    /// The source is a local user, who would be deleted with the password.
    LocalSource,
    /// The destination has not confirmed the sign-up: the address may be another person's.
    Unconfirmed,
    /// The destination has as many linked accounts as a user may have.
    TooMany,
}

/// Moves the provider accounts of `source` to `destination`, then deletes `source` and its
/// sessions. Each provider's profile still applies only to sessions through that provider. Returns
/// the updated `destination`.
///
/// # Errors
/// Returns an error if the database fails. A [`LinkError`] is returned in the value.
pub async fn link(
    tx: &mut Tx<'_>,
    destination: &User,
    source: &User,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<std::result::Result<User, LinkError>> {
    if destination.id == source.id {
        return Ok(Err(LinkError::Same));
    }
    if !destination.enabled || !source.enabled {
        return Ok(Err(LinkError::Disabled));
    }
    if source.status != UserStatus::ExternalProvider {
        return Ok(Err(LinkError::LocalSource));
    }
    if let Err(error) = check_destination(destination, &source.stored_accounts()) {
        return Ok(Err(error));
    }
    end_credentials(tx, source, CredentialEvent::AccountMoved, Current::default(), now, entropy).await?;
    tx.move_identities(source, &destination.id).await?;
    tx.move_pool_identities(&source.id, &destination.id).await?;
    tx.remove_user(source, entropy).await?;
    tx.publish(&Change::User(source.id.clone()), entropy).await?;
    let linked = tx.user(&destination.id).await?.unwrap_or_else(|| destination.clone());
    save_changed(tx, linked, now, entropy).await.map(Ok)
}

/// Checks that `user` may get these further accounts or links.
///
/// # Errors
/// Returns a [`LinkError`].
pub(super) fn check_destination(user: &User, accounts: &[Identity]) -> std::result::Result<(), LinkError> {
    if !user.enabled {
        return Err(LinkError::Disabled);
    }
    if user.status == UserStatus::Unconfirmed {
        return Err(LinkError::Unconfirmed);
    }
    let known = user.stored_accounts();
    let same =
        |one: &Identity, other: &Identity| one.provider == other.provider || one.issuer == other.issuer;
    if let Some(both) = accounts.iter().find(|account| known.iter().any(|known| same(known, account))) {
        return Err(LinkError::SameProvider(both.provider.clone()));
    }
    let linked = user.identities.iter().filter(|identity| !user.is_primary(identity)).count();
    match linked + user.waiting_links().count() + accounts.len() > MAX_LINKED {
        true => Err(LinkError::TooMany),
        false => Ok(()),
    }
}

/// Removes the account of `provider`, or the link to one, from `user`. The next sign-in with it
/// creates a new user.
///
/// # Errors
/// Returns an error if the database fails. A [`LinkError`] is returned in the value.
pub async fn unlink(
    tx: &mut Tx<'_>,
    user: &User,
    provider: &str,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<std::result::Result<User, LinkError>> {
    let accounts = user.stored_accounts();
    match accounts.iter().find(|identity| identity.provider == provider) {
        Some(account) => unlink_account(tx, user, account, now, entropy).await,
        None => Ok(Err(LinkError::NoAccount)),
    }
}

/// Removes an account or a link from `user`: the next sign-in with it creates a new user. Ends all
/// sessions and tokens of the user, because some may know the provider by another name.
///
/// # Errors
/// Returns an error if the database fails. A [`LinkError`] is returned in the value.
pub async fn unlink_account(
    tx: &mut Tx<'_>,
    user: &User,
    account: &Identity,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<std::result::Result<User, LinkError>> {
    let is_account = user.identities.contains(account);
    if !is_account && !user.waiting_links().any(|link| link.to_identity() == *account) {
        return Ok(Err(LinkError::NoAccount));
    }
    if is_account && user.is_primary(account) {
        return Ok(Err(LinkError::NamedAfter));
    }
    end_credentials(tx, user, CredentialEvent::AccountMoved, Current::default(), now, entropy).await?;
    tx.remove_identity(&user.pool_id, account).await?;
    let mut left = user.clone();
    left.identities.retain(|other| other != account);
    left.links.retain(|link| link.to_identity() != *account);
    // The profile is that of the provider's one account.
    if is_account {
        left.profiles.remove(&account.provider);
    }
    save_changed(tx, left, now, entropy).await.map(Ok)
}

/// Stores `user` as changed now, with the search keys, and publishes the change.
pub(super) async fn save_changed(
    tx: &mut Tx<'_>,
    mut user: User,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<User> {
    user.version += 1;
    user.updated_at = now;
    tx.save_user(&user).await?;
    let pool = tx.get_or_add_pool(&user.pool_id, now, entropy).await?;
    user.no = tx.index_user(&pool, &user, entropy).await?;
    tx.publish(&Change::User(user.id.clone()), entropy).await?;
    Ok(user)
}
