//! Users of another system, who are created when they sign in for the first time or forget the
//! password there.

use super::PoolEvents;
use crate::base::Secret;
use crate::directory::accounts::audit;
use crate::directory::create::{NewUser, Origin, add_user, draft_user};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::directory::names::Takeover;
use crate::directory::new_password::NewPassword;
use crate::directory::password_attempts::{Attempts, account_no};
use crate::directory::sender::Sender;
use crate::directory::sign_in::Answer;
use crate::model::{Attributes, User, UserStatus};
use crate::store::{CheckedWork, Lookup};
use crate::trigger::{MigratedUser, UserMigration};

/// Attributes that an answer may have and that are not set.
const IGNORED: [&str; 4] = ["sub", "username", "identities", "cognito:user_status"];

impl PoolEvents {
    /// Asks the pool's function about a name without a user that signs in with a password. Returns
    /// the user that it created.
    ///
    /// Each call is an attempt of the name: the other system's passwords cannot be guessed faster
    /// than those of the pool.
    ///
    /// # Errors
    /// Returns an error if the pool reveals unknown users and the function did not answer, or if
    /// the database fails.
    pub(in crate::directory) async fn migrate_at_sign_in(
        &self,
        sender: Sender<'_>,
        name: &str,
        answer: &Answer,
    ) -> Outcome<Option<User>> {
        let Answer::Password(password) = answer else { return Ok(None) };
        if !self.triggers.has::<UserMigration<'_>>(sender.pool) {
            return Ok(None);
        }
        let account_no = account_no(&self.ring, sender.pool, name, None);
        let attempts = Attempts { store: &self.store, account_no };
        if !attempts.begin(self.clock.now()).await? {
            return Ok(None);
        }
        let event = UserMigration {
            password: Some(password.expose()),
            validation_data: sender.data.validation_data,
            client_metadata: None,
        };
        let migrated =
            self.migrate(sender, (name, Some(password)), event, "UserMigration_Authentication").await;
        let hides_users = sender.client.settings.hide_unknown_users;
        match &migrated {
            Ok(Some(_)) => attempts.clear().await?,
            // The comparison with the password of nobody counts it.
            Ok(None) if hides_users => attempts.withdraw(self.clock.now()).await?,
            Err(error) if error.kind() != ErrorKind::UserNotFound => {
                attempts.withdraw(self.clock.now()).await?;
            }
            _ => attempts.fail(self.clock.now()).await?,
        }
        migrated
    }

    /// As [`PoolEvents::migrate_at_sign_in`], for a forgotten password. The user has none yet.
    ///
    /// # Errors
    /// As [`PoolEvents::migrate_at_sign_in`].
    pub(in crate::directory) async fn migrate_at_recovery(
        &self,
        sender: Sender<'_>,
        name: &str,
    ) -> Outcome<Option<User>> {
        if !self.triggers.has::<UserMigration<'_>>(sender.pool) {
            return Ok(None);
        }
        let client_metadata = sender.data.client_metadata;
        let event = UserMigration { password: None, validation_data: None, client_metadata };
        self.migrate(sender, (name, None), event, "UserMigration_ForgotPassword").await
    }

    async fn migrate(
        &self,
        sender: Sender<'_>,
        (name, password): (&str, Option<&Secret>),
        event: UserMigration<'_>,
        source: &'static str,
    ) -> Outcome<Option<User>> {
        let created = match self.triggers.call(sender.subject(name), source, &event).await {
            Ok(Some(answer)) if answer.user_attributes.as_ref().is_some_and(|given| !given.is_empty()) => {
                self.create_migrated(sender, (name, password), answer).await.map(Some)
            }
            Ok(_) => Ok(None),
            Err(error) => Err(error.into()),
        };
        match created {
            Err(error @ DirectoryError::Store(_)) => Err(error),
            // The other system's refusal must not reveal that the pool does not know the name. The
            // log has the reason.
            Err(_) if sender.client.settings.hide_unknown_users => Ok(None),
            Err(error) if error.kind() == ErrorKind::UserLambdaValidation => Err(DirectoryError::new(
                ErrorKind::UserNotFound,
                format!("Exception migrating user in app client {}", sender.client.id),
            )),
            result => result,
        }
    }

    /// Creates the user of an answer, with the password that was right in the other system. The
    /// pool's rules for passwords do not apply to it.
    async fn create_migrated(
        &self,
        sender: Sender<'_>,
        (name, password): (&str, Option<&Secret>),
        answer: MigratedUser,
    ) -> Outcome<User> {
        let (pool, now, entropy) = (sender.pool, self.clock.now(), &*self.entropy);
        let takeover = match answer.force_alias_creation {
            Some(true) => Takeover::LastVerifier,
            Some(false) | None => Takeover::Refuse,
        };
        let given = answer.user_attributes.unwrap_or_default();
        // An alias was typed; the function knows the user name.
        let username = given.get("username").filter(|_| pool.settings.sign_in.username_attributes.is_empty());
        let new = NewUser {
            username: username.map_or(name, String::as_str).to_owned(),
            attributes: given.iter().filter(|(name, _)| !IGNORED.contains(&&***name)).collect::<Attributes>(),
            status: match answer.final_user_status.as_deref() {
                Some("CONFIRMED") => UserStatus::Confirmed,
                _ => UserStatus::ResetRequired,
            },
            origin: Origin::Administrator,
            takeover,
        };
        let user = draft_user(pool, &new, now, entropy).map_err(|error| {
            tracing::warn!(pool = pool.id, %error, "the answer of UserMigration is not valid for the pool");
            DirectoryError::new(ErrorKind::InvalidLambdaResponse, "Unrecognizable lambda output")
        })?;
        let verifier_entropy = sender.keeps_verifiers.then_some(&self.entropy);
        let prepared = match password {
            Some(password) => {
                let new = NewPassword { password, network: sender.network, verifier_entropy };
                Some(self.passwords.hash(&user, new).await?)
            }
            None => None,
        };
        let (user, prepared) = (&user, &prepared);
        let added = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                add_user(tx, pool, (user, Origin::Administrator, takeover), now, entropy).await?;
                if let Some(prepared) = prepared {
                    prepared.set(tx, user.no, &pool.settings.password_policy, (now, None), entropy).await?;
                }
                Ok(())
            })
        });
        match added.await {
            Ok(()) => audit("migrated", user, Some(&sender.client.id)),
            // Another request came first.
            Err(error) if error.kind() == ErrorKind::UsernameExists => {
                let found = self.store.find_user(pool, name, Lookup::SignIn).await?;
                return found.ok_or(error);
            }
            Err(error) => return Err(error),
        }
        Ok(user.clone())
    }
}
