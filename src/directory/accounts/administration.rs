//! What administrators do with accounts.

use super::code_delivery::{Addressee, CodeDelivery, Requester, address_of};
use super::providers::enable_password;
use super::recovery::resettable;
use super::{AccountService, audit, current};
use crate::base::{Entropy, Secret, Timestamp};
use crate::config::MessageEvent;
use crate::directory::account_code::CodePurpose;
use crate::directory::create::{NewUser, Origin, add_user, draft_user};
use crate::directory::credential_events::{CredentialEvent, Current, end_credentials, sign_out_everywhere};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::directory::events::{ConfirmationSource, MessageSource, SignUpSource};
use crate::directory::lifecycle::{confirm, set_status};
use crate::directory::names::Takeover;
use crate::directory::new_password::{PreparedPassword, temporary_end};
use crate::model::{Attributes, PasswordPolicy, Pool, SignInAttribute, User, UserStatus, has_code_address};
use crate::store::{CheckedWork, Tx};
use crate::trigger::{ClientData, Subject};

/// The characters of a generated password, without those that look alike.
const CLASSES: [&[u8]; 4] =
    [b"ABCDEFGHJKLMNPQRSTUVWXYZ", b"abcdefghijkmnpqrstuvwxyz", b"23456789", b"!#%+-=?@_"];
/// The length of a generated password.
const GENERATED_LENGTH: usize = 16;

/// The pool that an administrator works with.
#[derive(Clone, Copy, Debug)]
pub struct Administration<'a> {
    /// The pool.
    pub pool: &'a Pool,
    /// Whether a client of the pool allows Secure Remote Password.
    pub keeps_verifiers: bool,
    /// What the administrator sends along, for the functions of the pool.
    pub data: ClientData<'a>,
}

impl<'a> Administration<'a> {
    /// Returns what the events of a request are about: the user with this name.
    pub(super) fn subject(&self, username: &'a str) -> Subject<'a> {
        Subject { pool: self.pool, client_id: None, username }
    }
}

/// A user that an administrator creates.
#[derive(Clone, Debug)]
pub struct AdminNewUser {
    /// What was given as user name.
    pub username: String,
    /// The attributes.
    pub attributes: Attributes,
    /// The temporary password; generated if there is none.
    pub temporary_password: Option<Secret>,
    /// Whether the user gets a message.
    pub invitation: Invitation,
    /// What becomes of a verified alias that another user holds (`ForceAliasCreation`).
    pub takeover: Takeover,
}

/// Whether a new user gets a message with the temporary password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invitation {
    /// A message to the phone number, if the user has one: "The default value is `SMS`"
    /// [AdminCreateUser, `DesiredDeliveryMediums`].
    Default,
    /// A message to each of these addresses that the user has (`DesiredDeliveryMediums`).
    Send(Vec<SignInAttribute>),
    /// None (`MessageAction=SUPPRESS`).
    Suppress,
}

impl AccountService {
    /// Creates a user with a temporary password. Without one, a user with a verified address for
    /// codes that replace a password needs none.
    ///
    /// # Errors
    /// Returns `UsernameExistsException`, `InvalidPasswordException`, and the errors of a new user
    /// and of a message.
    pub async fn admin_create_user(
        &self,
        administration: Administration<'_>,
        new: AdminNewUser,
    ) -> Outcome<User> {
        let (pool, entropy, now) = (administration.pool, &*self.entropy, self.clock.now());
        let has_password = new.temporary_password.is_some() || !signs_in_by_code(pool, &new.attributes);
        let status = if has_password { UserStatus::ForceChangePassword } else { UserStatus::Confirmed };
        let user = NewUser {
            username: new.username,
            attributes: new.attributes,
            status,
            origin: Origin::Administrator,
            takeover: new.takeover,
        };
        let mut user = draft_user(pool, &user, now, entropy)?;
        let temporary = new.temporary_password.unwrap_or_else(|| generate(entropy));
        let hashing = (0, administration.keeps_verifiers);
        let prepared = match has_password {
            true => Some(self.prepare(pool, &user, &temporary, hashing).await?),
            false => None,
        };
        let prepared = prepared.as_ref();
        let (username, source) = (user.username.clone(), SignUpSource::AdminCreateUser);
        let subject = administration.subject(&username);
        self.events.pre_sign_up(subject, source, &mut user, administration.data).await?;
        let user = &user;
        let messages = match has_password {
            true => self.invitations(administration, user, &new.invitation, &temporary).await?,
            // A message with a password would be wrong.
            false => Vec::new(),
        };
        let (messages, takeover) = (&messages, new.takeover);
        let added = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                add_user(tx, pool, (user, Origin::Administrator, takeover), now, entropy).await?;
                match prepared {
                    Some(prepared) => self.set_temporary(tx, (pool, user), (prepared, messages), now).await,
                    None => Ok(()),
                }
            })
        });
        added.await?;
        audit("created", user, None);
        Ok(user.clone())
    }

    /// Sends the invitation of a user who has not signed in yet again (`MessageAction=RESEND`). Its
    /// new temporary password is generated if there is none.
    ///
    /// # Errors
    /// Returns `UserNotFoundException`, `UnsupportedUserStateException` for a user with an own
    /// password, or `InvalidParameterException` for one without an address.
    pub async fn admin_resend_invitation(
        &self,
        administration: Administration<'_>,
        name: &str,
        invitation: &Invitation,
        temporary_password: Option<Secret>,
    ) -> Outcome<User> {
        let (pool, now) = (administration.pool, self.clock.now());
        let user = self.admin_user(pool, name).await?;
        check_invited(&user)?;
        let temporary = temporary_password.unwrap_or_else(|| generate(&*self.entropy));
        let prepared = self.prepare(pool, &user, &temporary, (0, administration.keeps_verifiers)).await?;
        let messages = self.invitations(administration, &user, invitation, &temporary).await?;
        if messages.is_empty() {
            // The user would keep a password that nobody knows.
            return Err(no_address());
        }
        let (prepared, messages) = (&prepared, &messages);
        let set = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            let no = user.no;
            Box::pin(async move {
                // The user may have chosen a password meanwhile.
                let user = current(tx, no).await?;
                check_invited(&user)?;
                self.set_temporary(tx, (pool, &user), (prepared, messages), now).await?;
                Ok(user)
            })
        });
        let user = set.await?;
        audit("invited_again", &user, None);
        Ok(user)
    }

    /// Sets a password. One that is not permanent must be replaced at the next sign-in. All
    /// sessions and tokens of the user end.
    ///
    /// # Errors
    /// Returns `UserNotFoundException`, `InvalidPasswordException`, or `NotAuthorizedException` for
    /// a user of an identity provider.
    pub async fn admin_set_password(
        &self,
        administration: Administration<'_>,
        name: &str,
        (password, is_permanent): (&Secret, bool),
    ) -> Outcome<User> {
        let (pool, entropy) = (administration.pool, &*self.entropy);
        let user = self.admin_user(pool, name).await?;
        let hashing = (0, administration.keeps_verifiers);
        let prepared = &self.prepare(pool, &user, password, hashing).await?;
        let now = self.clock.now();
        let (status, expires_at) = match is_permanent {
            true => (UserStatus::Confirmed, None),
            false => {
                (UserStatus::ForceChangePassword, Some(temporary_end(&pool.settings.password_policy, now)))
            }
        };
        let set = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            let no = user.no;
            Box::pin(async move {
                let mut user = current(tx, no).await?;
                enable_password(tx, &mut user).await?;
                let event = CredentialEvent::PasswordSetByAdministrator;
                end_credentials(tx, &user, event, Current::default(), now, entropy).await?;
                let policy = &pool.settings.password_policy;
                prepared.set(tx, user.no, policy, (now, expires_at), entropy).await?;
                tx.clear_password_failures(user.no).await?;
                set_status(tx, pool, &user, status, Takeover::Refuse, now, entropy).await
            })
        });
        let user = set.await?;
        audit("password_set", &user, None);
        Ok(user)
    }

    /// Sets a generated temporary password, and returns it.
    ///
    /// # Errors
    /// As [`AccountService::admin_set_password`].
    pub async fn admin_generate_password(
        &self,
        administration: Administration<'_>,
        name: &str,
    ) -> Outcome<Secret> {
        let password = generate(&*self.entropy);
        self.admin_set_password(administration, name, (&password, false)).await?;
        Ok(password)
    }

    /// Asks a user to set a new password with a code, which is sent. The current one is void, and
    /// all sessions and tokens end.
    ///
    /// # Errors
    /// Returns `UserNotFoundException`, `NotAuthorizedException` for a user who cannot set one, or
    /// `InvalidParameterException` without a verified address.
    pub async fn admin_reset_password(
        &self,
        administration: Administration<'_>,
        name: &str,
    ) -> Outcome<CodeDelivery> {
        let (pool, entropy, now) = (administration.pool, &*self.entropy, self.clock.now());
        let user = self.admin_user(pool, name).await?;
        let recipient = resettable(pool, &user, &self.factors(pool, user.no).await?)?;
        let mut message = self.code_message(MessageEvent::ForgotPassword, recipient);
        let of = (administration.subject(&user.username), MessageSource::ForgotPassword);
        self.customize(&mut message, of, &user, administration.data).await?;
        let message = &message;
        let reset = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            let no = user.no;
            Box::pin(async move {
                let user = current(tx, no).await?;
                // The address may have changed while the function wrote the text.
                if resettable(pool, &user, &tx.factors(no).await?)? != *message.recipient() {
                    return Err(ErrorKind::TooManyRequests.into());
                }
                let event = CredentialEvent::PasswordSetByAdministrator;
                end_credentials(tx, &user, event, Current::default(), now, entropy).await?;
                let (status, takeover) = (UserStatus::ResetRequired, Takeover::Refuse);
                let user = set_status(tx, pool, &user, status, takeover, now, entropy).await?;
                let to = Addressee { account_no: no, user: Some(&user), name: "" };
                let request = (message, Requester::default());
                self.send_code(tx, (pool, to), CodePurpose::ForgotPassword, request, now).await
            })
        });
        let delivery = reset.await?;
        audit("password_reset", &user, None);
        Ok(delivery)
    }

    /// Confirms a sign-up without a code, which verifies no address.
    ///
    /// # Errors
    /// Returns `UserNotFoundException`, or `NotAuthorizedException` for a user who is confirmed.
    pub async fn admin_confirm_sign_up(
        &self,
        administration: Administration<'_>,
        name: &str,
    ) -> Outcome<User> {
        let (pool, entropy, now) = (administration.pool, &*self.entropy, self.clock.now());
        let user = self.admin_user(pool, name).await?;
        let confirmed = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            let no = user.no;
            Box::pin(async move {
                let user = current(tx, no).await?;
                confirm(tx, pool, &user, None, Takeover::Refuse, now, entropy).await
            })
        });
        let user = confirmed.await?;
        audit("sign_up_confirmed", &user, None);
        let (subject, source) = (administration.subject(&user.username), ConfirmationSource::SignUp);
        self.events.post_confirmation(subject, source, &user, administration.data).await?;
        Ok(user)
    }

    /// Ends all sessions and tokens of a user.
    ///
    /// # Errors
    /// Returns `UserNotFoundException`.
    pub async fn admin_sign_out_everywhere(&self, pool: &Pool, name: &str) -> Outcome<()> {
        let user = self.admin_user(pool, name).await?;
        self.sign_out_everywhere(&user).await
    }

    /// Ends all sessions and tokens of `user` (`GlobalSignOut`).
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn sign_out_everywhere(&self, user: &User) -> Outcome<()> {
        let (entropy, now) = (&*self.entropy, self.clock.now());
        let ended = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move { Ok(sign_out_everywhere(tx, user, now, entropy).await?) })
        });
        ended.await?;
        audit("signed_out_everywhere", user, None);
        Ok(())
    }

    /// Returns the messages of an invitation.
    async fn invitations(
        &self,
        administration: Administration<'_>,
        user: &User,
        invitation: &Invitation,
        temporary: &Secret,
    ) -> Outcome<Vec<super::code_delivery::Prepared>> {
        let attributes: &[SignInAttribute] = match invitation {
            Invitation::Default => &[SignInAttribute::PhoneNumber],
            Invitation::Send(attributes) => attributes,
            Invitation::Suppress => &[],
        };
        let addresses: Vec<_> =
            attributes.iter().filter_map(|attribute| address_of(user, *attribute)).collect();
        if addresses.is_empty() && matches!(invitation, Invitation::Send(_)) {
            return Err(no_address());
        }
        let mut messages = Vec::new();
        for to in addresses {
            let mut message = self.secret_message(MessageEvent::AdminCreateUser, to, temporary.clone());
            let of = (administration.subject(&user.username), MessageSource::AdminCreateUser);
            self.customize(&mut message, of, user, administration.data).await?;
            messages.push(message);
        }
        Ok(messages)
    }

    /// Sets a temporary password, and sends it.
    async fn set_temporary(
        &self,
        tx: &mut Tx<'_>,
        (pool, user): (&Pool, &User),
        (prepared, messages): (&PreparedPassword, &[super::code_delivery::Prepared]),
        now: Timestamp,
    ) -> Outcome<()> {
        let (entropy, expires_at) = (&*self.entropy, temporary_end(&pool.settings.password_policy, now));
        let policy: &PasswordPolicy = &pool.settings.password_policy;
        prepared.set(tx, user.no, policy, (now, Some(expires_at)), entropy).await?;
        for message in messages {
            let to = Addressee { account_no: user.no, user: Some(user), name: "" };
            message.send(tx, (pool, to), Requester::default(), (now, expires_at), entropy).await?;
        }
        Ok(())
    }
}

fn no_address() -> DirectoryError {
    DirectoryError::invalid("User has no address for the invitation.")
}

/// Checks that a user still has the temporary password of an invitation.
fn check_invited(user: &User) -> Outcome<()> {
    match user.status {
        UserStatus::ForceChangePassword if !user.password_is_disabled() => Ok(()),
        _ => Err(DirectoryError::new(
            ErrorKind::UnsupportedUserState,
            "Resend not possible. User has already changed the password.",
        )),
    }
}

/// Returns whether a new user can sign in with a code, to an address that the administrator has
/// verified.
fn signs_in_by_code(pool: &Pool, attributes: &Attributes) -> bool {
    has_code_address(&pool.settings.first_factors, attributes, |address| {
        address.verified_name().and_then(|flag| attributes.get(flag)) == Some("true")
    })
}

/// Returns a random password with a character of each class, about 90 bits.
fn generate(entropy: &dyn Entropy) -> Secret {
    let mut numbers = [0; GENERATED_LENGTH * 4];
    entropy.fill(&mut numbers);
    let all = CLASSES.concat();
    let character = |(at, bytes): (usize, &[u8])| {
        let number = bytes.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) as usize;
        let from = CLASSES.get(at).copied().unwrap_or(&all);
        char::from(from[number % from.len()])
    };
    Secret::new(numbers.chunks(4).enumerate().map(character).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    #[test]
    fn a_generated_password_fits_every_policy_of_its_length() {
        let policy = PasswordPolicy { minimum_length: GENERATED_LENGTH as u16, ..Default::default() };
        for _ in 0..100 {
            let password = generate(&SystemEntropy);
            assert_eq!(policy.check(password.expose(), &[]), Ok(()));
        }
    }
}
