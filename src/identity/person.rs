//! Input of role selection: a user with its claims.

use super::Groups;
use crate::base::Timestamp;
use crate::config::{Allow, Config, LOCAL_PROVIDER};
use crate::model::{Session, TokenClaims, UnreadableClaim, User};

/// A user, with the attributes from the provider of the session or token.
#[derive(Clone, Debug)]
pub struct Person<'a> {
    /// The user.
    pub user: &'a User,
    /// The provider's name.
    pub provider: &'a str,
    /// Claims of a bearer token that are not user attributes.
    pub claims: Option<&'a TokenClaims>,
    /// The user's groups.
    pub groups: Groups<'a>,
    /// The authentication methods (RFC 8176).
    pub methods: &'a [String],
    /// The time of authentication, if the provider or the token states it.
    pub auth_time: Option<Timestamp>,
    /// When the user last proved a second factor of the pool.
    pub factor_at: Option<Timestamp>,
    /// The creation time of the session or token.
    pub issued_at: Option<Timestamp>,
    /// Whether the user belongs to a user pool of this deployment. Otherwise it is the subject of
    /// another issuer's token.
    pub of_user_pool: bool,
    /// The issuer of the token of a pool user. A user without it belongs to the first user pool.
    pub pool_issuer: Option<&'a str>,
}

impl<'a> Person<'a> {
    /// Creates the person of a session.
    pub fn of(config: &'a Config, user: &'a User, session: &'a Session) -> Self {
        Self {
            user,
            provider: &session.provider,
            claims: None,
            groups: match session.provider == LOCAL_PROVIDER {
                true => Groups::of_pool_user(config, &config.user_pool.name, &user.groups),
                false => Groups::of(config, &session.provider, &user.groups),
            },
            methods: &session.amr,
            auth_time: session.auth_time,
            factor_at: session.factor_at,
            issued_at: Some(session.created_at),
            of_user_pool: true,
            pool_issuer: None,
        }
    }

    /// Returns the time of a multi-factor authentication (RFC 8176, section 2: "mfa:
    /// Multiple-factor authentication"). Returns `None` if the time is unknown, because it could be
    /// arbitrarily old.
    pub fn multi_factor_at(&self) -> Option<Timestamp> {
        let at = self.factor_at.or(self.auth_time);
        at.filter(|_| self.methods.iter().any(|method| method == "mfa"))
    }

    /// Returns whether `allow` contains the user's verified e-mail address or one of the groups
    /// visible to apps.
    pub fn is_named_by(&self, allow: &Allow) -> bool {
        allow.names(self.user.email().filter(|_| self.user.email_verified()), &self.groups.visible)
    }

    /// Returns the values of a claim for rules and tags, or none if it is absent. An unverified
    /// e-mail address is treated as absent.
    ///
    /// # Errors
    /// Returns an error if the claim is present but not comparable, for example an object.
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
