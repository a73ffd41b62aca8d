//! Pools, clients, providers and routes as they stand now: the file's and the store's, joined into
//! one immutable snapshot behind one atomic pointer. Whoever answers a request takes the snapshot
//! once and judges by it alone.

mod route;

pub use route::Route;

use crate::base::{Entropy, pool_id, uuid};
use crate::config::{Config, Host, SameSite};
use crate::store::{Result, Store};
use arc_swap::ArcSwap;
use std::sync::Arc;

/// The name of the pool that exists where the file declares none.
const DEFAULT_POOL: &str = "default";

/// A user pool: the directory, the broker of outside providers, and the issuer of codes.
#[derive(Clone, Debug)]
pub struct Pool {
    /// `<region>_<9 alphanumerics>`.
    pub id: String,
    /// The client id of the gateway, which is an app client of its own pool.
    pub gateway_client: String,
}

/// Everything that a request is judged by, at one moment.
pub struct Catalogue {
    /// Counts the snapshots of this process.
    pub generation: u64,
    /// What the file says.
    pub config: Arc<Config>,
    /// The user pool.
    pub pool: Pool,
    routes: Vec<Arc<Route>>,
}

impl Catalogue {
    /// Joins `config` with what the store has fixed.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn build(
        config: Config,
        store: &Store,
        entropy: &dyn Entropy,
        generation: u64,
    ) -> Result<Self> {
        let id = store.fixed(&format!("pool/{DEFAULT_POOL}"), &pool_id(&config.region, entropy)).await?;
        let gateway_client = store.fixed(&format!("pool/{DEFAULT_POOL}/gateway"), &uuid(entropy)).await?;
        let routes = config.routes.iter().map(|route| Arc::new(Route::new(&config, route.clone()))).collect();
        Ok(Self { generation, config: Arc::new(config), pool: Pool { id, gateway_client }, routes })
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
