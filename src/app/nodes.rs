//! Comparison of the nodes' configurations, to detect a node that was not updated.

use super::build::App;
use crate::base::{Duration, base64url_encode, metrics, uuid};
use crate::config::{Administrator, Config, KeySource};
use crate::store::{Node, StoreError};
use prometheus::IntGauge;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Time without a heartbeat after which a node is considered stopped.
const NODE_TIMEOUT: Duration = Duration::from_secs(20);

static DIFFERING: LazyLock<IntGauge> = LazyLock::new(|| metrics::NODES_DIFFERING.gauge());

/// This node's entry in the registry.
pub struct NodeRegistry {
    id: String,
    name: String,
    /// The differences already reported.
    reported: Mutex<Vec<(String, String)>>,
    /// The configuration digest of the catalogue with this generation.
    digest: Mutex<(u64, String)>,
}

impl NodeRegistry {
    /// Creates the entry of this node.
    pub fn new(app: &App) -> Self {
        let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let address = app.pool.catalogue.load().config.listen.serving();
        let address = address.map_or_else(String::new, |address| address.to_string());
        let name = format!("{} {address}", machine.trim());
        Self {
            id: uuid(&*app.entropy),
            name: name.trim().to_owned(),
            reported: Mutex::default(),
            digest: Mutex::default(),
        }
    }

    /// Returns the digest of this node's configuration. It is computed once per catalogue, because
    /// policy files may be long.
    fn digest(&self, app: &App) -> String {
        let catalogue = app.pool.catalogue.load();
        let mut cached = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.0 != catalogue.generation {
            *cached = (catalogue.generation, digest(app, &catalogue.config));
        }
        cached.1.clone()
    }

    /// Publishes this node's digest, and warns of nodes with another one.
    pub async fn heartbeat(&self, app: &App) -> Result<(), StoreError> {
        // The database's clock is used, because the nodes' clocks may differ.
        let now = app.pool.store.time().await?;
        let catalogue = self.digest(app);
        let (id, name, version) = (self.id.clone(), self.name.clone(), env!("CARGO_PKG_VERSION").to_owned());
        app.pool.store.upsert_node(&Node { id, name, version, catalogue: catalogue.clone() }, now).await?;
        let others = app.pool.store.nodes(now.minus(NODE_TIMEOUT)).await?;
        let differing: Vec<(String, String)> = others
            .into_iter()
            .filter(|node| node.id != self.id && node.catalogue != catalogue)
            .map(|node| (node.name, format!("{catalogue} {}", node.catalogue)))
            .collect();
        DIFFERING.set(i64::try_from(differing.len()).unwrap_or(i64::MAX));
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        for (node, _) in differing.iter().filter(|difference| !reported.contains(difference)) {
            tracing::warn!(
                target: "audit",
                event = "nodes_differ",
                node,
                "another node has a different configuration; help: deploy one configuration to both, and reload"
            );
        }
        *reported = differing;
        Ok(())
    }

    /// Removes this node's entry.
    pub async fn leave(&self, app: &App) {
        if let Err(error) = app.pool.store.remove_node(&self.id).await {
            tracing::debug!(%error, "failed to remove this node from the registry");
        }
    }
}

/// Returns the digest of the configuration without node-specific parts such as listeners and file
/// paths. It is keyed, because it covers secrets.
fn digest(app: &App, config: &Config) -> String {
    let Config { public_url, region, account_id, session, signed_out_url, user_pool, roles, .. } = config;
    let Config {
        administrators, identity_pools, providers, issuers, routes, message_limits, triggers, ..
    } = config;
    let (mut routes, mut issuers, mut providers) = (routes.clone(), issuers.clone(), providers.clone());
    for ca in providers.iter_mut().filter_map(|provider| provider.ca.as_mut()) {
        ca.path = PathBuf::new();
    }
    for route in &mut routes {
        (route.upstream_tls.ca, route.upstream_tls.client) = (None, None);
    }
    let (mut user_pool, mut further_user_pools) = (user_pool.clone(), config.further_user_pools.clone());
    for client in
        std::iter::once(&mut user_pool).chain(&mut further_user_pools).flat_map(|pool| &mut pool.clients)
    {
        if let Some(KeySource::File(file)) = &mut client.keys {
            file.path = PathBuf::new();
        }
    }
    for issuer in &mut issuers {
        if let KeySource::File(file) = &mut issuer.keys {
            file.path = PathBuf::new();
        }
        if let Some(ca) = &mut issuer.ca {
            ca.path = PathBuf::new();
        }
    }
    let mut triggers = triggers.clone();
    for ca in triggers.iter_mut().filter_map(|trigger| trigger.ca.as_mut()) {
        ca.path = PathBuf::new();
    }
    let mut text = format!(
        "node {public_url} {region} {account_id} {session:?} {signed_out_url:?} {user_pool:?} {providers:?} \
         {issuers:?} {identity_pools:?} {routes:?} {message_limits:?} {triggers:?}"
    );
    for pool in further_user_pools {
        text.push_str(&format!("{pool:?}"));
    }
    for Administrator { name, access_key_id, secret_access_key, policies } in administrators {
        text.extend([name, access_key_id, secret_access_key.expose()]);
        text.extend(policies.iter().map(|file| file.text.as_str()));
    }
    for role in roles {
        text.push_str(&role.name);
        text.extend(role.files().map(|file| file.text.as_str()));
    }
    let of_issuers =
        issuers.iter().filter_map(|issuer| issuer.introspection.as_ref()?.client_secret.as_ref());
    let of_providers = of_issuers.chain(providers.iter().filter_map(|provider| provider.client()?.private()));
    let clients = config.user_pools().flat_map(|pool| &pool.clients);
    let of_clients = clients.flat_map(|client| &client.secrets);
    let registrations = config.user_pools().filter_map(|pool| pool.registration.as_ref());
    let of_registrations = registrations.flat_map(|of| &of.tokens);
    let of_triggers = triggers.iter().map(|trigger| trigger.credentials.secret());
    for secret in of_providers.chain(of_clients).chain(of_registrations).chain(of_triggers) {
        text.push_str(secret.expose());
    }
    base64url_encode(&app.ring.mac(text.as_bytes())[..9])
}
