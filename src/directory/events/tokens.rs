//! The event before tokens are signed.

use super::PoolEvents;
use crate::directory::error::Outcome;
use crate::directory::service::Directory;
use crate::model::{AppClient, Pool, User, UserGroup};
use crate::token::{TokenOverrides, group_names, preferred_role, roles};
use crate::trigger::{
    ClientData, GroupConfiguration, PreTokenGeneration, Subject, token_overrides, user_attributes,
};

/// The version of the event from which tokens of app clients themselves have one.
const OF_CLIENTS: u8 = 3;
/// The user name in events of app clients themselves.
const NO_USER: &str = "ClientCredentials";

/// Why tokens are issued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenSource {
    /// On the sign-in pages, or with an account of an identity provider.
    HostedAuth,
    /// By a sign-in at the API.
    #[default]
    Authentication,
    /// By a sign-in at the API that replaced a temporary password.
    NewPasswordChallenge,
    /// A sign-in by the proof of a remembered device.
    AuthenticateDevice,
    /// By a refresh token.
    RefreshTokens,
}

impl TokenSource {
    fn name(self) -> &'static str {
        match self {
            Self::HostedAuth => "TokenGeneration_HostedAuth",
            Self::Authentication => "TokenGeneration_Authentication",
            Self::NewPasswordChallenge => "TokenGeneration_NewPasswordChallenge",
            Self::AuthenticateDevice => "TokenGeneration_AuthenticateDevice",
            Self::RefreshTokens => "TokenGeneration_RefreshTokens",
        }
    }
}

impl Directory {
    /// Returns the changes of the tokens of a declared app client itself, if the pool has a
    /// function for them.
    ///
    /// # Errors
    /// Returns the function's refusal, or why it gave no valid answer.
    pub async fn client_token_overrides(
        &self,
        (pool_id, client_id): (&str, &str),
        scope: &str,
    ) -> Outcome<Option<TokenOverrides>> {
        let catalogue = self.deps.catalogue.load();
        let declared = catalogue.declared_pool(pool_id);
        // Without a function there is no I/O.
        if declared.is_none_or(|(_, pool)| pool.triggers.token_version < OF_CLIENTS) {
            return Ok(None);
        }
        match self.pools.pool(pool_id).await? {
            Some(pool) => self.events.client_token_overrides(&pool, client_id, scope).await,
            None => Ok(None),
        }
    }
}

impl PoolEvents {
    /// Returns whether a function of the pool changes tokens.
    pub(in crate::directory) fn changes_tokens(&self, pool: &Pool) -> bool {
        self.triggers.has::<PreTokenGeneration<'_>>(pool)
    }

    /// Returns the changes of a user's tokens by the pool's function, if it has one.
    ///
    /// # Errors
    /// Returns the function's refusal, or why it gave no valid answer.
    pub(in crate::directory) async fn token_overrides(
        &self,
        (pool, client): (&Pool, &AppClient),
        source: TokenSource,
        (user, groups): (&User, &[UserGroup]),
        scope: &str,
        data: ClientData<'_>,
    ) -> Outcome<Option<TokenOverrides>> {
        if !self.changes_tokens(pool) {
            return Ok(None);
        }
        let words = |words: Vec<&str>| Some(words.into_iter().map(str::to_owned).collect());
        let version = pool.settings.triggers.token_version;
        let event = PreTokenGeneration {
            version,
            user_attributes: user_attributes(user),
            group_configuration: GroupConfiguration {
                groups_to_override: words(group_names(groups)),
                iam_roles_to_override: words(roles(groups)),
                preferred_role: preferred_role(groups).map(str::to_owned),
            },
            client_metadata: data.client_metadata,
            scopes: (version > 1).then(|| scope.split(' ').collect()),
        };
        let subject = Subject { pool, client_id: Some(&client.id), username: &user.username };
        let answer = self.triggers.call(subject, source.name(), &event).await?;
        Ok(answer.map(|answer| token_overrides(version, answer)))
    }

    /// Returns the changes of the tokens of an app client itself, if the pool has a function for
    /// them.
    ///
    /// # Errors
    /// Returns the function's refusal, or why it gave no valid answer.
    pub(in crate::directory) async fn client_token_overrides(
        &self,
        pool: &Pool,
        client_id: &str,
        scope: &str,
    ) -> Outcome<Option<TokenOverrides>> {
        let version = pool.settings.triggers.token_version;
        if version < OF_CLIENTS || !self.changes_tokens(pool) {
            return Ok(None);
        }
        let event = PreTokenGeneration {
            version,
            user_attributes: Default::default(),
            group_configuration: GroupConfiguration::default(),
            client_metadata: None,
            scopes: Some(scope.split(' ').collect()),
        };
        let subject = Subject { pool, client_id: Some(client_id), username: NO_USER };
        let answer = self.triggers.call(subject, "TokenGeneration_ClientCredentials", &event).await?;
        Ok(answer.map(|answer| token_overrides(version, answer)))
    }
}
