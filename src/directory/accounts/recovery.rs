//! Forgotten passwords.

use super::code_delivery::{
    Addressee, CodeDelivery, Recipient, Requester, is_recovery_address, recovery_recipient,
    usual_recovery_attributes,
};
use super::{Account, AccountService, audit};
use crate::base::Secret;
use crate::config::MessageEvent;
use crate::directory::account_code::CodePurpose;
use crate::directory::answer_time::in_whole_intervals;
use crate::directory::credential_events::{CredentialEvent, Current, end_credentials};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::directory::events::{ConfirmationSource, MessageSource};
use crate::directory::lifecycle::set_status;
use crate::directory::names::Takeover;
use crate::directory::sender::Sender;
use crate::model::{Pool, User, UserFactors, UserStatus};
use crate::store::CheckedWork;

impl AccountService {
    /// Sends a code that allows a new password.
    ///
    /// Where users are hidden, a name without a user, and a user who cannot reset the password, get
    /// the answer of a user who can.
    ///
    /// # Errors
    /// Otherwise returns `UserNotFoundException`, `NotAuthorizedException`, or
    /// `InvalidParameterException` for a user without a verified address; `LimitExceededException`
    /// after too many messages.
    pub async fn forgot_password(&self, sender: Sender<'_>, name: &str) -> Outcome<CodeDelivery> {
        in_whole_intervals(self.send_recovery_code(sender, name)).await
    }

    async fn send_recovery_code(&self, sender: Sender<'_>, name: &str) -> Outcome<CodeDelivery> {
        let (pool, now) = (sender.pool, self.clock.now());
        let Account { mut user, mut no } = self.account(pool, name).await?;
        // A user of another system has no factors yet.
        let factors = &self.factors(pool, no).await?;
        if user.is_none()
            && let Some(migrated) = self.events.migrate_at_recovery(sender, name).await?
        {
            (no, user) = (migrated.no, Some(migrated));
        }
        let found = match &user {
            Some(user) => resettable(pool, user, factors),
            None => {
                Err(DirectoryError::new(ErrorKind::UserNotFound, "Username/client id combination not found."))
            }
        };
        let recipient = match found {
            Ok(recipient) => recipient,
            Err(_) if sender.client.settings.hide_unknown_users => {
                // No message, and no code that would be valid.
                let known = user.take();
                self.simulated_recipient(&usual_recovery_attributes(pool), (name, no), known.as_ref())
            }
            Err(error) => return Err(error),
        };
        let mut message = self.code_message(MessageEvent::ForgotPassword, recipient);
        if let Some(user) = &user {
            let of = (sender.subject(&user.username), MessageSource::ForgotPassword);
            self.customize(&mut message, of, user, sender.data).await?;
        }
        let message = &message;
        let to = Addressee { account_no: no, user: user.as_ref(), name };
        let requester = Requester::of(&sender);
        let sent = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                self.send_code(tx, (pool, to), CodePurpose::ForgotPassword, (message, requester), now).await
            })
        });
        sent.await
    }

    /// Sets a new password with a code. All sessions and tokens of the user end.
    ///
    /// # Errors
    /// Returns `CodeMismatchException`, `ExpiredCodeException`, `InvalidPasswordException` or
    /// `PasswordHistoryPolicyViolationException`. A password that is refused leaves the code valid.
    pub async fn confirm_forgot_password(
        &self,
        sender: Sender<'_>,
        name: &str,
        code: &Secret,
        password: &Secret,
    ) -> Outcome<User> {
        in_whole_intervals(self.recover(sender, name, code, password)).await
    }

    async fn recover(
        &self,
        sender: Sender<'_>,
        name: &str,
        code: &Secret,
        password: &Secret,
    ) -> Outcome<User> {
        let (pool, entropy, now) = (sender.pool, &*self.entropy, self.clock.now());
        let hides_users = sender.client.settings.hide_unknown_users;
        let Account { user, no } = self.account(pool, name).await?;
        if user.is_none() && !hides_users {
            return Err(ErrorKind::UserNotFound.into());
        }
        let purpose = CodePurpose::ForgotPassword;
        let right = purpose.check((&self.store, &self.ring), (no, hides_users), code, now).await?;
        let factors = &self.factors(pool, no).await?;
        let Some(user) = user.filter(|user| resettable(pool, user, factors).is_ok()) else {
            return Err(ErrorKind::CodeMismatch.into());
        };
        let hashing = (sender.network, sender.keeps_verifiers);
        let prepared = self.prepare(pool, &user, password, hashing).await?;
        let (right, prepared) = (&right, &prepared);
        let set = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            let no = user.no;
            Box::pin(async move {
                // Hashing took its time.
                let current = tx.user_by_number(no).await?;
                let user = current.filter(|user| resettable(pool, user, factors).is_ok());
                let user = user.filter(|user| is_recovery_address(pool, user, factors, &right.address));
                let user = user.ok_or(ErrorKind::CodeExpired)?;
                right.use_up(tx).await?;
                let event = CredentialEvent::PasswordRecovered;
                end_credentials(tx, &user, event, Current::default(), now, entropy).await?;
                let policy = &pool.settings.password_policy;
                prepared.set(tx, user.no, policy, (now, None), entropy).await?;
                tx.clear_password_failures(user.no).await?;
                let (status, takeover) = (UserStatus::Confirmed, Takeover::LastVerifier);
                set_status(tx, pool, &user, status, takeover, now, entropy).await
            })
        });
        let user = set.await?;
        audit("password_recovered", &user, Some(&sender.client.id));
        let (subject, source) = (sender.subject(&user.username), ConfirmationSource::ForgotPassword);
        self.events.post_confirmation(subject, source, &user, sender.data).await?;
        Ok(user)
    }
}

/// Returns where the code for a new password of `user` is sent.
///
/// # Errors
/// Returns `NotAuthorizedException` for a user who cannot set one, `InvalidParameterException`
/// without a verified address that is no second factor.
pub(super) fn resettable(pool: &Pool, user: &User, factors: &UserFactors) -> Outcome<Recipient> {
    let refused = |words: &'static str| Err(DirectoryError::new(ErrorKind::NotAuthorized, words));
    if !user.enabled {
        return refused("User is disabled.");
    }
    if user.password_is_disabled() {
        return refused("User password cannot be reset in the current state.");
    }
    match user.status {
        UserStatus::Confirmed | UserStatus::ResetRequired => {}
        UserStatus::ForceChangePassword if pool.settings.temporary_password_recovery => {}
        // Such a user has no verified address.
        UserStatus::Unconfirmed => {}
        _ => return refused("User password cannot be reset in the current state."),
    }
    let recipient =
        recovery_recipient(pool, user, factors).filter(|_| user.status != UserStatus::Unconfirmed);
    recipient.ok_or_else(|| {
        DirectoryError::invalid(
            "Cannot reset password for the user as there is no registered/verified email or phone_number",
        )
    })
}
