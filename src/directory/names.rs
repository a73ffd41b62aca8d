//! Sign-in names: each belongs to one user of a pool. A user's names follow from the user's row,
//! and each change of the row claims and releases them in the same transaction.

use super::error::{DirectoryError, ErrorKind, Outcome};
use super::linking::save_changed;
use crate::base::{Entropy, Timestamp};
use crate::model::{NameKind, Pool, SignInAttribute, SignInName, User};
use crate::store::{NameHolder, Tx};

/// The length of a `sub`.
pub(super) const SUB_LENGTH: usize = 36;

/// What becomes of an alias that another user holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// The operation fails.
    Refuse,
    /// The alias moves to the user who verified it last; that of the other one is no longer
    /// verified.
    LastVerifier,
}

/// The operation that claims names; it selects the words of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    SignUp,
    AdminCreate,
    Update,
}

/// Returns the error of a name that another user has.
pub(super) fn conflict(kind: NameKind, stage: Stage, pool: &Pool) -> DirectoryError {
    let attribute = match kind {
        NameKind::Username if stage == Stage::AdminCreate => {
            return DirectoryError::new(ErrorKind::UsernameExists, "User account already exists");
        }
        NameKind::Username => return ErrorKind::UsernameExists.into(),
        NameKind::Email => "email",
        NameKind::PhoneNumber => "phone_number",
        NameKind::PreferredUsername => "preferred_username",
    };
    let is_username = !pool.settings.sign_in.username_attributes.is_empty();
    let kind = match (is_username, stage) {
        (true, Stage::SignUp | Stage::AdminCreate) => ErrorKind::UsernameExists,
        _ => ErrorKind::AliasExists,
    };
    DirectoryError::new(kind, format!("An account with the given {attribute} already exists."))
}

/// Claims the names that `after` has and `before` had not, and releases the others.
pub(super) async fn update_names(
    tx: &mut Tx<'_>,
    pool: &Pool,
    before: Option<&User>,
    after: &User,
    (stage, takeover): (Stage, Takeover),
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<()> {
    let old = before.map(|user| pool.sign_in_names(user)).unwrap_or_default();
    let new = pool.sign_in_names(after);
    for name in old.iter().filter(|name| !new.iter().any(|kept| kept.name == name.name)) {
        tx.release_name(pool.no, &name.name, after.no).await?;
    }
    for name in new.iter().filter(|name| !old.contains(name)) {
        if is_sub_of_another(tx, pool, name, after).await? {
            return Err(conflict(name.kind, stage, pool));
        }
        if tx.claim_name(pool.no, name, after.no).await? {
            continue;
        }
        match tx.holder_of_name(pool.no, &name.name).await? {
            Some(holder) if holder.user_no == after.no => tx.set_name_kind(pool.no, name, after.no).await?,
            Some(holder) if takeover == Takeover::LastVerifier && is_movable(pool, name, holder) => {
                unverify(tx, pool, name, holder, now, entropy).await?;
                tx.claim_name(pool.no, name, after.no).await?;
            }
            _ => return Err(conflict(name.kind, stage, pool)),
        }
    }
    Ok(())
}

/// Returns whether a name is the `sub` of another user, which would hide that user from
/// administrators.
async fn is_sub_of_another(tx: &mut Tx<'_>, pool: &Pool, name: &SignInName, user: &User) -> Outcome<bool> {
    match std::str::from_utf8(&name.name) {
        Ok(text) if text.len() == SUB_LENGTH => {
            let found = tx.user(text).await?;
            Ok(found.is_some_and(|found| found.pool_id == pool.id && found.id != user.id))
        }
        _ => Ok(false),
    }
}

/// Returns whether a name moves to the last verifier: an address that is an alias for both. In a
/// pool with `username_attributes` it is the user name, which stays with its user.
fn is_movable(pool: &Pool, name: &SignInName, holder: NameHolder) -> bool {
    let is_address = |kind| matches!(kind, NameKind::Email | NameKind::PhoneNumber);
    pool.settings.sign_in.username_attributes.is_empty() && is_address(name.kind) && is_address(holder.kind)
}

/// Marks the address of the earlier holder as not verified, and takes the name.
async fn unverify(
    tx: &mut Tx<'_>,
    pool: &Pool,
    name: &SignInName,
    holder: NameHolder,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Outcome<()> {
    tx.release_name(pool.no, &name.name, holder.user_no).await?;
    let Some(mut user) = tx.user_by_number(holder.user_no).await? else { return Ok(()) };
    let attribute = match holder.kind {
        NameKind::PhoneNumber => SignInAttribute::PhoneNumber,
        _ => SignInAttribute::Email,
    };
    if let Some(verified) = attribute.verified_name() {
        user.attributes.set(verified, "false");
    }
    save_changed(tx, user, now, entropy).await?;
    Ok(())
}
