//! Status, disabling and deletion of users.

use super::account_code::RightCode;
use super::credential_events::{CredentialEvent, Current, end_credentials};
use super::error::{DirectoryError, ErrorKind, Outcome};
use super::linking::save_changed;
use super::names::{Stage, Takeover, update_names};
use crate::base::{Entropy, Timestamp};
use crate::model::{Pool, SignInAttribute, User, UserStatus};
use crate::store::{Change, Tx};

/// Gives `user` the status `next`. A user who becomes confirmed gets the verified aliases.
///
/// # Errors
/// Returns `NotAuthorizedException` if the status may not follow, `AliasExistsException` if an
/// alias is taken and `takeover` does not move it.
pub async fn set_status(
    tx: &mut Tx<'_>,
    pool: &Pool,
    user: &User,
    next: UserStatus,
    takeover: Takeover,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<User> {
    if !user.status.may_become(next) {
        let (from, to) = (user.status.name(), next.name());
        return Err(DirectoryError::new(
            ErrorKind::NotAuthorized,
            format!("User cannot become {to}. Current status is {from}"),
        ));
    }
    let after = User { status: next, ..user.clone() };
    update_names(tx, pool, Some(user), &after, (Stage::Update, takeover), now, entropy).await?;
    Ok(save_changed(tx, after, now, entropy).await?)
}

/// Confirms the sign-up of `user`. A code verifies the address that it was sent to.
///
/// # Errors
/// Returns `NotAuthorizedException` for a user who is not unconfirmed, `ExpiredCodeException` if
/// the code was used, `AliasExistsException` if an alias is taken and `takeover` does not move it.
pub(super) async fn confirm(
    tx: &mut Tx<'_>,
    pool: &Pool,
    user: &User,
    code: Option<&RightCode>,
    takeover: Takeover,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<User> {
    if user.status != UserStatus::Unconfirmed {
        let status = user.status.name();
        return Err(DirectoryError::new(
            ErrorKind::NotAuthorized,
            format!("User cannot be confirmed. Current status is {status}"),
        ));
    }
    let mut after = User { status: UserStatus::Confirmed, ..user.clone() };
    if let Some(code) = code {
        let is_sent = |attribute: &SignInAttribute| {
            user.attributes.get(attribute.name()) == Some(code.address.as_str())
        };
        // A code of an older node has no address.
        let has_address = [SignInAttribute::Email, SignInAttribute::PhoneNumber].iter().any(is_sent);
        if !has_address && !code.address.is_empty() {
            return Err(ErrorKind::CodeExpired.into());
        }
        code.use_up(tx).await?;
        let verified = pool.settings.auto_verified.iter().find(|attribute| is_sent(attribute));
        if let Some(flag) = verified.and_then(|attribute| attribute.verified_name()) {
            after.attributes.set(flag, "true");
        }
    }
    update_names(tx, pool, Some(user), &after, (Stage::Update, takeover), now, entropy).await?;
    Ok(save_changed(tx, after, now, entropy).await?)
}

/// Enables or disables `user`. Sessions and refresh tokens of a disabled user end.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn set_enabled(
    tx: &mut Tx<'_>,
    user: &User,
    enabled: bool,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<User> {
    if !enabled {
        let event = CredentialEvent::Disabled;
        end_credentials(tx, user, event, Current::default(), now, entropy).await?;
    }
    let after = User { enabled, ..user.clone() };
    Ok(save_changed(tx, after, now, entropy).await?)
}

/// Deletes `user`: sessions, names, keys, passwords, codes and memberships go in the same
/// transaction. The change feed names the `sub` until it is purged, an hour later.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn delete_user(tx: &mut Tx<'_>, user: &User, now: Timestamp, entropy: &dyn Entropy) -> Outcome<()> {
    end_credentials(tx, user, CredentialEvent::Deleted, Current::default(), now, entropy).await?;
    tx.remove_user(user, entropy).await?;
    tx.publish(&Change::User(user.id.clone()), entropy).await?;
    Ok(())
}
