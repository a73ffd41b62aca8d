//! Linking of accounts: an administrator declares that several provider accounts are one user.

use super::credential_events::{CredentialEvent, Current, end_credentials};
use super::federated::username;
use crate::base::{Entropy, Timestamp};
use crate::model::{Identity, User};
use crate::store::{Change, Result, Tx};

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
    let same =
        |one: &Identity, other: &Identity| one.provider == other.provider || one.issuer == other.issuer;
    let of = |account: &Identity| destination.identities.iter().any(|known| same(known, account));
    if let Some(both) = source.identities.iter().find(|account| of(account)) {
        return Ok(Err(LinkError::SameProvider(both.provider.clone())));
    }
    end_credentials(tx, source, CredentialEvent::AccountMoved, Current::default(), now, entropy).await?;
    tx.move_identities(source, &destination.id).await?;
    tx.move_pool_identities(&source.id, &destination.id).await?;
    tx.remove_user(source, entropy).await?;
    tx.publish(&Change::User(source.id.clone()), entropy).await?;
    let linked = tx.user(&destination.id).await?.unwrap_or_else(|| destination.clone());
    save_changed(tx, linked, now, entropy).await.map(Ok)
}

/// Removes the account of `provider` from `user`: the next sign-in with it creates a new user. Ends
/// all sessions and tokens of the user, because some may know the provider by another name.
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
    let Some(identity) = user.identities.iter().find(|identity| identity.provider == provider) else {
        return Ok(Err(LinkError::NoAccount));
    };
    if username(identity) == user.username {
        return Ok(Err(LinkError::NamedAfter));
    }
    end_credentials(tx, user, CredentialEvent::AccountMoved, Current::default(), now, entropy).await?;
    tx.remove_identity(&user.pool_id, identity).await?;
    let mut left = user.clone();
    left.identities.retain(|other| other != identity);
    left.profiles.remove(provider);
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
