//! A deployment of the emulator: empty at its start, and deleted at its end.

use super::access::AnyAccessKey;
use super::mailbox::Mailbox;
use super::options::{IssuerForm, Options};
use crate::app::build::{App, CommandError};
use crate::app::environment::{Emulation, Environment};
use crate::app::housekeeping;
use crate::base::{Entropy as _, MasterKey, SystemEntropy, base64url_encode};
use crate::config::{Channel, Config, PoolIssuer, PublicUrl};
use crate::directory::{Argon2Params, CodeSource, HasherSettings};
use crate::store::StoreError;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The memory of a password hash, in KiB: the passwords of tests need no protection.
const HASH_MEMORY_KIB: u32 = 64;
/// How long a call waits for the delivery of the messages before it.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// The interval between looks at the outbox.
const DELIVERY_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The settings of the emulator's deployments.
pub struct Settings {
    /// The options of the command.
    pub options: Options,
    /// The port of the listeners.
    pub port: u16,
}

/// A deployment with its background tasks.
pub struct Deployment {
    /// The application.
    pub app: Arc<App>,
    /// The messages to users.
    pub mailbox: Arc<Mailbox>,
    shutdown: watch::Sender<bool>,
    tasks: Mutex<Option<JoinHandle<()>>>,
    /// Deleted with the deployment.
    state: StateFolder,
}

impl Deployment {
    /// Starts an empty deployment.
    ///
    /// # Errors
    /// Returns an error if there is no temporary folder, or the deployment cannot be built.
    pub async fn start(settings: &Settings) -> Result<Self, CommandError> {
        let Options { account_id, code, .. } = &settings.options;
        let state = StateFolder::create()?;
        let config = settings.config(&state.0)?;
        let mailbox = Arc::new(Mailbox::default());
        let emulation = Emulation {
            access: Arc::new(AnyAccessKey::new(account_id)?),
            codes: code.clone().map(|code| -> Arc<dyn CodeSource> { Arc::new(code) }),
            messages: mailbox.clone(),
        };
        let params = Argon2Params::new(HASH_MEMORY_KIB, 1, 1);
        let params = params.map_err(|error| CommandError::new("the cost of passwords", error))?;
        let hashing = HasherSettings { params, ..HasherSettings::default() };
        let environment = Environment { hashing, emulation: Some(emulation) };
        let app = Arc::new(App::build_in(&environment, config).await?);
        let (shutdown, ended) = watch::channel(false);
        let tasks = Mutex::new(Some(tokio::spawn(housekeeping::run(app.clone(), ended))));
        Ok(Self { app, mailbox, shutdown, tasks, state })
    }

    /// Ends the background tasks, closes the database and deletes it.
    pub async fn stop(&self) {
        self.shutdown.send_replace(true);
        if let Some(tasks) = self.tasks.lock().await.take() {
            // A panic was already logged.
            drop(tasks.await);
        }
        self.app.pool.store.close().await;
        // A request that never ends may hold the deployment.
        self.state.delete();
    }

    /// Waits until the messages of earlier requests are delivered.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn deliver(&self) -> Result<(), StoreError> {
        let deadline = Instant::now() + DELIVERY_TIMEOUT;
        let store = &self.app.pool.store;
        for channel in [Channel::Email, Channel::Sms] {
            while store.oldest_message(channel.name()).await?.is_some() && Instant::now() < deadline {
                tokio::time::sleep(DELIVERY_POLL_INTERVAL).await;
            }
        }
        Ok(())
    }
}

impl Settings {
    /// Returns the configuration of a deployment in a folder. The master key is in memory alone:
    /// secrets in a folder that remains after a crash cannot be decrypted.
    fn config(&self, folder: &Path) -> Result<Config, CommandError> {
        let text = format!(
            r#"
public_url = "https://localhost"
account_id = "{account}"
state_dir = "{folder}"

[store]
url = "sqlite:{folder}/narthex.db"
master_key = "{key}"

[mail]
smtp = "log"
from = "no-reply@verificationemail.com"
rate = 1000

[sms]
shape = "json"
url = "https://sms.invalid/"
from = "emulator"
allowed_prefixes = ["+"]
rate = 1000

[messages]
per_user = 1000000
per_address = 1000000
per_prefix = 1000000
"#,
            account = self.options.account_id,
            folder = folder.display(),
            key = *MasterKey::random(&SystemEntropy).text(),
        );
        let config = Config::parse(&text, "the emulator", folder, &|_| None)
            .map_err(|error| CommandError::new("the emulator's configuration", error))?;
        let pool_issuer = match self.options.issuer {
            IssuerForm::Aws => PoolIssuer::Aws,
            IssuerForm::Local => PoolIssuer::PublicUrl,
        };
        Ok(Config { public_url: PublicUrl::on_loopback(self.port), pool_issuer, ..config })
    }
}

/// A private folder, which is deleted with this value.
struct StateFolder(PathBuf);

impl StateFolder {
    fn create() -> Result<Self, CommandError> {
        let mut name = [0; 12];
        SystemEntropy.fill(&mut name);
        let folder = std::env::temp_dir().join(format!("narthex-emulator-{}", base64url_encode(name)));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|error| CommandError::new(&folder.display().to_string(), error))?;
        Ok(Self(folder))
    }
}

impl StateFolder {
    fn delete(&self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        self.delete();
    }
}
