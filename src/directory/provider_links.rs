//! Links to accounts that have not signed in yet: an administrator makes them, and the first
//! sign-in of the account uses them up.

use super::error::{DirectoryError, ErrorKind, Outcome};
use super::federated::FederatedAccount;
use super::linking::{LinkError, check_destination, save_changed};
use crate::base::{Entropy, Timestamp};
use crate::model::{Identity, LOCAL_PROVIDER, Pool, Profile, ProviderLink, SUBJECT_ATTRIBUTE, User};
use crate::store::{Lookup, Result, Tx};

/// The user that an administrator linked to an account before its first sign-in.
#[derive(Debug)]
pub enum LinkedUser {
    /// There is none.
    None,
    /// The user, with the link.
    One(Box<User>, ProviderLink),
    /// Links of several users fit the account.
    Several,
}

/// Returns the user that is linked to `account`, which no user has. A link by the account's subject
/// precedes those by its attributes. An address counts if the provider has verified it: otherwise
/// everyone could sign in as the user by entering the address at the provider.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn find_linked_user(
    tx: &mut Tx<'_>,
    pool_id: &str,
    account: &FederatedAccount,
) -> Result<LinkedUser> {
    let provider = &account.identity.provider;
    let link = |attribute: &str, value: &str| ProviderLink {
        provider: provider.clone(),
        attribute: attribute.to_owned(),
        value: value.to_owned(),
    };
    let by_subject = link(SUBJECT_ATTRIBUTE, &account.identity.subject);
    if let Some(user) = tx.user_by_link(pool_id, &by_subject).await? {
        return Ok(LinkedUser::One(Box::new(user), by_subject));
    }
    let mut found = LinkedUser::None;
    for (attribute, value) in account.attributes.iter() {
        if account.unverified.iter().any(|name| name == attribute) {
            continue;
        }
        let link = link(attribute, value);
        match (tx.user_by_link(pool_id, &link).await?, &found) {
            (None, _) => {}
            (Some(user), LinkedUser::None) => found = LinkedUser::One(Box::new(user), link),
            (Some(_), _) => return Ok(LinkedUser::Several),
        }
    }
    Ok(found)
}

/// Signs `account` in as `user` from now on. The attributes and groups from the provider apply to
/// sessions through it; those of the user stay.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn claim_link(
    tx: &mut Tx<'_>,
    user: &User,
    link: &ProviderLink,
    account: &FederatedAccount,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<User> {
    let FederatedAccount { identity, attributes, groups, .. } = account;
    let profile = Profile { attributes: attributes.clone(), groups: groups.clone() };
    tx.remove_identity(&user.pool_id, &link.to_identity()).await?;
    tx.add_account(user, identity, Some(&profile), now).await?;
    let mut user = user.clone();
    user.links.retain(|other| other != link);
    user.identities.push(identity.clone());
    user.profiles.insert(identity.provider.clone(), profile);
    save_changed(tx, user, now, entropy).await
}

/// Returns the user that an administrator names by a provider and an attribute. A user of the pool
/// itself is named by the user name.
///
/// # Errors
/// Returns `UserNotFoundException`.
pub(super) async fn find_named(tx: &mut Tx<'_>, pool: &Pool, named: &ProviderLink) -> Outcome<User> {
    let found = match named.provider == LOCAL_PROVIDER {
        true => tx.find_user(pool, &named.value, Lookup::Administrator).await?,
        false => tx.user_by_subject(&pool.id, &named.provider, &named.value).await?.map(|(user, _)| user),
    };
    found.ok_or_else(|| ErrorKind::UserNotFound.into())
}

/// Links the account `source` to the user `destination`. `issuer` is that of the provider, if it
/// has one: accounts are known by it, also while they have an earlier name of the provider.
///
/// # Errors
/// Returns `UserNotFoundException`, `InvalidParameterException` for an account or a link of a user,
/// or for a destination that must not get the account, `LimitExceededException` for the sixth
/// account.
pub(super) async fn add_link(
    tx: &mut Tx<'_>,
    pool: &Pool,
    destination: &ProviderLink,
    (source, issuer): (&ProviderLink, Option<&str>),
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<User> {
    let mut user = find_named(tx, pool, destination).await?;
    if let Some(holder) = tx.user_by_link(&pool.id, source).await? {
        return Err(already_linked(&holder, &user));
    }
    if source.attribute == SUBJECT_ATTRIBUTE
        && let Some((holder, identity)) = find_account(tx, pool, source, issuer).await?
    {
        return Err(match holder.id != user.id && holder.is_primary(&identity) {
            true => DirectoryError::invalid(
                "Merging is not currently supported, provide a SourceUser that has not been signed up in order to link",
            ),
            false => already_linked(&holder, &user),
        });
    }
    let account = source.to_identity();
    let future = issuer.map(|issuer| Identity { issuer: issuer.to_owned(), ..account.clone() });
    check_destination(&user, std::slice::from_ref(future.as_ref().unwrap_or(&account)))?;
    tx.add_account(&user, &account, None, now).await?;
    user.links.push(source.clone());
    Ok(save_changed(tx, user, now, entropy).await?)
}

/// Returns the account of a subject, with its user.
///
/// # Errors
/// Returns an error if the database fails.
pub(super) async fn find_account(
    tx: &mut Tx<'_>,
    pool: &Pool,
    named: &ProviderLink,
    issuer: Option<&str>,
) -> Result<Option<(User, Identity)>> {
    if let Some(issuer) = issuer
        && let Some(user) = tx.user_by_identity(&pool.id, issuer, &named.value).await?
    {
        let is_meant = |of: &&Identity| of.issuer == issuer && of.subject == named.value;
        if let Some(identity) = user.identities.iter().find(is_meant).cloned() {
            return Ok(Some((user, identity)));
        }
    }
    tx.user_by_subject(&pool.id, &named.provider, &named.value).await
}

fn already_linked(holder: &User, destination: &User) -> DirectoryError {
    DirectoryError::invalid(match holder.id == destination.id {
        true => "SourceUser is already linked to DestinationUser",
        false => {
            "Merging is not currently supported when a SourceUser is already linked to an existing DestinationUser"
        }
    })
}

impl From<LinkError> for DirectoryError {
    fn from(error: LinkError) -> Self {
        let invalid = |words: &'static str| Self::invalid(words);
        match error {
            LinkError::Same => invalid("SourceUser is already linked to DestinationUser"),
            LinkError::Disabled => invalid("User is disabled."),
            LinkError::Unconfirmed => invalid("User is not confirmed."),
            LinkError::LocalSource => invalid(LOCAL_SOURCE),
            LinkError::SameProvider(provider) => {
                Self::invalid(format!("The user has a linked account of {provider}; a user has one of each."))
            }
            LinkError::NoAccount => ErrorKind::UserNotFound.into(),
            LinkError::NamedAfter => {
                invalid("The user was created by this account. Disable or delete the user.")
            }
            LinkError::TooMany => {
                Self::new(ErrorKind::LimitExceeded, "A user has at most 5 linked accounts.")
            }
        }
    }
}

/// AWS's words for a source without a provider.
pub(super) const LOCAL_SOURCE: &str = "Invalid SourceUser: Cognito users with a username/password may not be passed in as a SourceUser, only as a \
     DestinationUser";
