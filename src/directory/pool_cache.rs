//! User pools and their app clients in memory: found by client id, pool id and domain.

use super::error::Outcome;
use crate::base::{Clock, Duration, MonotonicTime, Secret};
use crate::model::{AppClient, Pool, PoolState, UiCustomizationKey};
use crate::store::{Change, MAX_STALENESS, Store, StoreError};
use foldhash::fast::RandomState;
use moka::future::Cache;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum cached entries of each kind.
const CACHE_CAPACITY: u64 = 10_000;
/// How long the absence of an entry is cached. Each change of a pool ends that, too.
const ABSENCE_TTL: Duration = Duration::from_secs(2);
/// Maximum characters of a client id, a pool id and a domain.
const MAX_KEY_LENGTH: usize = 253;
/// Slots over which the changes of pools are spread. Pools that share a slot are read again
/// together.
const SLOTS: usize = 1024;

/// An app client with its pool.
#[derive(Clone, Debug)]
pub struct PoolOfClient {
    /// The pool.
    pub pool: Arc<Pool>,
    /// The app client.
    pub client: Arc<AppClient>,
    /// The secrets of the client, in the order of creation; a public client has none.
    pub secrets: Vec<Secret>,
    /// Whether a client of the pool allows Secure Remote Password.
    pub keeps_verifiers: bool,
    /// The customizations of the pool's pages.
    pub customizations: Arc<[UiCustomizationKey]>,
}

/// A pool with what is read with it.
#[derive(Clone, Debug)]
pub struct CachedPool {
    /// The pool.
    pub pool: Arc<Pool>,
    /// Whether a client of the pool allows Secure Remote Password.
    pub keeps_verifiers: bool,
    /// The customizations of the pool's pages.
    pub customizations: Arc<[UiCustomizationKey]>,
}

/// A value that was read from the database, or the absence of one.
struct Cached<T> {
    /// `None` if the database has no such value.
    value: Option<T>,
    /// The slot of its pool.
    slot: usize,
    /// The number of changes that were known before it was read.
    changes: u64,
    /// When it was read.
    read_at: MonotonicTime,
}

type Entries<T> = Cache<String, Arc<Cached<T>>, RandomState>;

/// User pools and app clients, as far as this node has used them. Nothing is read before it is
/// needed.
pub struct PoolCache {
    store: Store,
    clock: Arc<dyn Clock>,
    hasher: RandomState,
    clients: Entries<Arc<PoolOfClient>>,
    pools: Entries<CachedPool>,
    /// The ids of the pools.
    domains: Entries<Arc<str>>,
    /// Absent entries have caches of their own: requests for unknown ids displace no known one.
    unknown: Entries<()>,
    /// The number of changes.
    changes: AtomicU64,
    /// Held while changes are applied.
    writer: Mutex<()>,
    /// The number of the last change of each slot.
    changed: Vec<AtomicU64>,
    /// The number of the last change of everything.
    all_changed: AtomicU64,
    /// A reading of the monotonic clock.
    synced_at: AtomicI64,
}

impl PoolCache {
    /// Creates an empty cache.
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        let synced_at = AtomicI64::new(clock.monotonic().millis());
        Self {
            store,
            clock,
            hasher: RandomState::default(),
            clients: entries(),
            pools: entries(),
            domains: entries(),
            unknown: entries(),
            changes: AtomicU64::new(0),
            writer: Mutex::new(()),
            changed: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            all_changed: AtomicU64::new(0),
            synced_at,
        }
    }

    /// Returns the app client with this id and its pool, if both are in use.
    ///
    /// # Errors
    /// Returns an error if the database is needed and fails.
    pub async fn client(&self, id: &str) -> Outcome<Option<Arc<PoolOfClient>>> {
        Ok(self.find(&self.clients, 'c', id, || self.load_client(id)).await?)
    }

    /// Returns the pool with this id, if it is in use.
    ///
    /// # Errors
    /// Returns an error if the database is needed and fails.
    pub async fn pool(&self, id: &str) -> Outcome<Option<Arc<Pool>>> {
        Ok(self.cached_pool(id).await?.map(|found| found.pool))
    }

    /// As [`PoolCache::pool`], with what is read with it.
    ///
    /// # Errors
    /// Returns an error if the database is needed and fails.
    pub async fn pool_with_parts(&self, id: &str) -> Outcome<Option<CachedPool>> {
        Ok(self.cached_pool(id).await?)
    }

    /// Returns the pool with this domain, if it is in use.
    ///
    /// # Errors
    /// Returns an error if the database is needed and fails.
    pub async fn pool_of_domain(&self, domain: &str) -> Outcome<Option<Arc<Pool>>> {
        match self.find(&self.domains, 'd', domain, || self.load_domain(domain)).await? {
            Some(id) => self.pool(&id).await,
            None => Ok(None),
        }
    }

    /// Has everything that `changes` concern read again.
    pub fn apply_changes(&self, changes: &[Change]) {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            let changed = match change {
                Change::Pool(id) => &self.changed[self.slot(id)],
                Change::Everything => &self.all_changed,
                Change::Session(_) | Change::User(_) | Change::Token(..) | Change::Tokens => continue,
            };
            // In this order: a reader that knows the number finds the old entries old.
            let number = self.changes.load(Ordering::Acquire) + 1;
            changed.store(number, Ordering::Release);
            self.changes.store(number, Ordering::Release);
        }
    }

    /// Records that every change committed before `at` has been applied.
    pub fn mark_synced_at(&self, at: MonotonicTime) {
        self.synced_at.fetch_max(at.millis(), Ordering::AcqRel);
    }

    async fn cached_pool(&self, id: &str) -> Result<Option<CachedPool>, StoreError> {
        self.find(&self.pools, 'p', id, || self.load_pool(id)).await
    }

    /// Returns the value of `key`, from memory or by `load`, which returns it with the id of its
    /// pool.
    async fn find<T, F>(
        &self,
        entries: &Entries<T>,
        kind: char,
        key: &str,
        load: impl Fn() -> F,
    ) -> Result<Option<T>, StoreError>
    where
        T: Clone + Send + Sync + 'static,
        F: Future<Output = Result<Option<(T, String)>, StoreError>>,
    {
        // A client id may come from a token that is not verified yet. PostgreSQL takes no U+0000.
        if key.is_empty() || key.len() > MAX_KEY_LENGTH || key.contains('\0') {
            return Ok(None);
        }
        if self.is_stale() {
            return Ok(load().await?.map(|(value, _)| value));
        }
        let absent = format!("{kind}{key}");
        if self.unknown.get(&absent).await.is_some_and(|entry| self.is_current(&entry)) {
            return Ok(None);
        }
        // A read that was under way already may have missed a change that this request must see.
        for _ in 0..2 {
            let read = entries.try_get_with(key.to_owned(), self.read(&load)).await;
            let entry = read.map_err(|error| Arc::try_unwrap(error).unwrap_or(StoreError::Timeout))?;
            if entry.value.is_none() {
                entries.invalidate(key).await;
                let Cached { slot, changes, read_at, .. } = *entry;
                let entry = Arc::new(Cached { value: None, slot, changes, read_at });
                self.unknown.insert(absent.clone(), entry).await;
            }
            match self.is_current(&entry) {
                true => return Ok(entry.value.clone()),
                false => entries.invalidate(key).await,
            }
        }
        Ok(load().await?.map(|(value, _)| value))
    }

    async fn read<T, F>(&self, load: impl Fn() -> F) -> Result<Arc<Cached<T>>, StoreError>
    where
        F: Future<Output = Result<Option<(T, String)>, StoreError>>,
    {
        // Both before the read: a change that is applied during it makes the entry old.
        let (changes, read_at) = (self.changes.load(Ordering::Acquire), self.clock.monotonic());
        let (value, slot) = match load().await? {
            Some((value, pool_id)) => (Some(value), self.slot(&pool_id)),
            None => (None, 0),
        };
        Ok(Arc::new(Cached { value, slot, changes, read_at }))
    }

    /// Returns whether no change that concerns the entry was applied after its read.
    fn is_current<T>(&self, entry: &Cached<T>) -> bool {
        if entry.value.is_none() {
            // The pool of an unknown id is unknown: any change may have created it.
            let age = self.clock.monotonic().since(entry.read_at);
            return age < ABSENCE_TTL && self.changes.load(Ordering::Acquire) == entry.changes;
        }
        let of_pool = self.changed[entry.slot].load(Ordering::Acquire);
        of_pool.max(self.all_changed.load(Ordering::Acquire)) <= entry.changes
    }

    /// Returns whether the change feed was not read for so long that nothing in memory is used.
    fn is_stale(&self) -> bool {
        let synced_at = MonotonicTime::from_millis(self.synced_at.load(Ordering::Acquire));
        self.clock.monotonic().since(synced_at) > MAX_STALENESS
    }

    fn slot(&self, pool_id: &str) -> usize {
        let slot = self.hasher.hash_one(pool_id) % u64::try_from(SLOTS).unwrap_or(1);
        usize::try_from(slot).unwrap_or_default()
    }

    async fn load_client(&self, id: &str) -> Result<Option<(Arc<PoolOfClient>, String)>, StoreError> {
        let Some((client, pool_id)) = self.store.app_client(id).await? else { return Ok(None) };
        // The pool is shared by the entries of its clients.
        let Some(CachedPool { pool, keeps_verifiers, customizations }) = self.cached_pool(&pool_id).await?
        else {
            return Ok(None);
        };
        let secrets = self.store.client_secrets(id).await?;
        let secrets = secrets.into_iter().map(|secret| secret.secret).collect();
        let found = PoolOfClient { pool, client: Arc::new(client), secrets, keeps_verifiers, customizations };
        Ok(Some((Arc::new(found), pool_id)))
    }

    async fn load_pool(&self, id: &str) -> Result<Option<(CachedPool, String)>, StoreError> {
        let live = self.store.pool(id).await?.filter(|pool| pool.state == PoolState::Live);
        let Some(pool) = live else { return Ok(None) };
        let keeps_verifiers = self.store.keeps_verifiers(pool.no).await?;
        let customizations = self.store.ui_customization_keys(pool.no).await?.into();
        Ok(Some((CachedPool { pool: Arc::new(pool), keeps_verifiers, customizations }, id.to_owned())))
    }

    async fn load_domain(&self, domain: &str) -> Result<Option<(Arc<str>, String)>, StoreError> {
        let found = self.store.pool_domain(domain).await?;
        Ok(found.map(|(_, pool_id)| (pool_id.as_str().into(), pool_id)))
    }
}

fn entries<T: Send + Sync + 'static>() -> Entries<T> {
    Cache::builder().max_capacity(CACHE_CAPACITY).build_with_hasher(RandomState::default())
}
