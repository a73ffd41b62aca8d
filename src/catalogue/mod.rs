//! Immutable snapshots of the configuration and the stored ids, behind an atomic pointer. Each
//! request loads one snapshot and uses no other.

mod administrators;
mod pool;
mod roles;
mod route;

pub use administrators::{Administrator, Administrators};
pub use pool::{AppClient, Pool};
pub use roles::{
    BadPolicies, INVOKE_ACTION, IdentityPool, PolicyRule, PrincipalTag, Role, RoleId, Roles, Rule,
};
pub use route::Route;

use crate::base::{Entropy, client_id, pool_id, uuid};
use crate::config::{self, Config, Host, HostPattern, SameSite};
use crate::store::{Store, StoreError};
use arc_swap::ArcSwap;
use std::collections::HashSet;
use std::sync::Arc;
use thiserror::Error;

/// The generated ids of a deployment, which are stored permanently.
#[derive(Clone, Debug)]
pub struct Ids {
    /// The user pool's id.
    pub pool: String,
    /// The gateway's client id.
    pub gateway_client: String,
    /// The app clients' ids, in the order of the configuration.
    pub clients: Vec<String>,
    /// The ids of the identity pools, in the order of the configuration.
    pub identity_pools: Vec<String>,
}

/// Suffix of ids that are not generated yet.
const UNKNOWN: &str = "unknown";

impl Ids {
    /// Returns whether `id` is a placeholder for an id that is not generated yet.
    pub fn is_unknown(id: &str) -> bool {
        id.ends_with(UNKNOWN)
    }

    /// Returns the first id that two app clients have in common.
    fn duplicate_client_id(&self) -> Option<&str> {
        let mut seen = HashSet::from([self.gateway_client.as_str()]);
        self.clients.iter().map(String::as_str).find(|id| !seen.insert(id))
    }

    /// Returns placeholders for a deployment whose store is not accessible.
    pub fn unknown(config: &Config) -> Self {
        let client = |client: &config::AppClient| {
            client.id.clone().unwrap_or_else(|| format!("{}_{UNKNOWN}", client.name))
        };
        Self {
            pool: format!("{}_{UNKNOWN}", config.region),
            gateway_client: UNKNOWN.to_owned(),
            clients: config.user_pool.clients.iter().map(client).collect(),
            identity_pools: vec![format!("{}:{UNKNOWN}", config.region); config.identity_pools.len()],
        }
    }

    /// Reads the ids that exist in `store`, without creating any.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn read_existing(config: &Config, store: &Store) -> Result<Self, StoreError> {
        let mut ids = Self::unknown(config);
        let name = &config.user_pool.name;
        if let Some(id) = store.setting(&format!("pool/{name}")).await? {
            ids.pool = id;
        }
        if let Some(client) = store.setting(&format!("pool/{name}/gateway")).await? {
            ids.gateway_client = client;
        }
        for (client, id) in config.user_pool.clients.iter().zip(&mut ids.clients) {
            if let (None, Some(fixed)) =
                (&client.id, store.setting(&client_setting(name, &client.name)).await?)
            {
                *id = fixed;
            }
        }
        for (pool, id) in config.identity_pools.iter().zip(&mut ids.identity_pools) {
            if let Some(fixed) = store.setting(&format!("identity_pool/{}", pool.name)).await? {
                *id = fixed;
            }
        }
        Ok(ids)
    }
}

/// A snapshot of everything on which decisions about requests depend.
pub struct Catalogue {
    /// The number of this snapshot in this process.
    pub generation: u64,
    /// The configuration.
    pub config: Arc<Config>,
    /// The user pool.
    pub pool: Pool,
    /// Every role, with its policies.
    pub roles: Roles,
    /// The identity pools, which select roles.
    pub identity_pools: Vec<Arc<IdentityPool>>,
    /// The administrators.
    pub administrators: Administrators,
    routes: Vec<Arc<Route>>,
}

fn client_setting(pool: &str, client: &str) -> String {
    format!("pool/{pool}/client/{client}")
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
        let fixed = async |name: String, candidate: String| {
            store.get_or_init(&name, &candidate).await.map_err(BuildError::Store)
        };
        let name = &config.user_pool.name;
        let pool = fixed(format!("pool/{name}"), pool_id(&config.region, entropy)).await?;
        let gateway_client = fixed(format!("pool/{name}/gateway"), client_id(entropy)).await?;
        let mut clients = Vec::new();
        for client in &config.user_pool.clients {
            clients.push(match &client.id {
                Some(id) => id.clone(),
                None => fixed(client_setting(name, &client.name), client_id(entropy)).await?,
            });
        }
        let mut identity_pools = Vec::new();
        for pool in &config.identity_pools {
            let candidate = format!("{}:{}", config.region, uuid(entropy));
            identity_pools.push(fixed(format!("identity_pool/{}", pool.name), candidate).await?);
        }
        let ids = Ids { pool, gateway_client, clients, identity_pools };
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
        let user_pool = Pool::new(&config, ids.pool, ids.gateway_client, ids.clients);
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
            roles,
            identity_pools,
            administrators,
            routes,
        })
    }

    /// Returns the `iss` claim of a pool's tokens.
    pub fn issuer_of(&self, pool_id: &str) -> String {
        self.config.public_url.join(&format!("/{pool_id}"))
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
