//! The principal of a request.

use super::bearers::BearerPrincipal;
use super::guests::Guest;
use super::principal_cache::PrincipalCache;
use super::sessions::SessionPrincipal;
use crate::catalogue::{Catalogue, IdentityPool};
use crate::config::{Allow, Config};
use crate::identity::{AssumedRole, Groups, IdentityDirectory, NoRole, Person, choose_role};
use crate::model::User;
use crate::store::StoreError;
use std::sync::Arc;

/// The authenticated principal of a request.
#[derive(Clone)]
pub enum Principal {
    /// A user with a session.
    SignedIn(SessionPrincipal),
    /// The subject of a bearer token.
    Bearer(BearerPrincipal),
    /// A guest: a visitor with an identity, but without session or token.
    Guest(Guest),
}

impl Principal {
    /// Returns the user's `sub`, or the guest's identity.
    pub fn subject(&self) -> &str {
        match self {
            Self::SignedIn(signed_in) => &signed_in.user().id,
            Self::Bearer(bearer) => &bearer.user().id,
            Self::Guest(guest) => guest.identity_id(),
        }
    }

    /// Returns the user with a session, or `None` for a bearer token or guest.
    pub fn signed_in(&self) -> Option<&SessionPrincipal> {
        match self {
            Self::SignedIn(signed_in) => Some(signed_in),
            Self::Bearer(_) | Self::Guest(_) => None,
        }
    }

    /// Returns the user or, for a bearer token, its subject in the form of a user.
    pub fn user(&self) -> Option<&User> {
        match self {
            Self::SignedIn(signed_in) => Some(signed_in.user()),
            Self::Bearer(bearer) => Some(bearer.user()),
            Self::Guest(_) => None,
        }
    }

    /// Returns the input of role selection, or `None` for a guest.
    pub fn person<'a>(&'a self, config: &'a Config) -> Option<Person<'a>> {
        match self {
            Self::SignedIn(who) => Some(Person::of(config, who.user(), who.session())),
            Self::Bearer(bearer) => Some(Person {
                user: bearer.user(),
                provider: &bearer.issuer().name,
                groups: match bearer.is_pool_user() {
                    true => Groups::of_pool_user(config, &bearer.issuer().name, &bearer.user().groups),
                    false => Groups::of(config, &bearer.issuer().name, &bearer.user().groups),
                },
                claims: Some(bearer.claims()),
                methods: bearer.methods(),
                auth_time: bearer.auth_time(),
                factor_at: None,
                issued_at: bearer.issued_at(),
                of_user_pool: bearer.is_pool_user(),
                pool_issuer: bearer.is_pool_user().then_some(&bearer.issuer().url),
            }),
            Self::Guest(_) => None,
        }
    }

    /// Returns whether `allow` contains the user's verified e-mail address or one of the user's
    /// groups. Returns false for a guest.
    pub fn is_named_by(&self, allow: &Allow, config: &Config) -> bool {
        self.person(config).is_some_and(|person| person.is_named_by(allow))
    }

    pub(super) fn cache(&self) -> &PrincipalCache {
        match self {
            Self::SignedIn(signed_in) => signed_in.principal_cache(),
            Self::Bearer(bearer) => bearer.principal_cache(),
            Self::Guest(guest) => guest.principal_cache(),
        }
    }

    /// Returns the role of the principal in `pool`, with its identity there. The result is cached
    /// until the catalogue, the user or the session changes.
    ///
    /// # Errors
    /// The outer result is an error if the identity must be read and the database fails. The inner
    /// result is the reason if the principal has no role.
    pub async fn assume(
        &self,
        identities: &IdentityDirectory,
        catalogue: &Catalogue,
        pool: &Arc<IdentityPool>,
    ) -> Result<Result<Arc<AssumedRole>, NoRole>, StoreError> {
        let kept = self.cache();
        if let Some(given) = kept.role(pool) {
            return Ok(given);
        }
        let config = &catalogue.config;
        let person = self.person(config);
        let chosen = match choose_role(&catalogue.roles, pool, person.as_ref()) {
            Ok(chosen) => chosen,
            Err(none) => return Ok(Err(none)),
        };
        let identity_id = match self {
            Self::SignedIn(who) => {
                Box::pin(identities.for_user(pool, &config.region, &who.user().id)).await?
            }
            Self::Bearer(bearer) if bearer.is_pool_user() => {
                Box::pin(identities.for_user(pool, &config.region, &bearer.user().id)).await?
            }
            Self::Bearer(bearer) => identities.for_token(pool, &config.region, &bearer.user().id),
            Self::Guest(guest) => guest.identity_id().to_owned(),
        };
        let given = AssumedRole::new(catalogue, pool, chosen, &identity_id, person.as_ref()).map(Arc::new);
        kept.insert_role(catalogue, pool, &given);
        Ok(given)
    }
}
