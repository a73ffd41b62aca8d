//! Immutable snapshots of the configuration and the stored ids, behind an atomic pointer. Each
//! request loads one snapshot and uses no other.

mod administrators;
mod branding;
mod ids;
mod pool;
mod roles;
mod route;

pub use administrators::{Administrator, Administrators};
pub use branding::Branding;
pub use ids::{Ids, PoolIds, pool_setting};
pub use pool::{AppClient, Pool};
pub use roles::{
    BadPolicies, INVOKE_ACTION, IdentityPool, PolicyRule, PrincipalTag, Role, RoleId, Roles, Rule,
};
pub use route::Route;

use crate::base::Entropy;
use crate::config::{self, Config, Host, HostPattern, SameSite, TrustedIssuer};
use crate::store::{Store, StoreError};
use arc_swap::ArcSwap;
use std::sync::Arc;
use thiserror::Error;

/// A snapshot of everything on which decisions about requests depend.
pub struct Catalogue {
    /// The number of this snapshot in this process.
    pub generation: u64,
    /// The configuration.
    pub config: Arc<Config>,
    /// The first user pool.
    pub pool: Pool,
    /// The user pools after the first one, in the order of the configuration.
    pub further_pools: Vec<Pool>,
    /// The client id of the gateway, which is an app client of the first user pool.
    pub gateway_client: String,
    /// Every role, with its policies.
    pub roles: Roles,
    /// The identity pools, which select roles.
    pub identity_pools: Vec<Arc<IdentityPool>>,
    /// The administrators.
    pub administrators: Administrators,
    routes: Vec<Arc<Route>>,
}

/// An error of building a catalogue.
#[derive(Debug, Error)]
pub enum BuildError {
    /// Policy files are invalid.
    #[error("policies cannot be used\n{0}")]
    Policies(BadPolicies),
    /// Two app clients have this id.
    #[error(
        "two app clients have the id `{0}`: one was made for the other before\n  help: give one of them an id of its own \
         in the file"
    )]
    SameId(String),
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
}

impl Catalogue {
    /// Builds the catalogue from `config` and the ids in the store. Generates ids that are missing
    /// there.
    ///
    /// # Errors
    /// Returns an error if a policy is invalid, two app clients have the same id, or the database
    /// fails.
    pub async fn build(
        config: Config,
        store: &Store,
        entropy: &dyn Entropy,
        generation: u64,
    ) -> Result<Self, BuildError> {
        let ids = Ids::get_or_init(&config, store, entropy).await.map_err(BuildError::Store)?;
        if let Some(id) = ids.duplicate_client_id() {
            return Err(BuildError::SameId(id.to_owned()));
        }
        Self::of(config, ids, generation).map_err(BuildError::Policies)
    }

    /// Builds the catalogue of `config` with these ids.
    ///
    /// # Errors
    /// Returns an error if a policy is invalid.
    pub fn of(config: Config, ids: Ids, generation: u64) -> Result<Self, BadPolicies> {
        let roles = Roles::compile(&config)?;
        let administrators = Administrators::compile(&config)?;
        let user_pool = Pool::new(&config, &config.user_pool, ids.pool);
        let further_pools = config.further_user_pools.iter().zip(ids.further_pools);
        let further_pools = further_pools.map(|(pool, ids)| Pool::new(&config, pool, ids)).collect();
        let pool = |(config, id): (&crate::config::IdentityPool, String)| {
            Arc::new(IdentityPool::new(id, config.clone()))
        };
        let identity_pools: Vec<_> = config.identity_pools.iter().zip(ids.identity_pools).map(pool).collect();
        let of_hosts = |route: &crate::config::Route| -> Vec<Arc<Route>> {
            let rule = Arc::new(Rule::of(&config, route, &roles, &identity_pools));
            let route = Arc::new(route.clone());
            let of_host = |pattern: &HostPattern| {
                Arc::new(Route::new(&config, route.clone(), pattern.clone(), rule.clone()))
            };
            route.hosts.iter().map(of_host).collect()
        };
        let routes = config.routes.iter().flat_map(of_hosts).collect();
        Ok(Self {
            generation,
            config: Arc::new(config),
            pool: user_pool,
            further_pools,
            gateway_client: ids.gateway_client,
            roles,
            identity_pools,
            administrators,
            routes,
        })
    }

    /// Iterates over the user pools, in the order of the configuration.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        std::iter::once(&self.pool).chain(&self.further_pools)
    }

    /// Iterates over the user pools with their configuration, in its order.
    pub fn declared_pools(&self) -> impl Iterator<Item = (&Pool, &config::UserPool)> {
        self.pools().zip(self.config.user_pools())
    }

    /// Returns the user pool with this id and its configuration, if the configuration has it.
    pub fn declared_pool(&self, id: &str) -> Option<(&Pool, &config::UserPool)> {
        self.declared_pools().find(|(pool, _)| pool.id == id)
    }

    /// Returns the user pool with this id as an issuer of bearer tokens, with its keys. `name` is
    /// the issuer's name if the configuration has no such pool.
    pub fn trusted_pool(
        &self,
        id: &str,
        name: &str,
        jwk_set: String,
        algorithms: Vec<String>,
    ) -> TrustedIssuer {
        match self.declared_pool(id) {
            Some((pool, _)) => pool.as_issuer(jwk_set, algorithms),
            None => {
                let url = self.issuer_of(id);
                TrustedIssuer::of_user_pool(name.to_owned(), url, jwk_set, algorithms, Vec::new())
            }
        }
    }

    /// Returns the app client of the configuration with this id, and its pool.
    pub fn client(&self, id: &str) -> Option<(&Pool, &Arc<AppClient>)> {
        self.pools().find_map(|pool| Some((pool, pool.client(id)?)))
    }

    /// Returns the look of the pages of an app client, or else of its pool; `None` if the
    /// configuration has none.
    pub fn branding(&self, pool_id: &str, client_id: &str) -> Option<&Arc<Branding>> {
        let pool = self.pools().find(|pool| pool.id == pool_id)?;
        pool.client(client_id).map_or(&pool.branding, |client| &client.branding).as_ref()
    }

    /// Returns the `iss` claim of a pool's tokens.
    pub fn issuer_of(&self, pool_id: &str) -> String {
        self.config.issuer_of(pool_id)
    }

    /// Iterates over every route, once for each of its hosts.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter()
    }

    /// Returns the shared allocation of the host `name`, if a route has that host.
    pub fn host(&self, name: &str) -> Arc<str> {
        let known = self.routes().find(|route| *route.host == *name);
        known.map_or_else(|| name.into(), |route| route.host.clone())
    }

    /// Iterates over the routes of `host`: those with its name, or else those whose wildcard
    /// matches. Wildcards do not apply to the host of the sign-in pages.
    pub fn routes_of(&self, host: &Host) -> impl Iterator<Item = &Arc<Route>> {
        let named = self.routes.iter().any(|route| route.pattern.is(host));
        let by_wildcard = !named && host != self.config.public_url.host();
        self.routes.iter().filter(move |route| match route.pattern.wildcard {
            false => named && route.pattern.is(host),
            true => by_wildcard && route.pattern.matches(host.as_str()),
        })
    }

    /// Returns the host whose redirect URI is `uri`. The URIs are compared exactly (RFC 9700,
    /// section 2.1).
    pub fn host_of_callback(&self, uri: &str) -> Option<Host> {
        let host = Host::parse(url::Url::parse(uri).ok()?.host_str()?)?;
        (self.routes_of(&host).next().is_some() && self.callback_of(&host) == uri).then_some(host)
    }

    /// Returns the `SameSite` attribute of the session cookie on `host`.
    pub fn same_site(&self, host: &Host) -> SameSite {
        self.routes_of(host).next().map_or(SameSite::Lax, |route| route.config.same_site)
    }

    /// Returns the redirect URI of `host`.
    pub fn callback_of(&self, host: &Host) -> String {
        format!("{}/.narthex/callback", self.config.public_url.origin_of(host))
    }
}

/// The current snapshot, which is replaced atomically.
pub struct CatalogueCell(ArcSwap<Catalogue>);

impl CatalogueCell {
    /// Creates a cell with `catalogue`.
    pub fn new(catalogue: Catalogue) -> Self {
        Self(ArcSwap::from_pointee(catalogue))
    }

    /// Returns the current snapshot.
    pub fn load(&self) -> Arc<Catalogue> {
        self.0.load_full()
    }

    /// Replaces the current snapshot.
    pub fn replace(&self, catalogue: Catalogue) {
        self.0.store(Arc::new(catalogue));
    }
}
