//! Changes of users by administrators that concern no password: attributes, access, deletion.

use super::code_delivery::Requester;
use super::{AccountService, Administration, audit, current};
use crate::base::{Entropy, Timestamp};
use crate::directory::attributes::{Actor, delete_attributes};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::directory::lifecycle::{delete_user, set_enabled};
use crate::model::{Attributes, Pool, User};
use crate::store::{CheckedWork, Lookup, Tx};

/// A change of a user.
#[derive(Clone, Copy, Debug)]
enum Change<'a> {
    Remove(&'a [&'a str]),
    SetEnabled(bool),
    Delete,
}

impl AccountService {
    /// Returns the user with this name, which is a user name, an alias or a `sub`.
    ///
    /// # Errors
    /// Returns `UserNotFoundException`.
    pub async fn admin_user(&self, pool: &Pool, name: &str) -> Outcome<User> {
        let found = self.store.find_user(pool, name, Lookup::Administrator).await?;
        found.ok_or_else(|| ErrorKind::UserNotFound.into())
    }

    /// Changes attributes of a user. A code is sent to a new address that the pool verifies, unless
    /// the administrator states that it is verified.
    ///
    /// # Errors
    /// Returns `UserNotFoundException`, and the errors of a change of attributes and of a message.
    pub async fn admin_update_attributes(
        &self,
        administration: Administration<'_>,
        name: &str,
        changes: &Attributes,
    ) -> Outcome<User> {
        let user = self.admin_user(administration.pool, name).await?;
        let by = (Actor::Administrator, Requester::default());
        let of = (administration.subject(&user.username), &user);
        let (user, _) = self.change_attributes(of, changes, by, administration.data).await?;
        audit("attributes_updated", &user, None);
        Ok(user)
    }

    /// Removes attributes of a user.
    ///
    /// # Errors
    /// Returns `UserNotFoundException`, and the errors of a change of attributes.
    pub async fn admin_delete_attributes(&self, pool: &Pool, name: &str, names: &[&str]) -> Outcome<User> {
        self.admin_change(pool, name, Change::Remove(names), "attributes_deleted").await
    }

    /// Enables or disables a user. Disabling ends all sessions and tokens.
    ///
    /// # Errors
    /// Returns `UserNotFoundException`.
    pub async fn admin_set_enabled(&self, pool: &Pool, name: &str, enabled: bool) -> Outcome<User> {
        let change = if enabled { "user_enabled" } else { "user_disabled" };
        self.admin_change(pool, name, Change::SetEnabled(enabled), change).await
    }

    /// Deletes a user, with everything that is stored of the user.
    ///
    /// # Errors
    /// Returns `UserNotFoundException`.
    pub async fn admin_delete_user(&self, pool: &Pool, name: &str) -> Outcome<User> {
        self.admin_change(pool, name, Change::Delete, "user_deleted").await
    }

    async fn admin_change(&self, pool: &Pool, name: &str, change: Change<'_>, event: &str) -> Outcome<User> {
        let (entropy, now) = (&*self.entropy, self.clock.now());
        let found = self.admin_user(pool, name).await?;
        let changed = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            let no = found.no;
            Box::pin(async move {
                let user = current(tx, no).await?;
                change.apply(tx, pool, user, now, entropy).await
            })
        });
        let user = changed.await?;
        audit(event, &user, None);
        Ok(user)
    }
}

impl Change<'_> {
    /// Applies the change. Returns the user after it; before it, if the user is deleted.
    async fn apply(
        self,
        tx: &mut Tx<'_>,
        pool: &Pool,
        user: User,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Outcome<User> {
        match self {
            Self::Remove(names) => {
                delete_attributes(tx, pool, &user, names, Actor::Administrator, now, entropy).await
            }
            Self::SetEnabled(enabled) => set_enabled(tx, &user, enabled, now, entropy).await,
            Self::Delete => delete_user(tx, &user, now, entropy).await.map(|()| user),
        }
    }
}
