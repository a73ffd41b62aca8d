//! The directory of a deployment.

use super::account_code::{CodeSource, RandomCodes};
use super::accounts::AccountService;
use super::events::PoolEvents;
use super::factors::FactorService;
use super::new_password::NewPasswords;
use super::password::{Hasher, HasherSettings};
use super::pool_cache::PoolCache;
use super::remembered_devices::RememberedDeviceService;
use super::sign_in::SignInService;
use super::tokens::TokenService;
use crate::base::{Clock, Entropy, KeyRing};
use crate::catalogue::CatalogueCell;
use crate::store::Store;
use crate::token::PoolKeys;
use std::sync::Arc;

/// The services of a deployment's user pools, which pages, OAuth endpoints, the Cognito API and
/// commands call.
pub struct Directory {
    /// What the services work with.
    pub deps: DirectoryDeps,
    /// The user pools and app clients that this node has used.
    pub pools: PoolCache,
    /// Sign-ins.
    pub sign_in: SignInService,
    /// Accounts: sign-up, codes, passwords, addresses.
    pub accounts: Arc<AccountService>,
    /// Second factors.
    pub factors: FactorService,
    /// Remembered devices.
    pub devices: RememberedDeviceService,
    /// The tokens of users.
    pub tokens: TokenService,
    /// The events at which functions of the pools are called.
    pub events: Arc<PoolEvents>,
}

/// What a [`Directory`] works with.
#[derive(Clone)]
pub struct DirectoryDeps {
    /// The database.
    pub store: Store,
    /// The encryption keys.
    pub ring: Arc<KeyRing>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The random number generator.
    pub entropy: Arc<dyn Entropy>,
    /// The configuration, for the settings of messages and of the breached-password service.
    pub catalogue: Arc<CatalogueCell>,
}

impl Directory {
    /// Starts the threads that hash passwords, and creates the services.
    ///
    /// # Errors
    /// Returns an error if a thread cannot be started, or memory for one hash is missing.
    pub fn start(deps: DirectoryDeps, hashing: HasherSettings) -> std::io::Result<Self> {
        let codes = Arc::new(RandomCodes(deps.entropy.clone()));
        Self::start_with_codes(deps, hashing, codes)
    }

    /// As [`Directory::start`], with another source of the codes in messages.
    ///
    /// # Errors
    /// As [`Directory::start`].
    pub fn start_with_codes(
        deps: DirectoryDeps,
        hashing: HasherSettings,
        codes: Arc<dyn CodeSource>,
    ) -> std::io::Result<Self> {
        let hasher = Arc::new(Hasher::start(hashing, deps.entropy.clone())?);
        let DirectoryDeps { store, ring, clock, entropy, catalogue } = deps.clone();
        let passwords = Arc::new(NewPasswords::new(store.clone(), hasher, catalogue));
        let keys = PoolKeys::new(store.clone(), clock.clone(), entropy.clone());
        let events = Arc::new(PoolEvents::new(deps.clone(), passwords.clone()));
        let accounts =
            Arc::new(AccountService::new(deps.clone(), passwords.clone(), (codes, events.clone())));
        Ok(Self {
            pools: PoolCache::new(store.clone(), clock.clone()),
            sign_in: SignInService::new(deps.clone(), passwords, (accounts.clone(), events.clone())),
            accounts,
            factors: FactorService::new(deps.clone()),
            devices: RememberedDeviceService::new(deps.clone()),
            tokens: TokenService::new(store, ring, keys, (clock, entropy), events.clone()),
            events,
            deps,
        })
    }
}
