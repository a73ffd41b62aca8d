//! A changed file, or SIGHUP, builds a new catalogue; a bad file is told, and the old one stays.

use super::build::App;
use crate::base::Duration;
use crate::catalogue::Catalogue;
use crate::config::{self, Config};
use crate::gateway;
use crate::store::Change;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How often the files are looked at. Looking, rather than being told, also notices files that are
/// replaced by a renamed folder or link, as secret mounts do.
const LOOK: Duration = Duration::from_secs(1);

/// What tells one version of a file from another.
type Version = Option<(u64, u64, i64, i64)>;

fn version(path: &Path) -> Version {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

fn versions(file: &Path, config: &Config) -> Vec<(PathBuf, Version)> {
    let certificates = config.tls.iter().flat_map(|tls| [&tls.cert, &tls.key]);
    let authorities = config.routes.iter().filter_map(|route| route.upstream_ca.as_ref());
    let policies = config.roles.iter().flat_map(config::Role::files).map(|file| &file.path);
    let files = certificates.chain(authorities).chain(policies).map(PathBuf::as_path);
    std::iter::once(file).chain(files).map(|path| (path.to_owned(), version(path))).collect()
}

/// Watches `file` and whatever it names until `shutdown` says so.
pub async fn watch(app: Arc<App>, file: PathBuf, mut shutdown: watch::Receiver<bool>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be heard: a restart is needed for changes");
        return;
    };
    let mut known = versions(&file, &app.pool.current.load().config);
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        let asked = tokio::select! {
            _ = ticks.tick() => false,
            _ = hangup.recv() => true,
            _ = shutdown.changed() => return,
        };
        let seen = versions(&file, &app.pool.current.load().config);
        if asked || seen != known {
            reload(&app, &file).await;
            known = versions(&file, &app.pool.current.load().config);
        }
    }
}

async fn reload(app: &App, file: &Path) {
    let config = match Config::load(file, &|name| std::env::var(name).ok()) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(target: "audit", event = "reload_failed", %error, "the configuration is wrong: the old one stays");
            return;
        }
    };
    let old = app.pool.current.load();
    if config.listen.https != old.config.listen.https
        || config.listen.http != old.config.listen.http
        || config.listen.admin != old.config.listen.admin
    {
        tracing::warn!("[listen] changed: its addresses take effect at the next restart");
    }
    if config.store.url != old.config.store.url {
        tracing::warn!("[store] changed: it takes effect at the next restart");
    }
    let unusable = gateway::unusable_authorities(&config);
    if !unusable.is_empty() {
        let error = unusable.join("; ");
        tracing::error!(target: "audit", event = "reload_failed", error, "an upstream's authority cannot be used: the old configuration stays");
        return;
    }
    if let Err(errors) = app.tls.reload(&config, app.clock.now()) {
        let error = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        tracing::error!(target: "audit", event = "reload_failed", error, "the certificates cannot be used: the old configuration stays");
        return;
    }
    let generation = old.generation + 1;
    let catalogue = match Catalogue::build(config, &app.pool.store, &*app.entropy, generation).await {
        Ok(catalogue) => catalogue,
        Err(error) => {
            tracing::error!(target: "audit", event = "reload_failed", %error, "there is no new catalogue: the old configuration stays");
            return;
        }
    };
    if let Err(error) = app.pool.broker.apply(&catalogue).await {
        tracing::error!(target: "audit", event = "reload_failed", %error, "the key for SAML cannot be had: the old configuration stays");
        return;
    }
    app.pool.current.replace(catalogue);
    // Whom the file lets in may have changed: each session is looked at again.
    app.pool.sessions.hear(&[Change::Everything]);
    app.gateway.apply().await;
    tracing::info!(target: "audit", event = "reload", generation);
}
