//! Who is to be given a role.

use super::Groups;
use crate::base::Timestamp;
use crate::config::{Allow, Config};
use crate::model::{Session, TokenClaims, UnreadableClaim, User};

/// A user, as the provider speaks of them through which they signed in.
#[derive(Clone, Debug)]
pub struct Person<'a> {
    /// The user.
    pub user: &'a User,
    /// The provider's name.
    pub provider: &'a str,
    /// The claims of a bearer token that its user has no room for.
    pub claims: Option<&'a TokenClaims>,
    /// The user's groups.
    pub groups: Groups<'a>,
    /// How the user was authenticated (RFC 8176).
    pub methods: &'a [String],
    /// When, as far as the provider or the token says.
    pub auth_time: Option<Timestamp>,
    /// When the session or the token began.
    pub issued_at: Option<Timestamp>,
    /// Whether it is a user of the user pool; whom another issuer's token speaks for is none.
    pub of_user_pool: bool,
}

impl<'a> Person<'a> {
    /// The person of a session.
    pub fn of(config: &'a Config, user: &'a User, session: &'a Session) -> Self {
        Self {
            user,
            provider: &session.provider,
            claims: None,
            groups: Groups::of(config, &session.provider, &user.groups),
            methods: &session.amr,
            auth_time: session.auth_time,
            issued_at: Some(session.created_at),
            of_user_pool: true,
        }
    }

    /// When the person was authenticated by more than one factor (RFC 8176, section 2: "mfa: Multiple-factor
    /// authentication"). One at an unknown time may be of any age, and is none.
    pub fn multi_factor_at(&self) -> Option<Timestamp> {
        self.auth_time.filter(|_| self.methods.iter().any(|method| method == "mfa"))
    }

    /// Returns whether `allow` names the person, by a verified e-mail address or by a group as apps get it.
    pub fn is_named_by(&self, allow: &Allow) -> bool {
        allow.names(self.user.email().filter(|_| self.user.email_verified()), &self.groups.visible)
    }

    /// The values of a claim: those by which rules choose, and which fill tags. An address that nobody has
    /// verified is none.
    ///
    /// # Errors
    /// Where it is there, and cannot be compared.
    pub fn claim(&self, name: &str) -> Result<Vec<&'a str>, UnreadableClaim> {
        let one = match name {
            "sub" => Some(self.user.id.as_str()),
            "username" | "cognito:username" => Some(self.user.username.as_str()),
            "groups" | "cognito:groups" => return Ok(self.groups.visible.clone()),
            other => {
                if let Some(list) = self.claims.map(|claims| claims.list(other)).transpose()?.flatten() {
                    return Ok(list.iter().map(String::as_str).collect());
                }
                match other {
                    "email" if !self.user.email_verified() => None,
                    attribute => self.user.attributes.get(attribute),
                }
            }
        };
        Ok(one.into_iter().collect())
    }
}
