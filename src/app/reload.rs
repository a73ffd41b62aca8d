//! A changed file, or SIGHUP, builds a new catalogue; a bad file is told, and the old one stays.

use super::build::App;
use super::lint::lint;
use crate::base::Duration;
use crate::catalogue::Catalogue;
use crate::config::{self, Config, KeySource};
use crate::gateway;
use crate::provider::unusable_key_files;
use crate::store::Change;
use std::collections::BTreeMap;
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

/// The files that `config` names, and what they are now.
fn named(config: &Config) -> Versions {
    let certificates = config.tls.iter().flat_map(|tls| [&tls.cert, &tls.key]);
    let authorities = config.routes.iter().filter_map(|route| route.upstream_ca.as_ref());
    let policies = config.roles.iter().flat_map(config::Role::files).map(|file| &file.path);
    let keys = config.issuers.iter().filter_map(|issuer| match &issuer.keys {
        KeySource::File(file) => Some(&file.path),
        KeySource::Metadata | KeySource::Url(_) | KeySource::Own(_) => None,
    });
    let files = certificates.chain(authorities).chain(policies).chain(keys);
    files.map(|path| (path.clone(), version(path))).collect()
}

/// Files, and what they were when they were last looked at.
type Versions = BTreeMap<PathBuf, Version>;

/// Watches `file` and whatever it names until `shutdown` says so. While something is wrong it is tried again and
/// again, since what would mend it may be a file that is not known yet; it is told once.
pub async fn watch(app: Arc<App>, file: PathBuf, mut shutdown: watch::Receiver<bool>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be heard: a restart is needed for changes");
        return;
    };
    let mut known = named(&app.pool.current.load().config);
    known.insert(file.clone(), version(&file));
    let mut wrong: Option<String> = None;
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        let asked = tokio::select! {
            _ = ticks.tick() => false,
            _ = hangup.recv() => true,
            _ = shutdown.changed() => return,
        };
        let seen: Versions = known.keys().map(|path| (path.clone(), version(path))).collect();
        if !asked && seen == known && wrong.is_none() {
            continue;
        }
        // What changes while it is read and built is another change.
        known = seen;
        wrong = match reload(&app, &file).await {
            Ok(names) => {
                let before = |path: &PathBuf| known.get(path).copied();
                let names = names.into_iter().map(|(path, now)| (before(&path).unwrap_or(now), path));
                let names: Versions = names.map(|(version, path)| (path, version)).collect();
                known.retain(|path, _| *path == file);
                known.extend(names);
                None
            }
            Err(why) => {
                if asked || wrong.as_ref() != Some(&why) {
                    tracing::error!(target: "audit", event = "reload_failed", error = why, "the old configuration stays");
                }
                Some(why)
            }
        };
    }
}

/// Lets what `file` says now count; answers the files that it names, as they were when they were read.
async fn reload(app: &App, file: &Path) -> Result<Versions, String> {
    let config = Config::load(file, &|name| std::env::var(name).ok())
        .map_err(|error| format!("the configuration is wrong: {error}"))?;
    let names = named(&config);
    let old = app.pool.current.load();
    let unusable = gateway::unusable_authorities(&config);
    if !unusable.is_empty() {
        return Err(format!("an upstream's authority cannot be used: {}", unusable.join("; ")));
    }
    let unusable = unusable_key_files(&config);
    if !unusable.is_empty() {
        return Err(format!("an issuer's keys cannot be used: {}", unusable.join("; ")));
    }
    app.tls.reload(&config, app.clock.now()).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        format!("the certificates cannot be used: {}", errors.join("; "))
    })?;
    let generation = old.generation + 1;
    let catalogue = Catalogue::build(config, &app.pool.store, &*app.entropy, generation)
        .await
        .map_err(|error| error.to_string())?;
    lint(&catalogue).log().map_err(|error| format!("the policies cannot be used: {error}"))?;
    app.pool
        .broker
        .apply(&catalogue)
        .await
        .map_err(|error| format!("the key for SAML cannot be had: {error}"))?;
    app.pool
        .access_tokens
        .apply(&catalogue)
        .await
        .map_err(|error| format!("the keys of access tokens cannot be had: {error}"))?;
    let config = &catalogue.config;
    if config.listen.https != old.config.listen.https
        || config.listen.http != old.config.listen.http
        || config.listen.admin != old.config.listen.admin
    {
        tracing::warn!("[listen] changed: its addresses take effect at the next restart");
    }
    if config.store.url != old.config.store.url {
        tracing::warn!("[store] changed: it takes effect at the next restart");
    }
    app.pool.current.replace(catalogue);
    // Whom the file lets in may have changed: each session is looked at again.
    app.pool.sessions.hear(&[Change::Everything]);
    app.gateway.apply().await;
    tracing::info!(target: "audit", event = "reload", generation);
    Ok(names)
}
