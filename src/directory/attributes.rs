//! Changes of a user's attributes.

use super::create::check_preferred_username;
use super::error::{DirectoryError, ErrorKind, Outcome};
use super::linking::save_changed;
use super::names::{Stage, Takeover, update_names};
use crate::base::{Entropy, Timestamp};
use crate::model::{
    AppClientSettings, Attributes, MAX_ATTRIBUTES, Pool, SignInAttribute, User, check_addresses,
};
use crate::store::Tx;

/// The addresses whose verification is an attribute of its own, with the words of a missing one.
const VERIFIABLE: [(SignInAttribute, &str); 2] = [
    (SignInAttribute::Email, "Email is required to verify/un-verify an email"),
    (SignInAttribute::PhoneNumber, "Phone Number is required to verify/un-verify a phone number"),
];

/// On behalf of which party an attribute is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor<'a> {
    /// An administrator, who may state that an address is verified.
    Administrator,
    /// The user, through an app client with these settings.
    User(&'a AppClientSettings),
    /// The directory itself, after the user has entered the code that was sent to an address.
    Verification,
}

/// The result of a change.
#[derive(Clone, Debug)]
pub struct AttributeUpdate {
    /// The user after the change.
    pub user: User,
    /// The addresses that changed and are not verified.
    pub unverified: Vec<SignInAttribute>,
}

/// Changes attributes of `user`. An empty value removes an attribute. An address that changes is no
/// longer verified, unless an administrator states that it is. A verified alias that another user
/// holds moves to this one: it belongs to the last who verified it.
///
/// # Errors
/// Returns `InvalidParameterException` for an attribute that does not fit, `NotAuthorizedException`
/// for one that the actor may not write, `AliasExistsException` for a name that is taken.
pub async fn update_attributes(
    tx: &mut Tx<'_>,
    pool: &Pool,
    user: &User,
    changes: &Attributes,
    actor: Actor<'_>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<AttributeUpdate> {
    check_writable(changes, actor)?;
    check_new_values(pool, user, changes)?;
    let mut after = user.clone();
    for (name, value) in changes.iter() {
        match value {
            "" => after.attributes.remove(name),
            value => after.attributes.set(name, value),
        }
    }
    check_addresses(&after.attributes).map_err(DirectoryError::invalid)?;
    check_preferred_username(pool, changes)?;
    check_verified_flags(changes, &after.attributes)?;
    let unverified = reset_verification(user, &mut after, changes);
    for (attribute, _) in VERIFIABLE {
        let name = attribute.name();
        if user.attributes.get(name) != after.attributes.get(name) {
            // A code that was sent to the earlier address verifies no other one.
            tx.remove_account_codes_of_target(user.no, name).await?;
        }
    }
    let words = (Stage::Update, Takeover::LastVerifier);
    check_still_named(pool, user, &after)?;
    update_names(tx, pool, Some(user), &after, words, now, entropy).await?;
    let user = save_changed(tx, after, now, entropy).await?;
    Ok(AttributeUpdate { user, unverified })
}

/// Checks that the actor may write these attributes.
///
/// # Errors
/// Returns `NotAuthorizedException`.
pub(super) fn check_writable(changes: &Attributes, actor: Actor<'_>) -> Outcome<()> {
    let Actor::User(client) = actor else { return Ok(()) };
    refuse_verified_flags(changes)?;
    match changes.iter().all(|(name, _)| client.may_write(name)) {
        true => Ok(()),
        false => Err(unauthorized()),
    }
}

/// Checks the new values of attributes against the schema, each by itself.
///
/// # Errors
/// Returns `InvalidParameterException`.
pub(super) fn check_new_values(pool: &Pool, user: &User, changes: &Attributes) -> Outcome<()> {
    if changes.iter().count() > MAX_ATTRIBUTES {
        return Err(DirectoryError::invalid("Too many attributes."));
    }
    pool.settings.schema.check_values(changes)?;
    check_changes(pool, user, changes)?;
    let values: Attributes = changes.iter().filter(|(_, value)| !value.is_empty()).collect();
    check_addresses(&values).map_err(DirectoryError::invalid)
}

/// Removes attributes of `user`.
///
/// # Errors
/// Returns `InvalidParameterException` for an attribute that is required, immutable or not in the
/// schema, `NotAuthorizedException` for one that the actor may not write.
pub async fn delete_attributes(
    tx: &mut Tx<'_>,
    pool: &Pool,
    user: &User,
    names: &[&str],
    actor: Actor<'_>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<User> {
    let changes: Attributes = names.iter().map(|name| (*name, "")).collect();
    let update = update_attributes(tx, pool, user, &changes, actor, now, entropy).await?;
    Ok(update.user)
}

/// Checks that no immutable attribute changes and that no required one is removed.
fn check_changes(pool: &Pool, user: &User, changes: &Attributes) -> Outcome<()> {
    let schema = &pool.settings.schema;
    let mut words = String::new();
    for (name, value) in changes.iter() {
        let Some(attribute) = schema.get(name) else { continue };
        let has_value = name == "sub" || user.attributes.contains(name);
        if !attribute.mutable && has_value {
            words.push_str(&format!("user.{name}: Attribute cannot be updated.\n"));
        } else if attribute.required && value.is_empty() {
            words.push_str(&format!("user.{name}: Required attribute cannot be deleted.\n"));
        }
    }
    match words.is_empty() {
        true => Ok(()),
        false => Err(DirectoryError::invalid(words)),
    }
}

/// Checks that a user who signs in by an address keeps one.
fn check_still_named(pool: &Pool, before: &User, after: &User) -> Outcome<()> {
    if pool.sign_in_names(after).is_empty() && !pool.sign_in_names(before).is_empty() {
        return Err(DirectoryError::invalid(
            "user: The attribute that the user signs in with cannot be deleted, and must be verified.\n",
        ));
    }
    Ok(())
}

/// Refuses changes of the verification of an address.
///
/// # Errors
/// Returns `NotAuthorizedException`.
pub(super) fn refuse_verified_flags(changes: &Attributes) -> Outcome<()> {
    let is_flag = |(attribute, _): &(SignInAttribute, _)| {
        attribute.verified_name().is_some_and(|name| changes.contains(name))
    };
    match VERIFIABLE.iter().any(is_flag) {
        true => Err(unauthorized()),
        false => Ok(()),
    }
}

fn unauthorized() -> DirectoryError {
    DirectoryError::new(ErrorKind::NotAuthorized, "A client attempted to write unauthorized attribute")
}

/// Checks that each address whose verification is stated is among `attributes`.
pub(super) fn check_verified_flags(changes: &Attributes, attributes: &Attributes) -> Outcome<()> {
    for (attribute, words) in VERIFIABLE {
        let stated = attribute.verified_name().and_then(|name| changes.get(name));
        if stated.is_some_and(|value| !value.is_empty()) && !attributes.contains(attribute.name()) {
            return Err(DirectoryError::invalid(words));
        }
    }
    Ok(())
}

/// Marks the addresses that changed as not verified, unless `changes` state otherwise. Returns
/// those that are not.
fn reset_verification(before: &User, after: &mut User, changes: &Attributes) -> Vec<SignInAttribute> {
    let mut unverified = Vec::new();
    for (attribute, _) in VERIFIABLE {
        let (name, Some(flag)) = (attribute.name(), attribute.verified_name()) else { continue };
        let value = after.attributes.get(name).map(str::to_owned);
        if value.as_deref() == before.attributes.get(name) {
            continue;
        }
        if value.is_none() {
            after.attributes.remove(flag);
            continue;
        }
        if changes.get(flag) != Some("true") {
            after.attributes.set(flag, "false");
            unverified.push(attribute);
        }
    }
    unverified
}
