//! Sign-up, its confirmation, and another code for it.

use super::code_delivery::{Addressee, CodeDelivery, Recipient, Requester, sign_up_recipient};
use super::{Account, AccountService, audit};
use crate::base::Secret;
use crate::config::MessageEvent;
use crate::directory::account_code::CodePurpose;
use crate::directory::answer_time::in_whole_intervals;
use crate::directory::attributes::{Actor, check_writable};
use crate::directory::create::{NewUser, Origin, add_user, draft_user};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::directory::events::{ConfirmationSource, MessageSource, SignUpSource};
use crate::directory::lifecycle::confirm;
use crate::directory::names::Takeover;
use crate::directory::sender::Sender;
use crate::model::{Attributes, Factor, Pool, User, UserStatus, has_code_address};
use crate::store::CheckedWork;

/// A sign-up.
#[derive(Clone, Copy, Debug)]
pub struct SignUp<'a> {
    /// What was typed as user name.
    pub username: &'a str,
    /// The password; `None` in a pool whose users sign in with codes.
    pub password: Option<&'a Secret>,
    /// The attributes.
    pub attributes: &'a Attributes,
}

/// The result of a sign-up.
#[derive(Clone, Debug)]
pub struct SignedUp {
    /// The user, who is confirmed only if a function of the pool says so.
    pub user: User,
    /// Where the code was sent; `None` if an administrator has to confirm the user, or nobody.
    pub delivery: Option<CodeDelivery>,
}

impl AccountService {
    /// Signs a user up, and sends the code that confirms it.
    ///
    /// # Errors
    /// Returns `NotAuthorizedException` if only administrators create users,
    /// `InvalidPasswordException`, and the errors of a new user, of a message and of a function.
    pub async fn sign_up(&self, sender: Sender<'_>, sign_up: SignUp<'_>) -> Outcome<SignedUp> {
        let (pool, entropy) = (sender.pool, &*self.entropy);
        if pool.settings.only_administrators_create {
            return Err(DirectoryError::new(
                ErrorKind::NotAuthorized,
                "SignUp is not permitted for this user pool",
            ));
        }
        check_writable(sign_up.attributes, Actor::User(&sender.client.settings))?;
        let new = NewUser {
            username: sign_up.username.to_owned(),
            attributes: sign_up.attributes.clone(),
            status: UserStatus::Unconfirmed,
            origin: Origin::SignUp,
            takeover: Takeover::Refuse,
        };
        let now = self.clock.now();
        let mut user = draft_user(pool, &new, now, entropy)?;
        let hashing = (sender.network, sender.keeps_verifiers);
        let password = match sign_up.password {
            Some(password) => Some(self.prepare(pool, &user, password, hashing).await?),
            None if signs_in_by_code(pool, &user) => None,
            None => return Err(DirectoryError::invalid("Password is required for this user pool.")),
        };
        let username = user.username.clone();
        let subject = sender.subject(&username);
        self.events.pre_sign_up(subject, SignUpSource::SignUp, &mut user, sender.data).await?;
        let is_confirmed = user.status == UserStatus::Confirmed;
        let recipient = sign_up_recipient(pool, &user).filter(|_| !is_confirmed);
        let mut message = recipient.map(|to| self.code_message(MessageEvent::SignUp, to));
        if let Some(message) = &mut message {
            self.customize(message, (subject, MessageSource::SignUp), &user, sender.data).await?;
        }
        let (user_of_work, password, message) = (&user, &password, &message);
        let requester = Requester::of(&sender);
        let added = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                let user = user_of_work;
                add_user(tx, pool, (user, Origin::SignUp, Takeover::Refuse), now, entropy).await?;
                if let Some(password) = password {
                    password.set(tx, user.no, &pool.settings.password_policy, (now, None), entropy).await?;
                }
                let Some(message) = message else { return Ok(None) };
                let to = Addressee { account_no: user.no, user: Some(user), name: "" };
                let request = (message, requester);
                self.send_code(tx, (pool, to), CodePurpose::SignUp, request, now).await.map(Some)
            })
        });
        let delivery = added.await?;
        audit("sign_up", &user, Some(&sender.client.id));
        if is_confirmed {
            let source = ConfirmationSource::SignUp;
            self.events.post_confirmation(subject, source, &user, sender.data).await?;
        }
        Ok(SignedUp { user, delivery })
    }

    /// Confirms a sign-up with the code that was sent. The code verifies its address. `takeover`
    /// decides about an alias that another user has verified (`ForceAliasCreation`). Returns the
    /// user, and the factor to whose address the code was sent.
    ///
    /// # Errors
    /// Returns `CodeMismatchException`, `ExpiredCodeException`, `AliasExistsException`, or, where
    /// users are not hidden, `NotAuthorizedException` for a user who is confirmed. A refusal leaves
    /// the code valid.
    pub async fn confirm_sign_up(
        &self,
        sender: Sender<'_>,
        name: &str,
        code: &Secret,
        takeover: Takeover,
    ) -> Outcome<(User, Factor)> {
        in_whole_intervals(self.confirm_with_code(sender, name, code, takeover)).await
    }

    async fn confirm_with_code(
        &self,
        sender: Sender<'_>,
        name: &str,
        code: &Secret,
        takeover: Takeover,
    ) -> Outcome<(User, Factor)> {
        let (pool, entropy, now) = (sender.pool, &*self.entropy, self.clock.now());
        let hides_users = sender.client.settings.hide_unknown_users;
        let Account { user, no } = self.account(pool, name).await?;
        match &user {
            None if !hides_users => return Err(ErrorKind::UserNotFound.into()),
            Some(user) if user.status != UserStatus::Unconfirmed && !hides_users => {
                return Err(not_unconfirmed(user));
            }
            _ => {}
        }
        let right = CodePurpose::SignUp.check((&self.store, &self.ring), (no, hides_users), code, now);
        let right = &right.await?;
        let Some(user) = user else { return Err(ErrorKind::CodeMismatch.into()) };
        let confirmed = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            let no = user.no;
            Box::pin(async move {
                let user = tx.user_by_number(no).await?.ok_or(ErrorKind::CodeMismatch)?;
                confirm(tx, pool, &user, Some(right), takeover, now, entropy).await
            })
        });
        let user = confirmed.await?;
        audit("sign_up_confirmed", &user, Some(&sender.client.id));
        let (subject, source) = (sender.subject(&user.username), ConfirmationSource::SignUp);
        self.events.post_confirmation(subject, source, &user, sender.data).await?;
        Ok((user, right.factor()))
    }

    /// Sends another code for a sign-up; the earlier one is void.
    ///
    /// # Errors
    /// Returns `InvalidParameterException` for a user without an address, and, if users are not
    /// hidden, for one who is confirmed, or `UserNotFoundException`; `LimitExceededException` after
    /// too many.
    pub async fn resend_sign_up_code(&self, sender: Sender<'_>, name: &str) -> Outcome<CodeDelivery> {
        in_whole_intervals(self.resend_code(sender, name)).await
    }

    async fn resend_code(&self, sender: Sender<'_>, name: &str) -> Outcome<CodeDelivery> {
        let (pool, now) = (sender.pool, self.clock.now());
        let Account { mut user, no } = self.account(pool, name).await?;
        let hides_users = sender.client.settings.hide_unknown_users;
        let unconfirmed = user.as_ref().filter(|user| user.status == UserStatus::Unconfirmed);
        let recipient = match (unconfirmed.map(|user| unconfirmed_recipient(sender, user)), &user) {
            (Some(Ok(recipient)), _) => recipient,
            (Some(Err(error)), _) if !hides_users => return Err(error),
            (None, None) if !hides_users => return Err(ErrorKind::UserNotFound.into()),
            (None, Some(_)) if !hides_users => {
                return Err(DirectoryError::invalid("User is already confirmed."));
            }
            // A user who is confirmed or has no address is like nobody.
            _ => {
                let known = user.take();
                self.simulated_recipient(&pool.settings.auto_verified, (name, no), known.as_ref())
            }
        };
        let mut message = self.code_message(MessageEvent::Resend, recipient);
        if let Some(user) = &user {
            let of = (sender.subject(&user.username), MessageSource::ResendCode);
            self.customize(&mut message, of, user, sender.data).await?;
        }
        let (message, requester) = (&message, Requester::of(&sender));
        let to = Addressee { account_no: no, user: user.as_ref(), name };
        let sent = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                self.send_code(tx, (pool, to), CodePurpose::SignUp, (message, requester), now).await
            })
        });
        sent.await
    }
}

/// Returns the address to which the code of an unconfirmed user is sent.
/// Returns whether a new user can sign in with a code, to the address that the sign-up verifies.
fn signs_in_by_code(pool: &Pool, user: &User) -> bool {
    let verified = &pool.settings.auto_verified;
    has_code_address(&pool.settings.first_factors, &user.attributes, |address| verified.contains(&address))
}

fn unconfirmed_recipient(sender: Sender<'_>, user: &User) -> Outcome<Recipient> {
    let recipient = sign_up_recipient(sender.pool, user);
    recipient.ok_or_else(|| DirectoryError::invalid("Auto verification not turned on."))
}

fn not_unconfirmed(user: &User) -> DirectoryError {
    let status = user.status.name();
    DirectoryError::new(
        ErrorKind::NotAuthorized,
        format!("User cannot be confirmed. Current status is {status}"),
    )
}

impl<'a> Requester<'a> {
    /// Returns the sender of a request.
    pub(super) fn of(sender: &Sender<'a>) -> Self {
        Self {
            address: sender.address,
            language: sender.language,
            client_id: Some(&sender.client.id),
            redirect_uri: sender.redirect_uri,
        }
    }
}
