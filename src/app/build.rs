//! Construction of the application from its parts.

use super::environment::Environment;
use super::lint::lint;
use super::master_key;
use super::pools::write_file_pools;
use crate::authn::{
    BearerAuthenticator, ClientKeys, GuestAuthenticator, Minter, Renewals, SessionAuthenticator,
};
use crate::base::{Clock, Entropy, JumpDetector, KeyRing, SystemClock, SystemEntropy};
use crate::broker::{Broker, LoginAttempts};
use crate::catalogue::{Catalogue, CatalogueCell};
use crate::config::{Config, LoadError};
use crate::directory::DirectoryDeps;
use crate::gateway::{Gateway, GatewayDeps, TlsStore};
use crate::handlers::{self, AppState, Limits};
use crate::identity::IdentityDirectory;
use crate::jose::Algorithm;
use crate::message::Delivery;
use crate::provider::{ProviderHttpClient, unusable_key_files};
use crate::store::Store;
use crate::token::{AccessTokens, KeyChain};
use axum::Router;
use std::fmt;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

/// The remedy for a wrong master key.
pub const WRONG_KEY: &str = "help: start with the master key that this database was made with";

/// A fatal error, with its remedy.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct CommandError(String);

impl CommandError {
    /// Creates an error for the failed operation `doing`.
    pub fn new(doing: &str, error: impl fmt::Display) -> Self {
        Self(format!("{doing}: {error}"))
    }
}

impl From<LoadError> for CommandError {
    fn from(error: LoadError) -> Self {
        Self(format!("the configuration cannot be used\n\n{error}\n"))
    }
}

/// Creates the state directory, accessible to its owner only.
fn make_state_dir(folder: &Path) -> Result<(), CommandError> {
    if folder.as_os_str().is_empty() || folder.exists() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        let help = "help: name a folder that can be made or exists with `state_dir`";
        CommandError::new(
            "cannot create the state directory",
            format!("`{}`: {error}; {help}", folder.display()),
        )
    })
}

/// A running deployment.
pub struct App {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// The user pool.
    pub pool: Arc<AppState>,
    /// The routes of the sign-in host.
    pub router: Router,
    /// The encryption keys.
    pub ring: Arc<KeyRing>,
    /// The certificates.
    pub tls: Arc<TlsStore>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Detection of clock jumps.
    pub jumps: JumpDetector,
    /// The random number generator.
    pub entropy: Arc<dyn Entropy>,
    /// Delivery of e-mail and text messages.
    pub messages: Arc<Delivery>,
}

impl App {
    /// Builds the application of `config`.
    ///
    /// # Errors
    /// Returns an error if it cannot serve.
    pub async fn build(config: Config) -> Result<Self, CommandError> {
        Self::build_in(&Environment::default(), config).await
    }

    /// Builds the application of `config` in an environment.
    ///
    /// # Errors
    /// Returns an error if it cannot serve.
    pub async fn build_in(environment: &Environment, config: Config) -> Result<Self, CommandError> {
        let unusable = unusable_key_files(&config);
        if !unusable.is_empty() {
            return Err(CommandError::new("a key file of `jwks` cannot be used", unusable.join("; ")));
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let jumps = JumpDetector::new(clock.clone());
        let basis = Basis::open(&config, clock).await?;
        let tls = TlsStore::open(&config, basis.clock.now()).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            CommandError::new("the certificates cannot be used", lines.join("\n  "))
        })?;
        let catalogue = Catalogue::build(config, &basis.store, &*basis.entropy, 1)
            .await
            .map_err(|error| CommandError::new("the configuration", error))?;
        lint(&catalogue).log().map_err(|error| CommandError::new("the policies cannot be used", error))?;
        if environment.has_file_pools() {
            write_file_pools(&catalogue, &basis.store, basis.clock.now(), &*basis.entropy)
                .await
                .map_err(|error| CommandError::new("the user pools of the configuration file", error))?;
        }
        let outbound =
            ProviderHttpClient::new().map_err(|error| CommandError::new("calls to providers", error))?;
        let broker = basis.broker(&catalogue, outbound.clone()).await?;
        let catalogue = CatalogueCell::new(catalogue);
        let pool = Arc::new(basis.user_pool(environment, catalogue, broker, outbound.clone()).await?);
        let router = handlers::router(pool.clone()).merge(environment.api(pool.clone()));
        let gateway = basis.gateway(pool.clone(), router.clone(), outbound);
        let log = gateway.open_access_log(&gateway.route_table().catalogue.config.log);
        gateway.install_access_log(log.map_err(|error| CommandError::new("the access log", error))?);
        gateway.apply().await;
        let Basis { store, ring, clock, entropy, .. } = basis;
        let messages = Delivery::new(store, pool.catalogue.clone(), clock.clone(), entropy.clone());
        let messages = environment.delivery(messages);
        let (gateway, tls, messages) = (Arc::new(gateway), Arc::new(tls), Arc::new(messages));
        Ok(Self { gateway, pool, router, ring, tls, clock, jumps, entropy, messages })
    }
}

/// The common dependencies of the application's parts.
struct Basis {
    store: Store,
    ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Basis {
    /// Opens the database and checks the master key.
    async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, CommandError> {
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        make_state_dir(&config.state_dir)?;
        let master =
            master_key::open(&config.store, &*entropy).map_err(|e| CommandError::new("the master key", e))?;
        let ring = Arc::new(KeyRing::new(&master));
        let store = Store::open(&config.store.url, ring.clone())
            .await
            .map_err(|error| CommandError(error.to_string()))?;
        let failed = |error: crate::store::StoreError| CommandError::new("the store", error);
        store.check_master_key(&*entropy).await.map_err(failed)?.map_err(|error| {
            CommandError::new(
                "cannot decrypt the database",
                format!("wrong master key ({error})\n  {WRONG_KEY}"),
            )
        })?;
        Ok(Self { store, ring, clock, entropy })
    }

    async fn broker(
        &self,
        catalogue: &Catalogue,
        outbound: ProviderHttpClient,
    ) -> Result<Broker, CommandError> {
        let Self { store, ring, clock, entropy } = self;
        let broker = Broker::new(store.clone(), ring.clone(), clock.clone(), entropy.clone(), outbound);
        broker.apply(catalogue).await.map_err(|error| CommandError::new("the key for SAML", error))?;
        Ok(broker)
    }

    /// Opens the signing keys and the access tokens.
    async fn signing_keys(&self, catalogue: &Catalogue) -> Result<(KeyChain, AccessTokens), CommandError> {
        let Self { store, clock, entropy, .. } = self;
        let keys = KeyChain::open(
            "assertion",
            Algorithm::Es256,
            store.clone(),
            clock.clone(),
            entropy.clone(),
            true,
        );
        let keys = keys.await.map_err(|error| CommandError::new("the signing keys", error))?;
        let access_tokens = AccessTokens::open(store.clone(), clock.clone(), entropy.clone())
            .await
            .map_err(|error| CommandError::new("the tokens that were revoked", error))?;
        access_tokens
            .apply(catalogue)
            .await
            .map_err(|error| CommandError::new("the keys of access tokens", error))?;
        Ok((keys, access_tokens))
    }

    /// Builds the user pool.
    async fn user_pool(
        &self,
        environment: &Environment,
        catalogue: CatalogueCell,
        broker: Broker,
        outbound: ProviderHttpClient,
    ) -> Result<AppState, CommandError> {
        let Self { store, ring, clock, entropy } = self;
        let catalogue = Arc::new(catalogue);
        let (keys, access_tokens) = self.signing_keys(&catalogue.load()).await?;
        let broker = Arc::new(broker);
        let renewals = Renewals::new(broker.clone(), catalogue.clone());
        let sessions = SessionAuthenticator::new(
            store.clone(),
            ring.clone(),
            clock.clone(),
            catalogue.clone(),
            renewals,
        );
        let deps = DirectoryDeps {
            store: store.clone(),
            ring: ring.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            catalogue: catalogue.clone(),
        };
        let directory = environment
            .directory(deps)
            .map_err(|error| CommandError::new("the threads that hash passwords", error))?;
        let directory = Arc::new(directory);
        broker.set_directory(directory.clone());
        let identities =
            Arc::new(IdentityDirectory::new(store.clone(), ring.clone(), clock.clone(), entropy.clone()));
        Ok(AppState {
            catalogue,
            broker,
            sessions: Arc::new(sessions),
            store: store.clone(),
            directory,
            identities,
            keys: Arc::new(keys),
            access_tokens: Arc::new(access_tokens),
            client_keys: ClientKeys::new(outbound.clone(), clock.clone()),
            outbound,
            limits: Limits::new(clock),
            clock: clock.clone(),
            entropy: entropy.clone(),
        })
    }

    fn gateway(&self, pool: Arc<AppState>, router: Router, outbound: ProviderHttpClient) -> Gateway {
        let Self { ring, clock, entropy, .. } = self;
        let identities = pool.identities.clone();
        let guests =
            GuestAuthenticator::new(ring.clone(), identities.clone(), clock.clone(), entropy.clone());
        let access_tokens = pool.access_tokens.clone();
        Gateway::new(GatewayDeps {
            identities,
            guests,
            bearers: BearerAuthenticator::new(
                ring.clone(),
                outbound,
                clock.clone(),
                access_tokens,
                &**entropy,
            ),
            router,
            minter: Minter::new(pool.keys.clone(), entropy.clone()),
            attempts: LoginAttempts::new(ring.clone(), clock.clone(), entropy.clone()),
            pool,
        })
    }
}
