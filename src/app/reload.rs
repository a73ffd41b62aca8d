//! A changed file, or SIGHUP, builds a new catalogue; a bad file is told, and the old one stays.

use super::build::App;
use super::lint::lint;
use super::notify;
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

/// How often the files are looked at. Looking, rather than being told, also notices files that are
/// replaced by a renamed folder or link, as secret mounts do.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Why the configuration was not reloaded.
enum ReloadError {
    /// A file changed while it was read, and may be half-written: it is read again.
    StillChanging,
    /// Something is wrong.
    Wrong(String),
}

impl From<String> for ReloadError {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}

/// The states of `files` now.
fn look_at(files: &Files) -> Files {
    files.keys().map(|path| (path.clone(), FileState::of(path))).collect()
}

/// The files that are watched.
struct Watched {
    /// As they were when they were last read.
    known: Files,
    /// As they were at the last look.
    seen: Files,
    /// Whether they are read again though nothing has changed.
    again: bool,
}

impl Watched {
    fn new(files: Files, again: bool) -> Self {
        Self { known: files.clone(), seen: files, again }
    }

    /// Whether the files, which are as `now` says, are to be read. They are once they have stayed so between two looks: one
    /// that is being written is not read half.
    fn is_due(&mut self, now: Files) -> bool {
        let is_settled = self.seen == now;
        self.seen = now;
        is_settled && (self.again || self.seen != self.known)
    }

    /// The names of the files that have changed, for the log.
    fn changed(&self) -> String {
        let differs = self.seen.iter().filter(|(path, state)| self.known.get(*path) != Some(*state));
        differs.map(|(path, _)| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// Watches `file` and whatever it names until `shutdown` says so. While something is wrong it is tried again and
/// again, since what would mend it may be a file that is not known yet; it is told once.
///
/// Files are looked at and read by blocking threads: a mount that does not answer stops the reloading, and nothing else.
pub async fn watch(app: Arc<App>, file: PathBuf, mut shutdown: watch::Receiver<bool>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be heard: a restart is needed for changes");
        return;
    };
    let mut watched = Watched::new(app.pool.catalogue.load().config.files.clone(), false);
    let mut wrong: Option<String> = None;
    let mut ticks = tokio::time::interval(CHECK_INTERVAL);
    loop {
        let asked = tokio::select! {
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
        if !asked && !is_due {
            continue;
        }
        let files = watched.changed();
        // Of a reload that it asked for by a signal, systemd waits for the end.
        if asked {
            notify::reloading();
        }
        let (runtime, with, path, changed) = (Handle::current(), app.clone(), file.clone(), files.clone());
        let reloaded = tokio::select! {
            done = spawn_blocking(move || runtime.block_on(reload(&with, &path, &changed))) => done,
            _ = shutdown.changed() => return,
        };
        if asked {
            notify::ready();
        }
        match reloaded.unwrap_or_else(|error| Err(ReloadError::Wrong(error.to_string()))) {
            Ok(named) => {
                watched = Watched::new(named, false);
                wrong = None;
            }
            Err(ReloadError::StillChanging) => watched.again = true,
            Err(ReloadError::Wrong(why)) => {
                if asked || wrong.as_ref() != Some(&why) {
                    tracing::error!(target: "audit", event = "reload_failed", files, error = why, "the old configuration stays");
                }
                watched = Watched::new(watched.seen, true);
                wrong = Some(why);
            }
        }
    }
}

/// Lets what `file` says now count, since `changed` are other files than before; answers the files that it names, as they
/// were before they were read.
async fn reload(app: &App, file: &Path, changed: &str) -> Result<Files, ReloadError> {
    let config = Config::load(file, &|name| std::env::var(name).ok())
        .map_err(|error| format!("the configuration is wrong: {error}"))?;
    let named = config.files.clone();
    if look_at(&named) != named {
        return Err(ReloadError::StillChanging);
    }
    let old = app.pool.catalogue.load();
    let unusable = gateway::unusable_upstream_files(&config);
    if !unusable.is_empty() {
        return Err(format!(
            "an upstream's authority or client certificate cannot be used: {}",
            unusable.join("; ")
        )
        .into());
    }
    let unusable = unusable_key_files(&config);
    if !unusable.is_empty() {
        return Err(format!("an issuer's keys cannot be used: {}", unusable.join("; ")).into());
    }
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
    // Nothing fails from here on: either all of the new configuration is used, or nothing of it.
    app.tls.replace(certificates);
    let config = &catalogue.config;
    if config.listen.https != old.config.listen.https
        || config.listen.http != old.config.listen.http
        || config.listen.admin != old.config.listen.admin
    {
        tracing::warn!("[listen] changed: its addresses take effect at the next restart");
    }
    if config.state_dir != old.config.state_dir {
        tracing::warn!("`state_dir` changed: `narthex.sock` moves there at the next restart");
    }
    if config.store != old.config.store {
        tracing::warn!("[store] changed: it takes effect at the next restart");
    }
    app.gateway.install_access_log(access_log);
    app.pool.catalogue.replace(catalogue);
    // Whom the file lets in may have changed: each session is looked at again.
    app.pool.sessions.apply_changes(&[Change::Everything]);
    app.gateway.apply().await;
    tracing::info!(target: "audit", event = "reload", generation, files = changed);
    let broker = app.pool.broker.clone();
    tokio::spawn(async move { broker.reread_files().await });
    Ok(named)
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
        // What was wrong is tried again, and not while it changes.
        let mut watched = Watched::new(look(), true);
        assert!(watched.is_due(look()));
        write("corrected");
        assert!(!watched.is_due(look()));
        assert!(watched.is_due(look()));
    }
}
