//! Who is to be given a role.

use super::Groups;
use crate::base::Timestamp;
use crate::config::Config;
use crate::model::{Session, User};

/// A user, as the provider speaks of them through which they signed in.
#[derive(Clone, Debug)]
pub struct Person<'a> {
    /// The user.
    pub user: &'a User,
    /// The provider's name.
    pub provider: &'a str,
    /// The user's groups.
    pub groups: Groups<'a>,
    /// How the user was authenticated (RFC 8176).
    pub methods: &'a [String],
    /// When.
    pub auth_time: Timestamp,
    /// Whether it is a user of the user pool; whom another issuer's token speaks for is none.
    pub of_user_pool: bool,
}

impl<'a> Person<'a> {
    /// The person of a session.
    pub fn of(config: &'a Config, user: &'a User, session: &'a Session) -> Self {
        Self {
            user,
            provider: &session.provider,
            groups: Groups::of(config, &session.provider, &user.groups),
            methods: &session.amr,
            auth_time: session.auth_time,
            of_user_pool: true,
        }
    }

    /// The values of a claim: those by which rules choose, and which fill tags. An address that nobody has
    /// verified is none.
    pub fn claim(&self, name: &str) -> Vec<&'a str> {
        let one = match name {
            "sub" => Some(self.user.id.as_str()),
            "username" | "cognito:username" => Some(self.user.username.as_str()),
            "groups" | "cognito:groups" => return self.groups.told.clone(),
            "email" if !self.user.email_verified() => None,
            attribute => self.user.attributes.get(attribute),
        };
        one.into_iter().collect()
    }
}
