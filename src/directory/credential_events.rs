//! What ends a user's credentials: one table of events, and of what each of them ends.

use super::account_code::CodePurpose;
use crate::base::{Entropy, Timestamp};
use crate::model::User;
use crate::store::{Result, Tx};

/// An event that ends credentials of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialEvent {
    /// The user changed the password.
    PasswordChanged,
    /// The user set a new password with a code.
    PasswordRecovered,
    /// An administrator set a password, or asked for a new one.
    PasswordSetByAdministrator,
    /// An administrator disabled the user.
    Disabled,
    /// The user was deleted.
    Deleted,
    /// The user, or an administrator, signed the user out everywhere.
    SignedOutEverywhere,
    /// An account of an identity provider was linked to another user, or unlinked.
    AccountMoved,
}

/// What an event ends. Access tokens end with the refresh token that they were issued with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The sessions of browsers.
    pub sessions: Extent,
    /// The refresh tokens and access tokens.
    pub tokens: Extent,
    /// A code for a new password that was sent before.
    pub recovery_code: bool,
}

/// How many of a user's credentials of one kind end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of them.
    All,
    /// All but the one with which the user asked for it.
    Others,
}

/// Every event with what it ends.
pub const CREDENTIAL_EVENTS: [(CredentialEvent, Ends); 7] = [
    (
        CredentialEvent::PasswordChanged,
        Ends { sessions: Extent::Others, tokens: Extent::Others, recovery_code: true },
    ),
    (
        CredentialEvent::PasswordRecovered,
        Ends { sessions: Extent::All, tokens: Extent::All, recovery_code: true },
    ),
    (
        CredentialEvent::PasswordSetByAdministrator,
        Ends { sessions: Extent::All, tokens: Extent::All, recovery_code: true },
    ),
    (CredentialEvent::Disabled, Ends { sessions: Extent::All, tokens: Extent::All, recovery_code: true }),
    (CredentialEvent::Deleted, Ends { sessions: Extent::All, tokens: Extent::All, recovery_code: true }),
    (
        CredentialEvent::SignedOutEverywhere,
        Ends { sessions: Extent::All, tokens: Extent::All, recovery_code: false },
    ),
    (
        CredentialEvent::AccountMoved,
        Ends { sessions: Extent::All, tokens: Extent::All, recovery_code: false },
    ),
];

/// The credentials with which a user asks for something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Current<'a> {
    /// The id of the session.
    pub session: Option<&'a str>,
    /// The id of the family of refresh tokens: the `origin_jti` of the access token.
    pub family: Option<&'a str>,
}

/// Ends the credentials of `user` that `event` ends.
///
/// # Errors
/// Returns an error if the database fails.
pub(super) async fn end_credentials(
    tx: &mut Tx<'_>,
    user: &User,
    event: CredentialEvent,
    current: Current<'_>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<()> {
    let found = CREDENTIAL_EVENTS.iter().find(|(known, _)| *known == event);
    let (_, ends) = found.expect("invariant: the table has every event");
    let except = |extent: Extent, current| match extent {
        Extent::All => None,
        Extent::Others => current,
    };
    let kept_session = except(ends.sessions, current.session);
    for session in tx.sessions_of(&user.id).await? {
        if kept_session != Some(&*session.id) {
            tx.end_session(&session.id, entropy).await?;
        }
    }
    tx.end_refresh_families(user.no, except(ends.tokens, current.family), now, entropy).await?;
    if ends.recovery_code {
        tx.remove_account_code(CodePurpose::ForgotPassword.of(user.no)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_users_own_change_keeps_the_current_credentials() {
        for (event, ends) in CREDENTIAL_EVENTS {
            let keeps = ends.sessions == Extent::Others || ends.tokens == Extent::Others;
            assert_eq!(keeps, event == CredentialEvent::PasswordChanged, "{event:?}");
        }
    }
}
