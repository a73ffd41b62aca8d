//! Configuration reload, after a change of a file or SIGHUP. An invalid file is reported, and the
//! previous configuration is kept.

use super::build::App;
use super::lint::lint;
use super::notify;
use super::pools::write_file_pools;
use crate::base::Duration;
use crate::catalogue::Catalogue;
use crate::config::{Config, FileState, Files};
use crate::gateway::{self, Certificates};
use crate::provider::unusable_key_files;
use crate::store::Change;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// Polling interval of the files. Unlike file events, polling detects files replaced by a renamed
/// folder or link, as in secret mounts.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// The reason why the configuration was not reloaded.
enum ReloadError {
    /// A file changed during the read and may be incomplete: it is read again.
    StillChanging,
    /// The configuration is invalid.
    Wrong(String),
}

impl From<String> for ReloadError {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}

/// Returns the current states of `files`.
fn look_at(files: &Files) -> Files {
    files.keys().map(|path| (path.clone(), FileState::of(path))).collect()
}

/// The watched files.
struct Watched {
    /// The states when the files were last read.
    known: Files,
    /// The states at the last poll.
    seen: Files,
    /// Whether the files are read again without a change.
    again: bool,
}

impl Watched {
    fn new(files: Files, again: bool) -> Self {
        Self { known: files.clone(), seen: files, again }
    }

    /// Returns whether the files must be read. `now` is their current state. It must be the same in
    /// two polls, so that no incomplete file is read.
    fn is_due(&mut self, now: Files) -> bool {
        let is_settled = self.seen == now;
        self.seen = now;
        is_settled && (self.again || self.seen != self.known)
    }

    /// Returns the names of the changed files, for the log.
    fn changed(&self) -> String {
        let differs = self.seen.iter().filter(|(path, state)| self.known.get(*path) != Some(*state));
        differs.map(|(path, _)| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// Watches `file` and all files that it names until `shutdown`. An invalid configuration is
/// reported once and retried, because its remedy may be in a file that is not watched yet.
///
/// Blocking threads read the files, so that an unresponsive mount only stops the reload.
pub async fn watch(app: Arc<App>, file: PathBuf, mut shutdown: watch::Receiver<bool>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("cannot receive SIGHUP; help: restart after changes");
        return;
    };
    let mut watched = Watched::new(app.pool.catalogue.load().config.files.clone(), false);
    let mut wrong: Option<String> = None;
    let mut ticks = tokio::time::interval(CHECK_INTERVAL);
    loop {
        let requested = tokio::select! {
            _ = ticks.tick() => false,
            _ = hangup.recv() => true,
            _ = shutdown.changed() => return,
        };
        let files = watched.known.clone();
        let now = tokio::select! {
            now = spawn_blocking(move || look_at(&files)) => now,
            _ = shutdown.changed() => return,
        };
        let Ok(now) = now else { continue };
        let is_due = watched.is_due(now);
        if !requested && !is_due {
            continue;
        }
        let files = watched.changed();
        // systemd waits for the end of a reload by signal.
        if requested {
            notify::reloading();
        }
        let (runtime, with, path, changed) = (Handle::current(), app.clone(), file.clone(), files.clone());
        let reloaded = tokio::select! {
            done = spawn_blocking(move || runtime.block_on(reload(&with, &path, &changed))) => done,
            _ = shutdown.changed() => return,
        };
        if requested {
            notify::ready();
        }
        match reloaded.unwrap_or_else(|error| Err(ReloadError::Wrong(error.to_string()))) {
            Ok(named) => {
                watched = Watched::new(named, false);
                wrong = None;
            }
            Err(ReloadError::StillChanging) => watched.again = true,
            Err(ReloadError::Wrong(why)) => {
                if requested || wrong.as_ref() != Some(&why) {
                    tracing::error!(target: "audit", event = "reload_failed", files, error = why, "configuration reload failed; keeping the previous one");
                }
                watched = Watched::new(watched.seen, true);
                wrong = Some(why);
            }
        }
    }
}

/// Activates the configuration in `file`. `changed` names the changed files, for the log. Returns
/// the states of the files before they were read.
async fn reload(app: &App, file: &Path, changed: &str) -> Result<Files, ReloadError> {
    let config = Config::load(file, &|name| std::env::var(name).ok())
        .map_err(|error| format!("the configuration is wrong: {error}"))?;
    let named = config.files.clone();
    if look_at(&named) != named {
        return Err(ReloadError::StillChanging);
    }
    let old = app.pool.catalogue.load();
    check_files(&config)?;
    let access_log = app.gateway.open_access_log(&config.log).map_err(|error| error.to_string())?;
    let certificates = Certificates::read(&config, app.clock.now()).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        format!("the certificates cannot be used: {}", errors.join("; "))
    })?;
    let generation = old.generation + 1;
    let catalogue = Catalogue::build(config, &app.pool.store, &*app.entropy, generation)
        .await
        .map_err(|error| error.to_string())?;
    lint(&catalogue).log().map_err(|error| format!("the policies cannot be used: {error}"))?;
    app.pool
        .access_tokens
        .apply(&catalogue)
        .await
        .map_err(|error| format!("the keys of access tokens cannot be had: {error}"))?;
    app.pool
        .broker
        .apply(&catalogue)
        .await
        .map_err(|error| format!("the key for SAML cannot be had: {error}"))?;
    write_file_pools(&catalogue, &app.pool.store, app.clock.now(), &*app.entropy)
        .await
        .map_err(|error| format!("the user pools of the configuration file: {error}"))?;
    // No operation below can fail, so that the new configuration is used completely or not at all.
    app.tls.replace(certificates);
    warn_of_restart(&old.config, &catalogue.config);
    app.gateway.install_access_log(access_log);
    app.pool.catalogue.replace(catalogue);
    app.pool.access_tokens.retain(&app.pool.catalogue.load());
    // Access may have changed: every session is revalidated.
    app.pool.sessions.apply_changes(&[Change::Everything]);
    app.pool.directory.pools.apply_changes(&[Change::Everything]);
    app.gateway.apply().await;
    tracing::info!(target: "audit", event = "reload", generation, files = changed);
    let broker = app.pool.broker.clone();
    tokio::spawn(async move { broker.reread_files().await });
    Ok(named)
}

/// Checks the certificate and key files that nothing else reads before the new configuration is
/// used.
fn check_files(config: &Config) -> Result<(), String> {
    let unusable = gateway::unusable_upstream_files(config);
    if !unusable.is_empty() {
        return Err(format!(
            "an upstream's authority or client certificate cannot be used: {}",
            unusable.join("; ")
        ));
    }
    let unusable = unusable_key_files(config);
    if !unusable.is_empty() {
        return Err(format!("a key file of `jwks` cannot be used: {}", unusable.join("; ")));
    }
    Ok(())
}

/// Warns of changes that take effect at the next restart only.
fn warn_of_restart(old: &Config, config: &Config) {
    if config.listen.https != old.listen.https
        || config.listen.http != old.listen.http
        || config.listen.admin != old.listen.admin
    {
        tracing::warn!("[listen] changed: its addresses take effect at the next restart");
    }
    if config.state_dir != old.state_dir {
        tracing::warn!("`state_dir` changed: `narthex.sock` moves there at the next restart");
    }
    if config.store != old.store {
        tracing::warn!("[store] changed: it takes effect at the next restart");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_being_written_is_read_once_it_has_stayed_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        let write = |text: &str| std::fs::write(&secret, text).unwrap();
        write("old");
        let look = || Files::from([(secret.clone(), FileState::of(&secret))]);
        let mut watched = Watched::new(look(), false);
        assert!(!watched.is_due(look()));
        for piece in ["n", "ne", "new-", "new-secret"] {
            write(piece);
            assert!(!watched.is_due(look()), "{piece} may be half of it");
        }
        assert!(watched.is_due(look()));
        assert_eq!(watched.changed(), secret.display().to_string());
        // A failed reload is retried, but not while the files change.
        let mut watched = Watched::new(look(), true);
        assert!(watched.is_due(look()));
        write("corrected");
        assert!(!watched.is_due(look()));
        assert!(watched.is_due(look()));
    }
}
