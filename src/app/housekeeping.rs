//! Background tasks: change feed, last-seen times, deletion, key rotation, provider metadata,
//! upstream checks.

use super::build::App;
use super::nodes::NodeRegistry;
use crate::base::{Duration, SystemEntropy};
use crate::directory;
use crate::handlers;
use crate::store::{Feed, StoreError};
use std::sync::Arc;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

const CHECK_CLOCK_INTERVAL: Duration = Duration::from_secs(1);
const POLL_CHANGES_INTERVAL: Duration = Duration::from_secs(1);
const FLUSH_LAST_SEEN_INTERVAL: Duration = Duration::from_secs(5);
const EVICTION_INTERVAL: Duration = Duration::from_secs(5);
const REVALIDATE_STREAMS_INTERVAL: Duration = Duration::from_secs(1);
const NODE_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
const NOTIFY_CLIENTS_INTERVAL: Duration = Duration::from_secs(1);
const PURGE_INTERVAL: Duration = Duration::from_secs(600);
const MAINTAIN_USERS_INTERVAL: Duration = Duration::from_secs(5);
/// Maximum number of transactions in one run of user maintenance.
const MAX_USER_BATCHES: u32 = 50;
const ROTATE_KEYS_INTERVAL: Duration = Duration::from_secs(600);
const REFRESH_SAML_KEYS: Duration = Duration::from_secs(5);
const WARN_OF_EXPIRY: Duration = Duration::from_secs(24 * 3600);
const REFRESH_PROVIDERS_INTERVAL: Duration = Duration::from_secs(300);
const RESOLVE_UPSTREAMS_INTERVAL: Duration = Duration::from_secs(15);
const HEALTH_CHECK_INTERVAL: Duration = Duration::from_secs(5);
const RENEW_CERTIFICATES_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Runs the background tasks until `shutdown`.
pub async fn run(app: Arc<App>, shutdown: watch::Receiver<bool>) {
    let mut tasks = Tasks { set: JoinSet::new(), app: app.clone(), shutdown };
    tasks.every(CHECK_CLOCK_INTERVAL, |app| async move { check_clock(&app) });
    let feed = Arc::new(Mutex::new(Feed::default()));
    tasks.every(POLL_CHANGES_INTERVAL, move |app| {
        let feed = feed.clone();
        async move { poll_changes(&app, &feed).await }
    });
    tasks.every(FLUSH_LAST_SEEN_INTERVAL, |app| async move { flush_last_seen(&app).await });
    tasks.every(EVICTION_INTERVAL, |app| async move {
        // A panic was already logged.
        drop(tokio::task::spawn_blocking(move || app.gateway.evict()).await);
    });
    tasks.every(REVALIDATE_STREAMS_INTERVAL, |app| async move { app.gateway.revalidate_streams().await });
    let shutdown = tasks.shutdown.clone();
    tasks.every(NOTIFY_CLIENTS_INTERVAL, move |app| notify_clients(app, shutdown.clone()));
    tasks.every(PURGE_INTERVAL, |app| async move { purge(&app).await });
    tasks.every(MAINTAIN_USERS_INTERVAL, |app| async move { maintain_users(&app).await });
    let presence = Arc::new(NodeRegistry::new(&app));
    let here = presence.clone();
    tasks.every(NODE_HEARTBEAT_INTERVAL, move |app| {
        let here = here.clone();
        async move {
            if let Err(error) = here.heartbeat(&app).await {
                tracing::debug!(%error, "failed to publish this node's state");
            }
        }
    });
    tasks.every(ROTATE_KEYS_INTERVAL, |app| async move { rotate_keys(&app).await });
    tasks.every(REFRESH_SAML_KEYS, |app| async move {
        if let Err(error) = app.pool.broker.refresh_saml_keys(app.jumps.is_steady()).await {
            tracing::warn!(%error, "cannot read the SAML keys; keeping the previous ones");
        }
    });
    tasks.every(WARN_OF_EXPIRY, |app| async move { app.pool.broker.warn_of_saml_expiry() });
    tasks.every(REFRESH_PROVIDERS_INTERVAL, |app| async move { app.pool.broker.refresh().await });
    tasks.every(REFRESH_PROVIDERS_INTERVAL, |app| async move { app.gateway.refresh_issuers().await });
    tasks.every(RESOLVE_UPSTREAMS_INTERVAL, |app| async move {
        for group in app.gateway.route_table().clusters() {
            group.resolve().await;
        }
    });
    tasks.every(HEALTH_CHECK_INTERVAL, |app| async move {
        for group in app.gateway.route_table().clusters() {
            group.check_health().await;
        }
    });
    tasks.every(RENEW_CERTIFICATES_INTERVAL, |app| async move { renew_certificates(&app) });
    tasks.set.spawn(app.messages.clone().run(tasks.shutdown.clone()));
    while tasks.set.join_next().await.is_some() {}
    presence.leave(&app).await;
    flush_last_seen(&app).await;
}

/// The background tasks.
struct Tasks {
    set: JoinSet<()>,
    app: Arc<App>,
    shutdown: watch::Receiver<bool>,
}

impl Tasks {
    /// Runs `work` immediately and then periodically, never concurrently.
    fn every<W, F>(&mut self, period: Duration, work: W)
    where
        W: Fn(Arc<App>) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (app, mut shutdown) = (self.app.clone(), self.shutdown.clone());
        self.set.spawn(async move {
            let mut ticks = tokio::time::interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => work(app.clone()).await,
                    _ = shutdown.changed() => return,
                }
            }
        });
    }
}

/// Notifies app clients of ended sessions, until no notice is due or the process shuts down.
///
/// Sign-outs may come without a pause. A notice that is not sent is due again after its lease.
async fn notify_clients(app: Arc<App>, mut shutdown: watch::Receiver<bool>) {
    tokio::select! {
        sent = handlers::notify_clients(&app.pool) => if let Err(error) = sent {
            tracing::warn!(%error, "cannot notify app clients of ended sessions");
        },
        _ = shutdown.changed() => {}
    }
}

/// Applies the changes of other nodes since the last call.
async fn poll_changes(app: &App, feed: &Mutex<Feed>) {
    let now = app.clock.monotonic();
    match feed.lock().await.poll(&app.pool.store, now).await {
        Ok(news) => {
            app.pool.sessions.apply_changes(&news);
            app.pool.sessions.mark_synced_at(now);
            app.pool.directory.pools.apply_changes(&news);
            app.pool.directory.pools.mark_synced_at(now);
            // A pool that routes name may be new, or gone.
            if news.iter().any(|change| matches!(change, crate::store::Change::Pool(_))) {
                app.gateway.apply_issuers().await;
            }
            if let Err(error) = app.pool.access_tokens.revocations.apply_changes(&news, now).await {
                tracing::warn!(%error, "cannot read the revoked tokens");
            }
        }
        Err(error) => tracing::warn!(%error, "failed to read the change feed"),
    }
}

async fn flush_last_seen(app: &App) {
    if let Err(error) = app.pool.sessions.flush_last_seen().await {
        tracing::warn!(%error, "failed to store the sessions' last-seen times");
    }
}

/// Revalidates caches and sessions after a jump of the wall clock. Urgent work is done immediately;
/// calls to the database and to providers run in the background.
fn check_clock(app: &Arc<App>) {
    let Some(seconds) = app.jumps.check() else { return };
    tracing::warn!(
        target: "audit",
        event = "clock_jumped",
        seconds,
        "the wall clock jumped by {seconds} s: caches are reread; help: let NTP slew the clock"
    );
    app.gateway.distrust_caches();
    renew_certificates(app);
    let app = app.clone();
    tokio::spawn(async move {
        rotate_keys(&app).await;
        tokio::join!(app.gateway.refresh_issuers(), app.pool.broker.refresh());
    });
}

async fn rotate_keys(app: &App) {
    let removes = app.jumps.is_steady();
    if let Err(error) = app.pool.keys.rotate(removes).await {
        tracing::error!(%error, "failed to rotate the signing keys");
    }
    if let Err(error) = app.pool.access_tokens.rotate(removes).await {
        tracing::error!(%error, "failed to rotate the access token keys");
    }
}

/// Indexes the users that a node of an older version wrote, and removes the rows of deleted pools.
async fn maintain_users(app: &App) {
    let (store, now) = (&app.pool.store, app.clock.now());
    match directory::index_users(store, MAX_USER_BATCHES, now, &SystemEntropy).await {
        Ok(0) => {}
        Ok(users) => tracing::info!(users, "indexed {users} users of an older version"),
        Err(error) => tracing::warn!(%error, "failed to index the users of an older version"),
    }
    if let Err(error) = directory::purge_pools(store, MAX_USER_BATCHES, now, &SystemEntropy).await {
        tracing::warn!(%error, "failed to remove the rows of deleted user pools");
    }
}

fn renew_certificates(app: &App) {
    if let Err(errors) = app.tls.reload(&app.pool.catalogue.load().config, app.clock.now()) {
        tracing::error!(?errors, "failed to renew the certificates");
    }
}

async fn purge(app: &App) {
    match delete_expired(app).await {
        Ok(0) => {}
        Ok(rows) => tracing::debug!(rows, "deleted expired rows"),
        Err(error) => tracing::warn!(%error, "failed to delete expired rows"),
    }
}

/// Deletes expired rows, unless the clock has jumped recently. Uses the earlier of this node's
/// clock and the database's, because rows deleted by a wrong clock cannot be restored.
async fn delete_expired(app: &App) -> Result<u64, StoreError> {
    let now = app.pool.store.time().await?.min(app.clock.now());
    match app.jumps.is_steady() {
        true => app.pool.store.purge(app.pool.catalogue.load().config.session, now).await,
        false => Ok(0),
    }
}
