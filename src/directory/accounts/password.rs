//! The password of a signed-in user.

use super::{AccountService, audit};
use crate::base::Secret;
use crate::directory::credential_events::{CredentialEvent, Current, end_credentials};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::directory::new_password::parse_hash;
use crate::directory::password::{HashError, Verdict};
use crate::directory::password_attempts::Attempts;
use crate::directory::sender::Sender;
use crate::model::{User, UserStatus};
use crate::store::CheckedWork;
use std::sync::Arc;

impl AccountService {
    /// Changes the password of a user who knows the current one. All other sessions and tokens end;
    /// `current` names those that stay.
    ///
    /// # Errors
    /// Returns `NotAuthorizedException` for a wrong password and during a lock,
    /// `InvalidPasswordException` or `PasswordHistoryPolicyViolationException` for the new one.
    pub async fn change_password(
        &self,
        sender: Sender<'_>,
        user: &User,
        current: Current<'_>,
        (previous, proposed): (&Secret, &Secret),
    ) -> Outcome<()> {
        let (pool, entropy) = (sender.pool, &*self.entropy);
        let set_at = self.verify_password(sender, user, previous).await?;
        let hashing = (sender.network, sender.keeps_verifiers);
        let prepared = &self.prepare(pool, user, proposed, hashing).await?;
        let now = self.clock.now();
        let changed = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            let no = user.no;
            Box::pin(async move {
                let user = tx.user_by_number(no).await?.filter(may_change).ok_or_else(incorrect)?;
                // Another change came first.
                let stored = tx.password(no).await?;
                if stored.is_none_or(|password| password.set_at != set_at) {
                    return Err(incorrect());
                }
                let policy = &pool.settings.password_policy;
                prepared.set(tx, no, policy, (now, None), entropy).await?;
                tx.clear_password_failures(no).await?;
                let event = CredentialEvent::PasswordChanged;
                Ok(end_credentials(tx, &user, event, current, now, entropy).await?)
            })
        });
        changed.await?;
        audit("password_changed", user, Some(&sender.client.id));
        Ok(())
    }

    /// Checks the current password of a user who asks for a change that needs it.
    ///
    /// # Errors
    /// Returns `NotAuthorizedException` for a wrong password and during a lock.
    pub async fn check_password(&self, sender: Sender<'_>, user: &User, password: &Secret) -> Outcome<()> {
        self.verify_password(sender, user, password).await?;
        let no = user.no;
        self.store.transaction(|tx| Box::pin(async move { tx.clear_password_failures(no).await })).await?;
        Ok(())
    }

    /// Compares the password of `user`, as a sign-in does. Returns when it was set.
    async fn verify_password(
        &self,
        sender: Sender<'_>,
        user: &User,
        password: &Secret,
    ) -> Outcome<crate::base::Timestamp> {
        let attempts = Attempts { store: &self.store, account_no: user.no };
        if !may_change(user) {
            return Err(incorrect());
        }
        let stored = self.store.password(user.no).await?.ok_or_else(incorrect)?;
        if !attempts.begin(self.clock.now()).await? {
            return Err(DirectoryError::new(ErrorKind::NotAuthorized, "Password attempts exceeded"));
        }
        let hash = Arc::new(parse_hash(&stored.hash)?);
        match self.passwords.hasher.verify(sender.network, password.clone(), hash).await {
            Ok(Verdict::Match { .. }) => Ok(stored.set_at),
            Ok(Verdict::Mismatch) | Err(HashError::TooLong) => {
                attempts.fail(self.clock.now()).await?;
                Err(incorrect())
            }
            Err(error) => {
                attempts.withdraw(self.clock.now()).await?;
                Err(error.into())
            }
        }
    }
}

fn may_change(user: &User) -> bool {
    user.enabled && user.status == UserStatus::Confirmed
}

fn incorrect() -> DirectoryError {
    DirectoryError::new(ErrorKind::NotAuthorized, "Incorrect username or password.")
}
