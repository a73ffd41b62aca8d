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

/// Every event with its words in the documentation and with what it ends.
pub const CREDENTIAL_EVENTS: [(CredentialEvent, &str, Ends); 7] = [
    (
        CredentialEvent::PasswordChanged,
        "The user changes the password",
        Ends { sessions: Extent::Others, tokens: Extent::Others, recovery_code: true },
    ),
    (
        CredentialEvent::PasswordRecovered,
        "The user sets a new password with a code",
        Ends { sessions: Extent::All, tokens: Extent::All, recovery_code: true },
    ),
    (
        CredentialEvent::PasswordSetByAdministrator,
        "An administrator sets a password, or asks for a new one",
        Ends { sessions: Extent::All, tokens: Extent::All, recovery_code: true },
    ),
    (
        CredentialEvent::Disabled,
        "An administrator disables the user",
        Ends { sessions: Extent::All, tokens: Extent::All, recovery_code: true },
    ),
    (
        CredentialEvent::Deleted,
        "The user is deleted",
        Ends { sessions: Extent::All, tokens: Extent::All, recovery_code: true },
    ),
    (
        CredentialEvent::SignedOutEverywhere,
        "The user, or an administrator, signs the user out everywhere",
        Ends { sessions: Extent::All, tokens: Extent::All, recovery_code: false },
    ),
    (
        CredentialEvent::AccountMoved,
        "An account of an identity provider is linked to another user, or unlinked",
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
    let found = CREDENTIAL_EVENTS.iter().find(|(known, ..)| *known == event);
    let (.., ends) = found.expect("invariant: the table has every event");
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

/// Ends all tokens of a user who signs out everywhere. The caller ends the sessions, of which each
/// may lead to an identity provider.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn end_tokens_everywhere(
    tx: &mut Tx<'_>,
    user: &User,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<()> {
    tx.end_refresh_families(user.no, None, now, entropy).await
}

/// Ends all sessions and tokens of `user`.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn sign_out_everywhere(
    tx: &mut Tx<'_>,
    user: &User,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<()> {
    end_credentials(tx, user, CredentialEvent::SignedOutEverywhere, Current::default(), now, entropy).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/src/concepts/accounts.md");
        let page = std::fs::read_to_string(path).unwrap();
        let extent = |extent| match extent {
            Extent::All => "all",
            Extent::Others => "all others",
        };
        for (_, about, ends) in CREDENTIAL_EVENTS {
            let code = if ends.recovery_code { "void" } else { "stays" };
            let row = format!("| {about} | {} | {} | {code} |", extent(ends.sessions), extent(ends.tokens));
            assert!(page.contains(&row), "{path} lacks:\n{row}");
        }
    }

    #[test]
    fn only_the_users_own_change_keeps_the_current_credentials() {
        for (event, _, ends) in CREDENTIAL_EVENTS {
            let keeps = ends.sessions == Extent::Others || ends.tokens == Extent::Others;
            assert_eq!(keeps, event == CredentialEvent::PasswordChanged, "{event:?}");
        }
    }
}
