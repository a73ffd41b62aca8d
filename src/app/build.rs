//! Construction of the application from its parts.

use super::lint::lint;
use super::master_key;
use crate::authn::{
    BearerAuthenticator, ConcurrencyLimiter, GuestAuthenticator, Minter, RateLimiter, Renewals,
    SessionAuthenticator,
};
use crate::base::{Clock, Duration, Entropy, JumpDetector, KeyRing, SystemClock, SystemEntropy};
use crate::broker::{Broker, LoginAttempts};
use crate::catalogue::{Catalogue, CatalogueCell};
use crate::config::{Config, LoadError};
use crate::gateway::{Gateway, GatewayDeps, TlsStore};
use crate::handlers::{self, AppState};
use crate::identity::IdentityDirectory;
use crate::jose::Algorithm;
use crate::message::Delivery;
use crate::provider::{ProviderHttpClient, unusable_key_files};
use crate::store::Store;
use crate::token::{AccessTokens, KeyChain};
use std::fmt;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

/// Burst of failed sign-ins per address: many users may share an office's address.
const FAILURES: u32 = 30;
/// Interval of further failed sign-ins.
const FAILURE_EVERY: Duration = Duration::from_secs(3);

/// Burst of failed authentications per app client and address. A misconfigured client retries
/// constantly and must not lock out others. Guessing is prevented by the secret's length.
const CLIENT_FAILURES: u32 = 300;
const CLIENT_FAILURE_EVERY: Duration = Duration::from_millis(200);
/// Burst and interval of revocations per app client.
const REVOCATIONS: u32 = 10_000;
const REVOCATION_EVERY: Duration = Duration::from_millis(20);

/// Maximum SAML messages per address in verification or waiting for it.
const SAML_MESSAGES: u32 = 16;

/// The remedy for a wrong master key.
pub const WRONG_KEY: &str = "help: start with the master key that this database was made with";

/// A fatal error, with its remedy.
#[derive(Debug)]
pub struct CommandError(String);

impl CommandError {
    /// Creates an error with the failed operation.
    pub fn new(doing: &str, error: impl fmt::Display) -> Self {
        Self(format!("{doing}: {error}"))
    }
}

impl From<LoadError> for CommandError {
    fn from(error: LoadError) -> Self {
        Self(format!("the configuration cannot be used\n\n{error}\n"))
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CommandError {}

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
        let unusable = unusable_key_files(&config);
        if !unusable.is_empty() {
            return Err(CommandError::new("an issuer's keys cannot be used", unusable.join("; ")));
        }
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let jumps = JumpDetector::new(clock.clone());
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
        let tls = TlsStore::open(&config, clock.now()).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            CommandError::new("the certificates cannot be used", lines.join("\n  "))
        })?;
        let catalogue = Catalogue::build(config, &store, &*entropy, 1)
            .await
            .map_err(|error| CommandError::new("the configuration", error))?;
        lint(&catalogue).log().map_err(|error| CommandError::new("the policies cannot be used", error))?;
        let outbound =
            ProviderHttpClient::new().map_err(|error| CommandError::new("calls to providers", error))?;
        let broker =
            Broker::new(store.clone(), ring.clone(), clock.clone(), entropy.clone(), outbound.clone());
        broker.apply(&catalogue).await.map_err(|error| CommandError::new("the key for SAML", error))?;
        let current = Arc::new(CatalogueCell::new(catalogue));
        let keys =
            KeyChain::open("assertion", Algorithm::Es256, store.clone(), clock.clone(), entropy.clone())
                .await
                .map_err(|error| CommandError::new("the signing keys", error))?;
        let keys = Arc::new(keys);
        let access_tokens = AccessTokens::open(store.clone(), clock.clone(), entropy.clone())
            .await
            .map_err(|error| CommandError::new("the tokens that were revoked", error))?;
        access_tokens
            .apply(&current.load())
            .await
            .map_err(|error| CommandError::new("the keys of access tokens", error))?;
        let access_tokens = Arc::new(access_tokens);
        let broker = Arc::new(broker);
        let renewals = Renewals::new(broker.clone(), current.clone());
        let sessions =
            SessionAuthenticator::new(store.clone(), ring.clone(), clock.clone(), current.clone(), renewals);
        let pool = Arc::new(AppState {
            catalogue: current,
            broker,
            sessions: Arc::new(sessions),
            store: store.clone(),
            keys: keys.clone(),
            access_tokens: access_tokens.clone(),
            failed_sign_ins: RateLimiter::new(clock.clone(), FAILURES, FAILURE_EVERY),
            unsolicited_failures: RateLimiter::new(clock.clone(), FAILURES, FAILURE_EVERY),
            saml_messages: ConcurrencyLimiter::new(SAML_MESSAGES),
            client_failures: RateLimiter::new(clock.clone(), CLIENT_FAILURES, CLIENT_FAILURE_EVERY),
            client_revocations: RateLimiter::new(clock.clone(), REVOCATIONS, REVOCATION_EVERY),
            clock: clock.clone(),
            entropy: entropy.clone(),
        });
        let identities =
            Arc::new(IdentityDirectory::new(store.clone(), ring.clone(), clock.clone(), entropy.clone()));
        let guests =
            GuestAuthenticator::new(ring.clone(), identities.clone(), clock.clone(), entropy.clone());
        let gateway = Gateway::new(GatewayDeps {
            identities,
            guests,
            bearers: BearerAuthenticator::new(
                ring.clone(),
                outbound.clone(),
                clock.clone(),
                access_tokens,
                &*entropy,
            ),
            router: handlers::router(pool.clone()),
            pool: pool.clone(),
            minter: Minter::new(keys, entropy.clone()),
            attempts: LoginAttempts::new(ring.clone(), clock.clone(), entropy.clone()),
        });
        let log = gateway.open_access_log(&gateway.route_table().catalogue.config.log);
        gateway.install_access_log(log.map_err(|error| CommandError::new("the access log", error))?);
        gateway.apply().await;
        let messages = Delivery::new(store, pool.catalogue.clone(), clock.clone(), entropy.clone());
        let (gateway, tls, messages) = (Arc::new(gateway), Arc::new(tls), Arc::new(messages));
        Ok(Self { gateway, pool, ring, tls, clock, jumps, entropy, messages })
    }
}
