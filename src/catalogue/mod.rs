//! Pools, clients, providers and routes as they stand now: the file's and the store's, joined into
//! one immutable snapshot behind one atomic pointer. Whoever answers a request takes the snapshot
//! once and judges by it alone.

mod roles;
mod route;

pub use roles::{BadPolicies, INVOKE, IdentityPool, Role, Roles, Rule, UnderPolicy};
pub use route::Route;

use crate::base::{Entropy, pool_id, uuid};
use crate::config::{Config, Host, SameSite};
use crate::store::{Store, StoreError};
use arc_swap::ArcSwap;
use std::sync::Arc;

/// A user pool: the directory, the broker of outside providers, and the issuer of codes.
#[derive(Clone, Debug)]
pub struct Pool {
    /// `<region>_<9 alphanumerics>`.
    pub id: String,
    /// The client id of the gateway, which is an app client of its own pool.
    pub gateway_client: String,
}

/// What the store has fixed of a deployment.
#[derive(Clone, Debug)]
pub struct Ids {
    /// The user pool.
    pub pool: Pool,
    /// The ids of the identity pools, in the order of the file.
    pub identity_pools: Vec<String>,
}

impl Ids {
    /// The ids of a deployment whose store is not asked.
    pub fn unknown(config: &Config) -> Self {
        let pool = Pool { id: format!("{}_unknown", config.region), gateway_client: "unknown".to_owned() };
        Self { pool, identity_pools: vec![format!("{}:unknown", config.region); config.identity_pools.len()] }
    }

    /// Those of the ids that `store` has fixed already: nothing is fixed by looking.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn look(config: &Config, store: &Store) -> Result<Self, StoreError> {
        let mut ids = Self::unknown(config);
        let name = &config.user_pool.name;
        if let Some(id) = store.fact(&format!("pool/{name}")).await? {
            ids.pool.id = id;
        }
        if let Some(client) = store.fact(&format!("pool/{name}/gateway")).await? {
            ids.pool.gateway_client = client;
        }
        for (pool, id) in config.identity_pools.iter().zip(&mut ids.identity_pools) {
            if let Some(fixed) = store.fact(&format!("identity_pool/{}", pool.name)).await? {
                *id = fixed;
            }
        }
        Ok(ids)
    }
}

/// Everything that a request is judged by, at one moment.
pub struct Catalogue {
    /// Counts the snapshots of this process.
    pub generation: u64,
    /// What the file says.
    pub config: Arc<Config>,
    /// The user pool.
    pub pool: Pool,
    /// Every role, with its policies.
    pub roles: Roles,
    /// Who is given which.
    pub identity_pools: Vec<Arc<IdentityPool>>,
    routes: Vec<Arc<Route>>,
}

/// Why there is no catalogue.
#[derive(Debug)]
pub enum BuildError {
    /// Policies cannot be used.
    Policies(BadPolicies),
    /// The store did not answer.
    Store(StoreError),
}

impl std::fmt::Display for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Policies(error) => write!(f, "policies cannot be used\n{error}"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BuildError {}

impl Catalogue {
    /// Joins `config` with what the store has fixed.
    ///
    /// # Errors
    /// Where a policy is wrong, or the store does not answer.
    pub async fn build(
        config: Config,
        store: &Store,
        entropy: &dyn Entropy,
        generation: u64,
    ) -> Result<Self, BuildError> {
        let fixed = async |name: String, candidate: String| {
            store.fixed(&name, &candidate).await.map_err(BuildError::Store)
        };
        let name = &config.user_pool.name;
        let id = fixed(format!("pool/{name}"), pool_id(&config.region, entropy)).await?;
        let gateway_client = fixed(format!("pool/{name}/gateway"), uuid(entropy)).await?;
        let mut identity_pools = Vec::new();
        for pool in &config.identity_pools {
            let candidate = format!("{}:{}", config.region, uuid(entropy));
            identity_pools.push(fixed(format!("identity_pool/{}", pool.name), candidate).await?);
        }
        let ids = Ids { pool: Pool { id, gateway_client }, identity_pools };
        Self::of(config, ids, generation).map_err(BuildError::Policies)
    }

    /// What `config` describes, with these ids.
    ///
    /// # Errors
    /// Where a policy is wrong.
    pub fn of(config: Config, ids: Ids, generation: u64) -> Result<Self, BadPolicies> {
        let roles = Roles::compile(&config)?;
        let pool = |(config, id): (&crate::config::IdentityPool, String)| {
            Arc::new(IdentityPool { id, config: config.clone() })
        };
        let identity_pools: Vec<_> = config.identity_pools.iter().zip(ids.identity_pools).map(pool).collect();
        let route = |route: &crate::config::Route| {
            let rule = Rule::of(&config, route, &roles, &identity_pools);
            Arc::new(Route::new(&config, route.clone(), rule))
        };
        let routes = config.routes.iter().map(route).collect();
        Ok(Self { generation, config: Arc::new(config), pool: ids.pool, roles, identity_pools, routes })
    }

    /// Every route.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter()
    }

    /// The host whose callback `uri` is, compared exactly (RFC 9700, section 2.1).
    pub fn host_of_callback(&self, uri: &str) -> Option<&Host> {
        self.routes.iter().map(|route| &route.config.host).find(|host| self.callback_of(host) == uri)
    }

    /// The `SameSite` of the session's cookie on `host`.
    pub fn same_site(&self, host: &Host) -> SameSite {
        let of_host = self.routes.iter().find(|route| route.config.host == *host);
        of_host.map_or(SameSite::Lax, |route| route.config.same_site)
    }

    /// Where the pool sends codes for `host`.
    pub fn callback_of(&self, host: &Host) -> String {
        format!("{}/.narthex/callback", self.config.public_url.origin_of(host))
    }
}

/// The snapshot that counts now.
pub struct Current(ArcSwap<Catalogue>);

impl Current {
    /// Begins with `catalogue`.
    pub fn new(catalogue: Catalogue) -> Self {
        Self(ArcSwap::from_pointee(catalogue))
    }

    /// The snapshot that counts now.
    pub fn load(&self) -> Arc<Catalogue> {
        self.0.load_full()
    }

    /// Lets `catalogue` count from now on.
    pub fn replace(&self, catalogue: Catalogue) {
        self.0.store(Arc::new(catalogue));
    }
}
