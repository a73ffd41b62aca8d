//! The generated ids of user pools, app clients and identity pools. They are settings in the
//! database, by the names in the configuration.

use crate::base::{Entropy, client_id, pool_id, uuid};
use crate::config::{self, Config};
use crate::store::{Store, StoreError};
use std::collections::HashSet;

/// The generated ids of a deployment, which are stored permanently.
#[derive(Clone, Debug)]
pub struct Ids {
    /// The ids of the first user pool.
    pub pool: PoolIds,
    /// The ids of the further user pools, in the order of the configuration.
    pub further_pools: Vec<PoolIds>,
    /// The gateway's client id.
    pub gateway_client: String,
    /// The ids of the identity pools, in the order of the configuration.
    pub identity_pools: Vec<String>,
}

/// The ids of a user pool and its app clients.
#[derive(Clone, Debug)]
pub struct PoolIds {
    /// The pool's id.
    pub pool: String,
    /// The app clients' ids, in the order of the configuration.
    pub clients: Vec<String>,
}

/// Suffix of ids that are not generated yet.
const UNKNOWN: &str = "unknown";

impl Ids {
    /// Returns whether `id` is a placeholder for an id that is not generated yet.
    pub fn is_unknown(id: &str) -> bool {
        id.ends_with(UNKNOWN)
    }

    /// Returns the first id that two app clients have in common, of the same or different pools.
    pub(super) fn duplicate_client_id(&self) -> Option<&str> {
        let mut seen = HashSet::from([self.gateway_client.as_str()]);
        let pools = std::iter::once(&self.pool).chain(&self.further_pools);
        pools.flat_map(|pool| &pool.clients).map(String::as_str).find(|id| !seen.insert(id))
    }

    /// Returns placeholders for a deployment whose store is not accessible.
    pub fn unknown(config: &Config) -> Self {
        let pool = |pool: &config::UserPool| PoolIds::unknown(pool, &config.region);
        Self {
            pool: pool(&config.user_pool),
            further_pools: config.further_user_pools.iter().map(pool).collect(),
            gateway_client: UNKNOWN.to_owned(),
            identity_pools: vec![format!("{}:{UNKNOWN}", config.region); config.identity_pools.len()],
        }
    }

    /// Reads the ids that exist in `store`, without creating any.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn read_existing(config: &Config, store: &Store) -> Result<Self, StoreError> {
        let mut ids = Self::unknown(config);
        ids.pool.read_existing(&config.user_pool, store).await?;
        for (pool, of_pool) in config.further_user_pools.iter().zip(&mut ids.further_pools) {
            of_pool.read_existing(pool, store).await?;
        }
        if let Some(client) = store.setting(&gateway_setting(&config.user_pool.name)).await? {
            ids.gateway_client = client;
        }
        for (pool, id) in config.identity_pools.iter().zip(&mut ids.identity_pools) {
            if let Some(fixed) = store.setting(&identity_pool_setting(&pool.name)).await? {
                *id = fixed;
            }
        }
        Ok(ids)
    }

    /// Reads the ids in `store`, and generates those that are missing there.
    pub(super) async fn get_or_init(
        config: &Config,
        store: &Store,
        entropy: &dyn Entropy,
    ) -> Result<Self, StoreError> {
        let region = &config.region;
        let pool = PoolIds::get_or_init(&config.user_pool, region, store, entropy).await?;
        let gateway = gateway_setting(&config.user_pool.name);
        let gateway_client = store.get_or_init(&gateway, &client_id(entropy)).await?;
        let mut further_pools = Vec::new();
        for pool in &config.further_user_pools {
            further_pools.push(PoolIds::get_or_init(pool, region, store, entropy).await?);
        }
        let mut identity_pools = Vec::new();
        for pool in &config.identity_pools {
            let (setting, candidate) =
                (identity_pool_setting(&pool.name), format!("{region}:{}", uuid(entropy)));
            identity_pools.push(store.get_or_init(&setting, &candidate).await?);
        }
        Ok(Self { pool, further_pools, gateway_client, identity_pools })
    }
}

impl PoolIds {
    /// Returns placeholders for the ids that the configuration does not have.
    fn unknown(pool: &config::UserPool, region: &str) -> Self {
        let client = |client: &config::AppClient| {
            client.id.clone().unwrap_or_else(|| format!("{}_{UNKNOWN}", client.name))
        };
        Self { pool: format!("{region}_{UNKNOWN}"), clients: pool.clients.iter().map(client).collect() }
    }

    /// Replaces placeholders by the ids in `store`.
    async fn read_existing(&mut self, pool: &config::UserPool, store: &Store) -> Result<(), StoreError> {
        if let Some(id) = store.setting(&pool_setting(&pool.name)).await? {
            self.pool = id;
        }
        for (client, id) in pool.clients.iter().zip(&mut self.clients) {
            if let (None, Some(fixed)) =
                (&client.id, store.setting(&client_setting(&pool.name, &client.name)).await?)
            {
                *id = fixed;
            }
        }
        Ok(())
    }

    /// Reads the ids in `store`, and generates those that are missing there.
    async fn get_or_init(
        pool: &config::UserPool,
        region: &str,
        store: &Store,
        entropy: &dyn Entropy,
    ) -> Result<Self, StoreError> {
        let id = store.get_or_init(&pool_setting(&pool.name), &pool_id(region, entropy)).await?;
        let mut clients = Vec::new();
        for client in &pool.clients {
            let setting = client_setting(&pool.name, &client.name);
            clients.push(match &client.id {
                Some(id) => id.clone(),
                None => store.get_or_init(&setting, &client_id(entropy)).await?,
            });
        }
        Ok(Self { pool: id, clients })
    }
}

/// Returns the name of the setting with the id of the user pool `name`. The names of the other
/// settings of the pool begin with it and a slash, which no name contains.
pub fn pool_setting(name: &str) -> String {
    format!("pool/{name}")
}

fn gateway_setting(pool: &str) -> String {
    format!("{}/gateway", pool_setting(pool))
}

fn client_setting(pool: &str, client: &str) -> String {
    format!("{}/client/{client}", pool_setting(pool))
}

fn identity_pool_setting(name: &str) -> String {
    format!("identity_pool/{name}")
}
