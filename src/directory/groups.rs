//! Groups of a user pool, and their members.

use super::error::{DirectoryError, ErrorKind, Outcome};
use super::page_token::{Page, PageRequest, Tokens};
use crate::base::{Entropy, KeyRing, Timestamp, time_ordered_number};
use crate::model::{Pool, PoolState, User, UserGroup, is_name};
use crate::store::{Change, Counter, Store, Tx};

/// Maximum characters of a group's description and role.
const MAX_TEXT_LENGTH: usize = 2048;

/// A group to create.
#[derive(Clone, Debug, Default)]
pub struct NewGroup {
    /// The name.
    pub name: String,
    /// The description.
    pub description: String,
    /// The role of its members.
    pub role: String,
    /// The rank of its role.
    pub precedence: Option<u32>,
}

/// Changes of a group; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct GroupChanges {
    /// The description.
    pub description: Option<String>,
    /// The role of its members.
    pub role: Option<String>,
    /// The rank of its role.
    pub precedence: Option<u32>,
}

/// Creates a group.
///
/// # Errors
/// Returns `GroupExistsException`, `LimitExceededException` or `InvalidParameterException`.
pub async fn create_group(
    tx: &mut Tx<'_>,
    pool: &Pool,
    new: &NewGroup,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<UserGroup> {
    if pool.state != PoolState::Live {
        return Err(ErrorKind::PoolNotFound.into());
    }
    check_group(new)?;
    insert_group(tx, pool, new, time_ordered_number(now, entropy), now, entropy).await
}

/// Checks the name and the texts of a new group.
///
/// # Errors
/// Returns `InvalidParameterException`.
pub(super) fn check_group(new: &NewGroup) -> Outcome<()> {
    if !is_name(&new.name) {
        return Err(DirectoryError::invalid(
            "1 validation error detected: Value at 'groupName' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: [\\p{L}\\p{M}\\p{S}\\p{N}\\p{P}]+",
        ));
    }
    check_texts(&new.description, &new.role)
}

/// Adds a group with this number. A refusal leaves nothing in the transaction.
///
/// # Errors
/// Returns `GroupExistsException` or `LimitExceededException`.
pub(super) async fn insert_group(
    tx: &mut Tx<'_>,
    pool: &Pool,
    new: &NewGroup,
    no: i64,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<UserGroup> {
    if tx.group(pool.no, &new.name).await?.is_some() {
        return Err(ErrorKind::GroupExists.into());
    }
    if tx.counter(pool.no, Counter::Groups).await? >= i64::from(pool.settings.quotas.groups) {
        return Err(too_many_groups_of_pool());
    }
    let group = UserGroup {
        no,
        pool: pool.no,
        name: new.name.clone(),
        description: new.description.clone(),
        role: new.role.clone(),
        precedence: new.precedence,
        created_at: now,
        updated_at: now,
    };
    if !tx.add_group(&group).await? {
        return Err(ErrorKind::GroupExists.into());
    }
    tx.count(pool.no, Counter::Groups, 1, entropy).await?;
    Ok(group)
}

/// Returns the error of a pool that has too many groups.
pub(super) fn too_many_groups_of_pool() -> DirectoryError {
    DirectoryError::new(ErrorKind::LimitExceeded, "Exceeded the limit of groups of a user pool.")
}

/// Returns the error of a user who is in too many groups.
pub(super) fn too_many_groups_of_user() -> DirectoryError {
    DirectoryError::new(ErrorKind::LimitExceeded, "Exceeded the limit of groups of a user.")
}

fn check_texts(description: &str, role: &str) -> Outcome<()> {
    for (name, text) in [("description", description), ("roleArn", role)] {
        if text.chars().count() > MAX_TEXT_LENGTH {
            return Err(DirectoryError::invalid(format!(
                "1 validation error detected: Value at '{name}' failed to satisfy constraint: Member must have \
                 length less than or equal to {MAX_TEXT_LENGTH}"
            )));
        }
    }
    Ok(())
}

async fn group(tx: &mut Tx<'_>, pool: &Pool, name: &str) -> Outcome<UserGroup> {
    tx.group(pool.no, name).await?.ok_or_else(|| ErrorKind::GroupNotFound.into())
}

/// Changes a group. UpdateGroup sends only what changes.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such group.
pub async fn update_group(
    tx: &mut Tx<'_>,
    pool: &Pool,
    name: &str,
    changes: &GroupChanges,
    now: Timestamp,
) -> Outcome<UserGroup> {
    let mut group = group(tx, pool, name).await?;
    let GroupChanges { description, role, precedence } = changes.clone();
    group.description = description.unwrap_or(group.description);
    group.role = role.unwrap_or(group.role);
    group.precedence = precedence.or(group.precedence);
    group.updated_at = now;
    check_texts(&group.description, &group.role)?;
    tx.save_group(&group).await?;
    Ok(group)
}

/// Deletes a group and its memberships.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such group.
pub async fn delete_group(tx: &mut Tx<'_>, pool: &Pool, name: &str, entropy: &dyn Entropy) -> Outcome<()> {
    let group = group(tx, pool, name).await?;
    tx.remove_group(group.no).await?;
    tx.count(pool.no, Counter::Groups, -1, entropy).await?;
    // Any member's cached roles are stale.
    tx.publish(&Change::Everything, entropy).await?;
    Ok(())
}

/// Adds `user` to a group. A member stays one.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such group, `UserNotFoundException` if the
/// user was deleted since it was read, `LimitExceededException` if the user is in too many.
pub async fn add_to_group(
    tx: &mut Tx<'_>,
    pool: &Pool,
    name: &str,
    user: &User,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<()> {
    let group = group(tx, pool, name).await?;
    let user = tx.user_by_number(user.no).await?.ok_or(ErrorKind::UserNotFound)?;
    let quota = pool.settings.quotas.groups_of_user;
    if !tx.add_member(group.no, user.no, now).await? {
        return Ok(());
    }
    let groups = tx.groups_of_user(user.no, quota.saturating_add(1)).await?;
    if groups.len() > usize::try_from(quota).unwrap_or(usize::MAX) {
        return Err(too_many_groups_of_user());
    }
    tx.publish(&Change::User(user.id), entropy).await?;
    Ok(())
}

/// Removes `user` from a group. A user who is no member stays as before.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such group.
pub async fn remove_from_group(
    tx: &mut Tx<'_>,
    pool: &Pool,
    name: &str,
    user: &User,
    entropy: &dyn Entropy,
) -> Outcome<()> {
    let group = group(tx, pool, name).await?;
    if tx.remove_member(group.no, user.no).await? {
        tx.publish(&Change::User(user.id.clone()), entropy).await?;
    }
    Ok(())
}

/// Returns the group with this name.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is none.
pub async fn find_group(store: &Store, pool: &Pool, name: &str) -> Outcome<UserGroup> {
    store.group(pool.no, name).await?.ok_or_else(|| ErrorKind::GroupNotFound.into())
}

/// Returns a page of the groups of `pool`, in the order of creation.
///
/// # Errors
/// Returns `InvalidParameterException` for a page that is not valid.
pub async fn list_groups(
    store: &Store,
    ring: &KeyRing,
    pool: &Pool,
    page: PageRequest<'_>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<Page<UserGroup>> {
    let tokens = Tokens { ring, list: &format!("groups/{}", pool.id), now };
    let (limit, after) = (page.limit()?, page.number(tokens)?);
    let groups = store.groups(pool.no, after, limit + 1).await?;
    Ok(tokens.page(groups, limit, |group| group.no, entropy))
}

/// Returns a page of the groups of `user`.
///
/// # Errors
/// Returns `InvalidParameterException` for a page that is not valid.
pub async fn list_groups_of_user(
    store: &Store,
    ring: &KeyRing,
    user: &User,
    page: PageRequest<'_>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<Page<UserGroup>> {
    let tokens = Tokens { ring, list: &format!("groups of user/{}", user.id), now };
    let (limit, after) = (page.limit()?, page.number(tokens)?);
    let groups = store.groups_of_user(user.no, after, limit + 1).await?;
    Ok(tokens.page(groups, limit, |group| group.no, entropy))
}

/// Returns a page of the members of a group, in the order of their creation.
///
/// # Errors
/// Returns `ResourceNotFoundException` if there is no such group, `InvalidParameterException` for a
/// page that is not valid.
pub async fn list_members(
    store: &Store,
    ring: &KeyRing,
    pool: &Pool,
    name: &str,
    page: PageRequest<'_>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<Page<User>> {
    let group = find_group(store, pool, name).await?;
    let tokens = Tokens { ring, list: &format!("members/{}", group.no), now };
    let (limit, after) = (page.limit()?, page.number(tokens)?);
    let members = store.group_members(group.no, after, limit + 1).await?;
    Ok(tokens.page(members, limit, |user| user.no, entropy))
}
