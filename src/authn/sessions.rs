//! Authentication of session cookies. A cookie seen before is looked up in memory, and an unknown
//! cookie requires one database read. A cookie that Narthex did not create is rejected by its MAC.

use crate::base::{
    Clock, Duration, KeyRing, Moment, MonotonicTime, RandomToken, Secret, Timestamp, base64url_decode,
    base64url_encode,
};
use crate::catalogue::{Catalogue, CatalogueCell};
use crate::config::{LOCAL_PROVIDER, Provider};
use crate::model::{CookieScope, Freshness, Identity, RenewalTimes, Session, User};
use crate::store::{Change, MAX_STALENESS, SessionRecord, Store, StoreError};
use foldhash::fast::RandomState;
use moka::future::Cache;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Renewals;
use super::front_cache::{FrontCache, Keyed, LastTouch};
use super::index::Index;
use super::principal_cache::PrincipalCache;

/// Maximum number of groups of a user of the pool.
const MAX_GROUPS: u32 = 1000;
/// Maximum number of cached cookies.
const CACHE_CAPACITY: u64 = 200_000;
/// Precision of a session's last use in the database.
const LAST_SEEN_PRECISION: Duration = Duration::from_secs(60);
/// Interval at which a cached session in use is confirmed in the database.
const CONFIRM_INTERVAL: Duration = Duration::from_secs(300);

/// A user with a session.
#[derive(Clone)]
pub struct SessionPrincipal(Arc<CachedSession>);

/// A cached session. The fields that each request reads come first, next to each other. With a
/// hundred thousand sessions, each access is a cache miss.
#[repr(C)]
struct CachedSession {
    /// The token of the session's cookie.
    token: [u8; 32],
    last_touch: LastTouch,
    /// The time of last use. This and the next two fields are milliseconds of the monotonic clock.
    last_seen: AtomicI64,
    last_seen_stored: AtomicI64,
    /// The time of the last confirmation in the database, which may still be in progress.
    confirmed_at: AtomicI64,
    stale: AtomicBool,
    /// Whether a renewal was started.
    renewing: AtomicBool,
    principal_cache: PrincipalCache,
    /// The times of renewal, and the access token of the provider.
    tokens: Option<Box<(RenewalTimes, Secret)>>,
    scope: CookieScope<Arc<str>>,
    session: Session,
    user: User,
}

impl SessionPrincipal {
    /// Returns the user.
    pub fn user(&self) -> &User {
        &self.0.user
    }

    /// Returns the session.
    pub fn session(&self) -> &Session {
        &self.0.session
    }

    /// Returns the time of the session's last use on this node, or its stored last use if later.
    pub fn last_seen(&self, now: Moment) -> Timestamp {
        let last_seen = MonotonicTime::from_millis(self.0.last_seen.load(Ordering::Relaxed));
        now.wall.minus(now.monotonic.since(last_seen))
    }

    /// Returns the provider's access token if it has not expired.
    pub fn access_token(&self, now: Timestamp) -> Option<&Secret> {
        self.tokens().filter(|(times, _)| now < times.expires_at).map(|(_, token)| token)
    }

    fn tokens(&self) -> Option<&(RenewalTimes, Secret)> {
        self.0.tokens.as_deref()
    }

    pub(super) fn principal_cache(&self) -> &PrincipalCache {
        &self.0.principal_cache
    }
}

impl Keyed for CachedSession {
    type Key = [u8; 32];

    fn has_key(&self, key: &[u8; 32]) -> bool {
        // Constant time: another session's token in the same slot must not leak through timing.
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.token, key).is_ok()
    }

    fn last_touch(&self) -> &LastTouch {
        &self.last_touch
    }
}

/// The result of a lookup. `None` can be cached: a session is stored before its cookie is set, and
/// an ended session never becomes valid again.
type Lookup = Option<Arc<CachedSession>>;

/// The authenticator of session cookies, with this node's cache.
pub struct SessionAuthenticator {
    store: Store,
    ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    catalogue: Arc<CatalogueCell>,
    /// Lookup results by the cookie's token, which has 256 random bits.
    known: Cache<[u8; 32], Lookup, RandomState>,
    front_cache: FrontCache<CachedSession>,
    /// Cached sessions by the change-feed keys of the session and of its user.
    index: Index<CachedSession>,
    /// The number of calls of [`Self::apply_changes`] with changes.
    changes: AtomicU64,
    /// All changes before this time are applied. Milliseconds of the monotonic clock.
    synced_at: AtomicI64,
    /// The last uses to be written to the database, by session id. An outage of the database thus
    /// adds at most one entry per session.
    touched: Mutex<HashMap<String, MonotonicTime>>,
    renewals: Renewals,
}

impl SessionAuthenticator {
    /// Creates an authenticator of the sessions in `store`, which `renewals` renews.
    pub fn new(
        store: Store,
        ring: Arc<KeyRing>,
        clock: Arc<dyn Clock>,
        catalogue: Arc<CatalogueCell>,
        renewals: Renewals,
    ) -> Self {
        let synced_at = AtomicI64::new(clock.monotonic().millis());
        Self {
            store,
            ring,
            clock,
            catalogue,
            known: Cache::builder().max_capacity(CACHE_CAPACITY).build_with_hasher(RandomState::default()),
            front_cache: FrontCache::new(),
            index: Index::new(),
            changes: AtomicU64::new(0),
            synced_at,
            touched: Mutex::default(),
            renewals,
        }
    }

    /// Returns the value of the cookie with `token`; see [`cookie_text`].
    pub fn cookie(&self, token: &RandomToken, scope: CookieScope<&str>) -> String {
        cookie_text(&self.ring, token, scope)
    }

    /// Returns the principal of a cookie's value at `now`, if any. Records a use of the session. If
    /// the provider's tokens have expired, waits for their renewal.
    ///
    /// # Errors
    /// Returns an error if a read is required and the database fails, or if the cache is older than
    /// [`MAX_STALENESS`].
    pub async fn authenticate(
        self: &Arc<Self>,
        text: &str,
        scope: CookieScope<&str>,
        now: Moment,
    ) -> Result<Option<SessionPrincipal>, StoreError> {
        let principal = match self.lookup(text, scope, now).await? {
            Some(principal) if self.renew_if_due(&principal, now).await? => Some(principal),
            // The renewal may have taken long, so `now` is outdated.
            Some(_) => self.lookup(text, scope, self.clock.moment()).await?,
            None => None,
        };
        if let Some(principal) = &principal {
            self.touch(principal, now.monotonic);
        }
        Ok(principal)
    }

    /// Returns the principal of a cookie's value for a long-lived request in progress. Does not
    /// record a use, and does not wait for a renewal. If the provider rejects the renewal, the
    /// session ends, and with it the request.
    ///
    /// # Errors
    /// Returns the errors of [`SessionAuthenticator::authenticate`].
    pub async fn authenticate_without_touch(
        self: &Arc<Self>,
        text: &str,
        scope: CookieScope<&str>,
    ) -> Result<Option<SessionPrincipal>, StoreError> {
        let now = self.clock.moment();
        let principal = self.lookup(text, scope, now).await?;
        if let Some(principal) = &principal
            && let Some((times, _)) = principal.tokens()
            && matches!(times.freshness(now.wall), Freshness::Due | Freshness::Expired)
        {
            self.renew_in_background(principal);
        }
        Ok(principal)
    }

    /// Reads a cached session from the database at intervals, in the background. The change feed
    /// has no entry for rows that another program deletes.
    fn confirm_in_background(
        self: &Arc<Self>,
        token: &RandomToken,
        live: &Arc<CachedSession>,
        now: MonotonicTime,
    ) {
        let confirmed = live.confirmed_at.load(Ordering::Relaxed);
        if now.since(MonotonicTime::from_millis(confirmed)) < CONFIRM_INTERVAL {
            return;
        }
        let mine =
            live.confirmed_at.compare_exchange(confirmed, now.millis(), Ordering::Relaxed, Ordering::Relaxed);
        if mine.is_ok() {
            let (sessions, live, hash) = (self.clone(), live.clone(), token.hash());
            tokio::spawn(async move {
                // While the database is unavailable, `synced_at` limits the age of cached entries.
                if let Ok(None) = sessions.store.session_by_cookie(&hash).await {
                    live.stale.store(true, Ordering::Release);
                }
            });
        }
    }

    /// Returns whether the provider's claims about `principal` are still valid. If they are due for
    /// renewal, one request starts it and all continue. If they have expired, all requests wait for
    /// the renewal, and the caller must look up the session again.
    async fn renew_if_due(
        self: &Arc<Self>,
        principal: &SessionPrincipal,
        now: Moment,
    ) -> Result<bool, StoreError> {
        let Some((times, _)) = principal.tokens() else { return Ok(true) };
        match times.freshness(now.wall) {
            Freshness::Fresh => Ok(true),
            Freshness::Due => {
                self.renew_in_background(principal);
                Ok(true)
            }
            Freshness::Expired => Box::pin(self.renew(principal)).await.map(|()| false),
            // The session is no longer valid; the caller's next lookup rejects it.
            Freshness::Lost => Ok(false),
        }
    }

    /// Starts the renewal of a session in the background, unless one was started.
    fn renew_in_background(self: &Arc<Self>, principal: &SessionPrincipal) {
        if principal.0.renewing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (sessions, principal) = (self.clone(), principal.clone());
        tokio::spawn(async move {
            if let Err(error) = sessions.renew(&principal).await {
                tracing::warn!(%error, "a session could not be renewed");
                principal.0.renewing.store(false, Ordering::Release);
            }
        });
    }

    /// Waits until no renewal is in progress, for at most 12 seconds, and prevents new ones.
    pub async fn drain_renewals(&self) {
        self.renewals.drain().await;
    }

    async fn renew(&self, principal: &SessionPrincipal) -> Result<(), StoreError> {
        let Some((times, _)) = principal.tokens() else { return Ok(()) };
        let changes = self.renewals.run(&principal.session().id, times.due_at).await?;
        self.apply_changes(&changes);
        Ok(())
    }

    /// Looks up the principal of a cookie's value in memory, then in the database.
    async fn lookup(
        self: &Arc<Self>,
        text: &str,
        scope: CookieScope<&str>,
        now: Moment,
    ) -> Result<Option<SessionPrincipal>, StoreError> {
        let Some((token, mac)) = text.split_once('.') else { return Ok(None) };
        let Some(token) = RandomToken::parse(token) else { return Ok(None) };
        let changes = self.changes.load(Ordering::Acquire);
        // A stream may keep an expired entry alive. The main cache contains the entry that was read
        // since.
        if let Some(live) =
            self.front_cache.get(token.bytes(), now.monotonic).filter(|live| self.is_current(live, now))
        {
            self.confirm_in_background(&token, &live, now.monotonic);
            return self.to_principal(live, scope, now);
        }
        match self.known.get(token.bytes()).await {
            Some(None) => return Ok(None),
            Some(Some(live)) if self.is_current(&live, now) => {
                self.front_cache.insert(token.bytes(), &live, now.monotonic);
                self.confirm_in_background(&token, &live, now.monotonic);
                return self.to_principal(live, scope, now);
            }
            Some(Some(_)) => self.known.invalidate(token.bytes()).await,
            None if base64url_decode(mac)
                .is_some_and(|mac| self.ring.mac_is(&mac_input(&token, scope), &mac)) => {}
            None => return Ok(None),
        }
        // Boxed because it is rarely needed: otherwise the future of every request would include
        // its state.
        match Box::pin(self.load_fresh(&token)).await? {
            Some(live) if self.is_active(&live, now) => self.to_principal(live, scope, now),
            Some(live) => {
                // A jump of the wall clock counts as a change: `now` may then be wrong, and the
                // entry would remain.
                if self.is_expired(&live, now.wall) && self.changes.load(Ordering::Acquire) == changes {
                    // The database keeps the row for some time. Its cookie must not cause a read
                    // for each request.
                    self.known.insert(*token.bytes(), None).await;
                }
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Returns whether the session has expired even if another node has not stored its last use
    /// yet.
    fn is_expired(&self, live: &CachedSession, now: Timestamp) -> bool {
        let idle = self.catalogue.load().config.session.idle + 2 * LAST_SEEN_PRECISION;
        !live.session.is_active(live.session.last_seen_at, idle, now)
    }

    /// Records a use of the session at `now`.
    pub fn touch(&self, principal: &SessionPrincipal, now: MonotonicTime) {
        let live = &principal.0;
        live.last_seen.fetch_max(now.millis(), Ordering::Relaxed);
        let noted = live.last_seen_stored.load(Ordering::Relaxed);
        let due = now.since(MonotonicTime::from_millis(noted)) >= LAST_SEEN_PRECISION;
        if due
            && live
                .last_seen_stored
                .compare_exchange(noted, now.millis(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            lock(&self.touched).insert(live.session.id.clone(), now);
        }
    }

    /// Returns the session of a cookie by a database read that begins after this call. A read
    /// already in progress may miss a change that this request must see.
    async fn load_fresh(&self, token: &RandomToken) -> Result<Lookup, StoreError> {
        for _ in 0..2 {
            let known = self.known.try_get_with(*token.bytes(), self.load(token)).await;
            match known.map_err(|error| Arc::try_unwrap(error).unwrap_or(StoreError::Timeout))? {
                Some(live) if live.stale.load(Ordering::Acquire) => {
                    self.known.invalidate(token.bytes()).await
                }
                known => return Ok(known),
            }
        }
        self.load(token).await
    }

    fn is_current(&self, live: &CachedSession, now: Moment) -> bool {
        !live.stale.load(Ordering::Acquire) && self.is_active(live, now)
    }

    fn is_active(&self, live: &CachedSession, now: Moment) -> bool {
        let last_seen = MonotonicTime::from_millis(live.last_seen.load(Ordering::Relaxed));
        let lost =
            live.tokens.as_deref().is_some_and(|(times, _)| times.freshness(now.wall) == Freshness::Lost);
        !lost
            && now.wall < live.session.expires_at
            && now.monotonic.since(last_seen) < self.catalogue.load().config.session.idle
    }

    /// Returns the principal of a valid session in its scope. Returns an error if the cache is
    /// older than [`MAX_STALENESS`].
    fn to_principal(
        &self,
        live: Arc<CachedSession>,
        scope: CookieScope<&str>,
        now: Moment,
    ) -> Result<Option<SessionPrincipal>, StoreError> {
        if live.scope.borrowed() != scope {
            return Ok(None);
        }
        let heard_at = MonotonicTime::from_millis(self.synced_at.load(Ordering::Acquire));
        if now.monotonic.since(heard_at) > MAX_STALENESS {
            return Err(StoreError::Timeout);
        }
        Ok(Some(SessionPrincipal(live)))
    }

    async fn load(&self, token: &RandomToken) -> Result<Lookup, StoreError> {
        let changes = self.changes.load(Ordering::Acquire);
        let Some(SessionRecord { session, mut user, scope, tokens }) =
            self.store.session_by_cookie(&token.hash()).await?
        else {
            return Ok(None);
        };
        if session.provider == LOCAL_PROVIDER {
            let groups = self.store.groups_of_user(user.no, 0, MAX_GROUPS).await?;
            user.groups = groups.into_iter().map(|group| group.name).collect();
        }
        // A session ends if its user is disabled, its provider is removed, or `allow` no longer
        // names the user.
        let is_allowed = match session.provider == LOCAL_PROVIDER {
            true => scope == CookieScope::Pool || self.allows_passwords(&session),
            false => {
                user.has_unambiguous_account(&session.provider) && self.is_still_allowed(&session, &user)
            }
        };
        if !user.enabled || !is_allowed {
            return Ok(None);
        }
        let now = self.clock.moment();
        let longest =
            provider_of(&self.catalogue.load(), &session).map_or(Duration::MAX, Provider::renewal_interval);
        // The last use was written with another node's wall clock. A time in the future is treated
        // as a use now.
        let seen = now.monotonic.minus(now.wall.since(session.last_seen_at)).millis();
        let live = Arc::new(CachedSession {
            token: *token.bytes(),
            last_touch: LastTouch::default(),
            last_seen: AtomicI64::new(seen),
            last_seen_stored: AtomicI64::new(seen),
            stale: AtomicBool::new(false),
            tokens: tokens.map(|(times, token)| Box::new((times.corrected(now.wall, longest), token))),
            renewing: AtomicBool::new(false),
            confirmed_at: AtomicI64::new(now.monotonic.millis()),
            principal_cache: PrincipalCache::default(),
            session,
            user,
            scope: scope.map(|host| self.catalogue.load().host(host)),
        });
        for name in [of_session(&live.session.id), of_user(&live.user.id)] {
            self.index.add(name, &live);
        }
        // A change that arrives during the read may concern this row. `apply_changes` increments
        // the counter before it reads the index, so either the counter or the index reveals the
        // change.
        if self.changes.load(Ordering::Acquire) != changes {
            live.stale.store(true, Ordering::Release);
        }
        Ok(Some(live))
    }

    /// Returns whether users of the session's pool sign in to the apps of routes with a password.
    fn allows_passwords(&self, session: &Session) -> bool {
        let catalogue = self.catalogue.load();
        session.pool_id == catalogue.pool.id && catalogue.config.user_pool.rules.password_sign_in
    }

    fn is_still_allowed(&self, session: &Session, user: &User) -> bool {
        let catalogue = self.catalogue.load();
        provider_of(&catalogue, session).is_some_and(|provider| {
            // A provider entry with a new issuer identifies other users. For SAML, only the
            // provider's metadata identifies the user.
            let own = |identity: &Identity| {
                identity.provider == provider.name && (identity.saml || provider.issues(&identity.issuer))
            };
            // Two configuration entries may be one identity provider. The account contains the name
            // of the entry that was used last.
            let of_twin = |identity: &Identity| {
                let owner = catalogue.config.providers.iter().find(|other| other.name == identity.provider);
                owner.is_some_and(|owner| {
                    owner.is_same_source(provider) && (identity.saml || owner.issues(&identity.issuer))
                })
            };
            let of_it = |identity: &Identity| own(identity) || of_twin(identity);
            if !user.identities.iter().any(of_it) {
                return false;
            }
            let email = user.email().filter(|_| user.email_verified());
            provider.allow.names(email, &user.groups)
        })
    }

    /// Invalidates the sessions named by `changes`, so that the next request reads them again.
    pub fn apply_changes(&self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        self.changes.fetch_add(1, Ordering::AcqRel);
        let over = |live: &CachedSession| live.stale.store(true, Ordering::Release);
        for change in changes {
            match change {
                Change::Session(id) => self.index.take(&of_session(id), over),
                Change::User(id) => self.index.take(&of_user(id), over),
                Change::Token(..) | Change::Tokens | Change::Pool(_) => {}
                Change::Everything => self.index.take_all(over),
            }
        }
    }

    /// Invalidates every cached session and every cached unknown cookie. For use after a jump of
    /// the wall clock, with which both were validated.
    pub fn distrust_cache(&self) {
        self.apply_changes(&[Change::Everything]);
        self.known.invalidate_all();
    }

    /// Records that all changes committed before `at` are applied.
    pub fn mark_synced_at(&self, at: MonotonicTime) {
        self.synced_at.fetch_max(at.millis(), Ordering::AcqRel);
    }

    /// Frees the memory of evicted sessions.
    pub fn evict_dropped(&self) {
        self.front_cache.evict_dropped();
        self.index.evict_dropped();
    }

    /// Writes the last uses of sessions to the database.
    ///
    /// # Errors
    /// Returns an error if the database fails. The uses are then kept for the next call.
    pub async fn flush_last_seen(&self) -> Result<(), StoreError> {
        let touched: Vec<_> = std::mem::take(&mut *lock(&self.touched)).into_iter().collect();
        if touched.is_empty() {
            return Ok(());
        }
        let now = self.clock.moment();
        let at = |at: MonotonicTime| now.wall.minus(now.monotonic.since(at));
        let uses: Vec<_> = touched.iter().map(|(id, used_at)| (id.clone(), at(*used_at))).collect();
        let result = self.store.note_last_seen(&uses).await;
        if result.is_err() {
            let mut newer = lock(&self.touched);
            for (id, at) in touched {
                newer.entry(id).or_insert(at);
            }
        }
        result
    }
}

/// Returns the value of the cookie with `token`: the token, a dot, and a MAC over the token and its
/// scope. Invalid cookies and cookies of another host thus cause no database read.
pub fn cookie_text(ring: &KeyRing, token: &RandomToken, scope: CookieScope<&str>) -> String {
    format!("{}.{}", token.text(), base64url_encode(ring.mac(&mac_input(token, scope))))
}

fn mac_input(token: &RandomToken, scope: CookieScope<&str>) -> Vec<u8> {
    [&token.bytes()[..], scope.text().as_bytes()].concat()
}

fn provider_of<'c>(catalogue: &'c Catalogue, session: &Session) -> Option<&'c Provider> {
    catalogue.config.providers.iter().find(|provider| provider.name == session.provider)
}

fn of_session(id: &str) -> String {
    format!("session {id}")
}

fn of_user(id: &str) -> String {
    format!("user {id}")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // The map is consistent after every statement, so a poisoned lock is usable.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
