//! Creation of local users, by sign-up and by administrators.

use super::attributes::{check_verified_flags, refuse_verified_flags};
use super::error::{DirectoryError, ErrorKind, Outcome};
use super::names::{Stage, Takeover, update_names};
use crate::base::{Entropy, Timestamp, time_ordered_number, uuid};
use crate::model::{
    Attributes, MAX_ATTRIBUTES, Pool, PoolState, SchemaViolations, SignInAttribute, User, UserStatus,
    check_addresses, is_address, is_federated_name, is_name, is_phone_number,
};
use crate::store::Tx;
use std::collections::BTreeMap;

/// The interface through which a user is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By sign-up: all required attributes, no statement about verification.
    SignUp,
    /// By an administrator, who may leave required attributes to the first sign-in.
    Administrator,
}

/// A user to create.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// What was typed as user name: an address in a pool with `username_attributes`.
    pub username: String,
    /// The attributes.
    pub attributes: Attributes,
    /// The status: `UNCONFIRMED`, `CONFIRMED` or `FORCE_CHANGE_PASSWORD`.
    pub status: UserStatus,
    /// The interface.
    pub origin: Origin,
    /// What becomes of a verified alias that another user holds (`ForceAliasCreation`).
    pub takeover: Takeover,
}

/// Creates a local user.
///
/// # Errors
/// Returns `InvalidParameterException` for a name or an attribute that does not fit,
/// `UsernameExistsException` or `AliasExistsException` for one that is taken.
pub async fn create_user(
    tx: &mut Tx<'_>,
    pool: &Pool,
    new: &NewUser,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<User> {
    let user = draft_user(pool, new, now, entropy)?;
    add_user(tx, pool, (&user, new.origin, new.takeover), now, entropy).await?;
    Ok(user)
}

/// Checks a new user, and returns the row to add.
pub(super) fn draft_user(pool: &Pool, new: &NewUser, now: Timestamp, entropy: &dyn Entropy) -> Outcome<User> {
    if pool.state != PoolState::Live {
        return Err(ErrorKind::PoolNotFound.into());
    }
    Ok(User { no: time_ordered_number(now, entropy), ..new_local_user(pool, new, uuid(entropy), now)? })
}

/// Checks a new user, and returns the row to store. Its names may be taken, and it has no number.
///
/// # Errors
/// Returns `InvalidParameterException` for a name or an attribute that does not fit.
pub(super) fn new_local_user(pool: &Pool, new: &NewUser, id: String, now: Timestamp) -> Outcome<User> {
    let (username, attributes) = name_and_attributes(pool, new, &id)?;
    Ok(User {
        id,
        no: 0,
        pool_id: pool.id.clone(),
        username,
        enabled: true,
        status: new.status,
        attributes,
        groups: Vec::new(),
        identities: Vec::new(),
        links: Vec::new(),
        profiles: BTreeMap::new(),
        version: 1,
        created_at: now,
        updated_at: now,
    })
}

/// Adds a checked user, with the sign-in names.
///
/// # Errors
/// Returns `UsernameExistsException` or `AliasExistsException` for a name that is taken.
pub(super) async fn add_user(
    tx: &mut Tx<'_>,
    pool: &Pool,
    (user, origin, takeover): (&User, Origin, Takeover),
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<()> {
    // What the caller knows of the pool may be old.
    let stored = tx.pool(&pool.id).await?;
    if stored.is_none_or(|pool| pool.state != PoolState::Live) {
        return Err(ErrorKind::PoolNotFound.into());
    }
    let stage = match origin {
        Origin::SignUp => Stage::SignUp,
        Origin::Administrator => Stage::AdminCreate,
    };
    update_names(tx, pool, None, user, (stage, takeover), now, entropy).await?;
    Ok(tx.add_user(user, entropy).await?)
}

/// Checks a new user, and returns the user name and the attributes to store.
fn name_and_attributes(pool: &Pool, new: &NewUser, id: &str) -> Outcome<(String, Attributes)> {
    let schema = &pool.settings.schema;
    if new.attributes.iter().count() > MAX_ATTRIBUTES {
        return Err(DirectoryError::invalid("Too many attributes."));
    }
    if new.attributes.contains("sub") {
        let violation = ("sub".to_owned(), "Attribute cannot be updated.".to_owned());
        return Err(SchemaViolations(vec![violation]).into());
    }
    schema.check_values(&new.attributes)?;
    let mut attributes: Attributes = new.attributes.iter().filter(|(_, value)| !value.is_empty()).collect();
    let username = match pool.settings.sign_in.username_attributes.as_slice() {
        [] => local_name(pool, &new.username)?,
        allowed => {
            let attribute = typed_attribute(allowed, &new.username)?;
            match attributes.get(attribute.name()) {
                Some(value) if pool.stored_name(value) != pool.stored_name(&new.username) => {
                    let name = attribute.name();
                    return Err(DirectoryError::invalid(format!(
                        "Attribute value for {name} must not be different from the username."
                    )));
                }
                Some(_) => {}
                None => attributes.set(attribute.name(), &new.username),
            }
            mark_names(allowed, attribute, &mut attributes);
            id.to_owned()
        }
    };
    check_addresses(&attributes).map_err(DirectoryError::invalid)?;
    check_preferred_username(pool, &attributes)?;
    check_verified_flags(&new.attributes, &attributes)?;
    if new.origin == Origin::SignUp {
        refuse_verified_flags(&new.attributes)?;
        schema.check_required(&attributes)?;
    }
    Ok((username, attributes))
}

/// Marks the addresses of a new user: the one that was typed is a name although it is not verified,
/// and another one is none before. Somebody else's number would be taken otherwise.
fn mark_names(allowed: &[SignInAttribute], typed: SignInAttribute, attributes: &mut Attributes) {
    for attribute in allowed {
        let Some(flag) = attribute.verified_name() else { continue };
        let is_verified = attributes.get(flag) == Some("true");
        match *attribute == typed {
            _ if is_verified || !attributes.contains(attribute.name()) => {}
            true => attributes.remove(flag),
            false => attributes.set(flag, "false"),
        }
    }
}

/// Checks a user name that is not an address.
fn local_name(pool: &Pool, name: &str) -> Outcome<String> {
    if !is_name(name) {
        return Err(DirectoryError::invalid(
            "1 validation error detected: Value at 'username' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: [\\p{L}\\p{M}\\p{S}\\p{N}\\p{P}]+",
        ));
    }
    check_name_form(pool, name)?;
    Ok(name.to_owned())
}

/// Checks that a user name or a preferred one has not the form of another name: of a provider's
/// user, or of an address that is an alias. It would keep the other's holder out.
///
/// # Errors
/// Returns `InvalidParameterException`.
pub(super) fn check_name_form(pool: &Pool, name: &str) -> Outcome<()> {
    if is_federated_name(name) {
        return Err(DirectoryError::invalid("Username is reserved for users of an identity provider."));
    }
    let aliases = &pool.settings.sign_in.alias_attributes;
    // Names are compared in their stored form, which lacks characters that are not displayed.
    let stored = pool.stored_name(name);
    let stored = std::str::from_utf8(&stored).unwrap_or(name);
    if aliases.contains(&SignInAttribute::Email) && (is_address(name) || is_address(stored)) {
        return Err(DirectoryError::invalid(
            "Username cannot be of email format, since user pool is configured for email alias.",
        ));
    }
    if aliases.contains(&SignInAttribute::PhoneNumber) && is_phone_number(name) {
        return Err(DirectoryError::invalid(
            "Username cannot be of phone number format, since user pool is configured for phone number alias.",
        ));
    }
    Ok(())
}

/// Checks the form of a preferred user name that is an alias.
///
/// # Errors
/// Returns `InvalidParameterException`.
pub(super) fn check_preferred_username(pool: &Pool, attributes: &Attributes) -> Outcome<()> {
    let is_alias = pool.settings.sign_in.alias_attributes.contains(&SignInAttribute::PreferredUsername);
    match attributes.get(SignInAttribute::PreferredUsername.name()) {
        // An empty value removes it.
        Some("") | None => Ok(()),
        Some(name) if is_alias && !is_name(name) => Err(DirectoryError::invalid(
            "preferred_username: only letters, marks, symbols, numbers and punctuation are allowed.",
        )),
        Some(name) if is_alias => check_name_form(pool, name),
        _ => Ok(()),
    }
}

/// Returns the attribute that was typed as user name.
///
/// # Errors
/// Returns `InvalidParameterException` for a name that is no address of the pool's kinds.
pub(super) fn typed_attribute(allowed: &[SignInAttribute], typed: &str) -> Outcome<SignInAttribute> {
    let has = |attribute| allowed.contains(&attribute);
    let (email, phone) = (has(SignInAttribute::Email), has(SignInAttribute::PhoneNumber));
    if email && is_address(typed) {
        return Ok(SignInAttribute::Email);
    }
    if phone && is_phone_number(typed) {
        return Ok(SignInAttribute::PhoneNumber);
    }
    Err(DirectoryError::invalid(match (email, phone) {
        (true, true) => "Username should be either an email or a phone number.",
        (false, true) => "Username should be a phone number.",
        _ => "Username should be an email.",
    }))
}
