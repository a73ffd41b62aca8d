//! `narthex saml`: rotates the key for SAML providers.

use super::build::CommandError;
use super::output::say;
use super::users::open;
use crate::base::{Clock as _, Duration, SystemClock, SystemEntropy};
use crate::broker::{self, RotationTimes, utc};
use crate::config::{Config, parse_duration};
use crate::model::{KeyPhase, KeySchedule};
use crate::provider::saml::KeyFiles;
use crate::store::Store;
use clap::Subcommand;
use std::path::PathBuf;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Subcommands of `narthex saml`.
#[derive(Subcommand)]
pub enum Command {
    /// Lists the keys with phase, times and certificate
    Keys {
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = super::commands::DEFAULT_FILE)]
        config: PathBuf,
    },
    /// Publishes the certificate of a new key, which later replaces the current one
    Rotate {
        /// How long the certificate is published before its key signs, as in 14d; 0 to sign at once
        #[arg(long, value_name = "DURATION", default_value = "14d", value_parser = duration)]
        sign_after: Duration,
        /// How long the old key then decrypts; 0 to remove it at once
        #[arg(long, value_name = "DURATION", default_value = "14d", value_parser = duration)]
        keep: Duration,
        /// An RSA private key in PEM, instead of a generated one
        #[arg(long, value_name = "FILE", requires = "certificate")]
        key: Option<PathBuf>,
        /// The key's certificate in PEM
        #[arg(long, value_name = "FILE", requires = "key")]
        certificate: Option<PathBuf>,
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = super::commands::DEFAULT_FILE)]
        config: PathBuf,
    },
    /// Changes the times of a rotation in progress
    #[command(group = clap::ArgGroup::new("times").required(true).multiple(true))]
    Reschedule {
        /// When the next key signs, from now, as in 7d; 0 for at once
        #[arg(long, value_name = "DURATION", group = "times", value_parser = duration)]
        sign_after: Option<Duration>,
        /// How long the old key then decrypts; 0 to remove it at once
        #[arg(long, value_name = "DURATION", group = "times", value_parser = duration)]
        keep: Option<Duration>,
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = super::commands::DEFAULT_FILE)]
        config: PathBuf,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    match text {
        "0" => Ok(Duration::ZERO),
        text => parse_duration(text).map_err(|(why, help)| format!("{why}; help: {help}, or 0")),
    }
}

/// Runs the command, and lists the keys afterwards. Running nodes apply the change within seconds.
///
/// # Errors
/// Returns an error if a file is invalid, the rotation is not possible, or the database fails.
pub async fn run(command: Command) -> Result<(), CommandError> {
    let (Command::Keys { config } | Command::Rotate { config, .. } | Command::Reschedule { config, .. }) =
        &command;
    let config = Config::load(config, &|name| std::env::var(name).ok())?;
    let now = SystemClock.now();
    let files = match &command {
        Command::Rotate { key: Some(key), certificate: Some(certificate), sign_after, .. } => {
            let read = KeyFiles::read(key, certificate, now, now.plus(*sign_after));
            Some(read.map_err(|error| CommandError::new("narthex saml rotate", error))?)
        }
        _ => None,
    };
    let store = open(&config).await?;
    let failed = store
        .check_master_key(&SystemEntropy)
        .await
        .map_err(|error| CommandError::new("the store", error))?;
    failed.map_err(|error| {
        CommandError::new("the store", format!("wrong master key ({error})\n  {}", super::build::WRONG_KEY))
    })?;
    match command {
        Command::Keys { .. } => {}
        Command::Rotate { sign_after, keep, .. } => {
            let times = RotationTimes { sign_after, keep };
            let done = broker::rotate(&store, files, times, now, &SystemEntropy).await;
            done.map_err(|error| CommandError::new("narthex saml rotate", error))?;
        }
        Command::Reschedule { sign_after, keep, .. } => {
            let done = broker::reschedule(&store, sign_after, keep, now).await;
            done.map_err(|error| CommandError::new("narthex saml reschedule", error))?;
        }
    }
    list(&store).await?;
    store.close().await;
    Ok(())
}

async fn list(store: &Store) -> Result<(), CommandError> {
    let keys = store.saml_certificates().await.map_err(|error| CommandError::new("the store", error))?;
    let schedules: Vec<_> = keys.iter().map(|key| key.schedule).collect();
    let now = SystemClock.now();
    let phases = KeySchedule::phases(&schedules, now);
    if keys.is_empty() {
        say!("there is no key yet; the first start with a SAML provider makes it");
    }
    for (key, phase) in keys.iter().zip(&phases) {
        let expires = X509Certificate::from_der(&key.certificate);
        let expires =
            expires.map_or_else(|_| "unreadable".to_owned(), |(_, it)| it.validity().not_after.to_string());
        say!("{} {}", key.kid, phase.name());
        say!("  signs from           {}", utc(key.schedule.signs_from));
        say!("  removed at           {}", utc(key.schedule.removed_at));
        say!("  certificate expires  {expires}");
    }
    if phases.contains(&KeyPhase::Next) {
        say!(
            "have each provider read the metadata again, or give it the next certificate, before that signs"
        );
    }
    Ok(())
}
