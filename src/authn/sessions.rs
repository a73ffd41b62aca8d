//! From a session cookie to its principal. A cookie that was seen before is looked up in memory;
//! one that was not costs one read of the store; one that is not ours costs neither.

use crate::base::{
    Clock, Duration, KeyRing, Moment, MonotonicTime, RandomToken, Secret, Timestamp, base64url_decode,
    base64url_encode,
};
use crate::catalogue::{Catalogue, CatalogueCell};
use crate::config::Provider;
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

/// How many cookies are remembered.
const CACHE_CAPACITY: u64 = 200_000;
/// How exactly the store knows when a session was last used.
const LAST_SEEN_PRECISION: Duration = Duration::from_secs(60);
/// How often the store is asked about a session that memory knows.
const CONFIRM_INTERVAL: Duration = Duration::from_secs(300);

/// Who has a session.
#[derive(Clone)]
pub struct SessionPrincipal(Arc<CachedSession>);

/// A session in memory. What each request asks for stands together, and first: of a hundred
/// thousand sessions, each comes from far away in memory.
#[repr(C)]
struct CachedSession {
    /// The token of its cookie.
    token: [u8; 32],
    last_touch: LastTouch,
    /// These three are readings of the monotonic clock.
    last_seen: AtomicI64,
    last_seen_stored: AtomicI64,
    /// When the store was last asked whether it stands, or is being asked.
    confirmed_at: AtomicI64,
    stale: AtomicBool,
    /// Whether somebody has begun to ask the provider.
    renewing: AtomicBool,
    principal_cache: PrincipalCache,
    /// When the provider is to be asked again, and the access token that it granted.
    tokens: Option<Box<(RenewalTimes, Secret)>>,
    scope: CookieScope<Arc<str>>,
    session: Session,
    user: User,
}

impl SessionPrincipal {
    /// The user.
    pub fn user(&self) -> &User {
        &self.0.user
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.0.session
    }

    /// When the session was last used, as far as this node knows.
    pub fn last_seen(&self, now: Moment) -> Timestamp {
        let last_seen = MonotonicTime::from_millis(self.0.last_seen.load(Ordering::Relaxed));
        now.wall.minus(now.monotonic.since(last_seen))
    }

    /// The access token that the provider granted, while it is valid.
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
        // Two that share a place may differ in few letters.
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.token, key).is_ok()
    }

    fn last_touch(&self) -> &LastTouch {
        &self.last_touch
    }
}

/// The result of a lookup. An unknown cookie stays unknown: a cookie is set after it
/// was stored, and an ended session does not come back.
type Lookup = Option<Arc<CachedSession>>;

/// The sessions of this deployment, seen from this node.
pub struct SessionAuthenticator {
    store: Store,
    ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    catalogue: Arc<CatalogueCell>,
    /// By the cookie's token, which has 256 random bits.
    known: Cache<[u8; 32], Lookup, RandomState>,
    front_cache: FrontCache<CachedSession>,
    /// By the words in which the store's changes speak of a session and of its user.
    index: Index<CachedSession>,
    changes: AtomicU64,
    /// A reading of the monotonic clock.
    synced_at: AtomicI64,
    /// Sessions whose last use is to be written down: one entry each, however long the store is
    /// away.
    touched: Mutex<HashMap<String, MonotonicTime>>,
    renewals: Renewals,
}

impl SessionAuthenticator {
    /// Sessions kept in `store`, whose providers are asked again by `renewals`.
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

    /// The text of the cookie that holds `token`.
    pub fn cookie(&self, token: &RandomToken, scope: CookieScope<&str>) -> String {
        cookie_text(&self.ring, token, scope)
    }

    /// Returns the principal of a cookie's text at `now`, if any. The call is a use of the session.
    ///
    /// # Errors
    /// Where the store is needed and does not answer, or has been silent too long.
    pub async fn authenticate(
        self: &Arc<Self>,
        text: &str,
        scope: CookieScope<&str>,
        now: Moment,
    ) -> Result<Option<SessionPrincipal>, StoreError> {
        let principal = match self.lookup(text, scope, now).await? {
            Some(principal) if self.renew_if_due(&principal, now).await? => Some(principal),
            // The provider may have taken its time.
            Some(_) => self.lookup(text, scope, self.clock.moment()).await?,
            None => None,
        };
        if let Some(principal) = &principal {
            self.touch(principal, now.monotonic);
        }
        Ok(principal)
    }

    /// The same for a request that goes on for long: it does not count as use, and does not wait
    /// for what the provider says now. A provider that refuses ends the session, and that ends the
    /// request.
    ///
    /// # Errors
    /// As [`SessionAuthenticator::authenticate`] has them.
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

    /// Reads a cached session from the store at intervals, in the background: the change feed has
    /// no entry for rows that another program deletes.
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
                // While the store is unavailable, the change feed limits the age of cached entries.
                if let Ok(None) = sessions.store.session_by_cookie(&hash).await {
                    live.stale.store(true, Ordering::Release);
                }
            });
        }
    }

    /// Returns whether the provider's claims about `principal` are still valid. Where it is about
    /// to end, one request has it renewed and all go on; where it is over, all wait, and the
    /// session must be looked at again.
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
            // It is no longer valid, and the reader checks that.
            Freshness::Lost => Ok(false),
        }
    }

    /// Has it renewed while requests go on; one of them asks.
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

    /// Waits until no renewal is under way, and lets none begin.
    pub async fn drain_renewals(&self) {
        self.renewals.drain().await;
    }

    async fn renew(&self, principal: &SessionPrincipal) -> Result<(), StoreError> {
        let Some((times, _)) = principal.tokens() else { return Ok(()) };
        let changes = self.renewals.run(&principal.session().id, times.due_at).await?;
        self.apply_changes(&changes);
        Ok(())
    }

    /// The principal as memory or the store knows it.
    async fn lookup(
        self: &Arc<Self>,
        text: &str,
        scope: CookieScope<&str>,
        now: Moment,
    ) -> Result<Option<SessionPrincipal>, StoreError> {
        let Some((token, mac)) = text.split_once('.') else { return Ok(None) };
        let Some(token) = RandomToken::parse(token) else { return Ok(None) };
        let changes = self.changes.load(Ordering::Acquire);
        // A stream may keep an expired entry alive; the cache has the one that was read since.
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
        // Boxed, as all that is seldom needed: each request carries room for whatever it may have
        // to wait for.
        match Box::pin(self.load_fresh(&token)).await? {
            Some(live) if self.is_active(&live, now) => self.to_principal(live, scope, now),
            Some(live) => {
                // After a jump of the wall clock `now` is not to be relied on, and this would stay.
                if self.is_expired(&live, now.wall) && self.changes.load(Ordering::Acquire) == changes {
                    // The store keeps the row for a while: its cookie must not cause a read each
                    // time.
                    self.known.insert(*token.bytes(), None).await;
                }
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Whether no node can know of a use that would let the session stand still.
    fn is_expired(&self, live: &CachedSession, now: Timestamp) -> bool {
        let idle = self.catalogue.load().config.session.idle + 2 * LAST_SEEN_PRECISION;
        !live.session.is_active(live.session.last_seen_at, idle, now)
    }

    /// Notes that the session is used `now`.
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

    /// What the store knows of a cookie, read after this was called: a read that was under way
    /// already may have missed a change that this request must see.
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

    /// Returns the principal of a valid session, unless the store was silent too long to know.
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
        let Some(SessionRecord { session, user, scope, tokens }) =
            self.store.session_by_cookie(&token.hash()).await?
        else {
            return Ok(None);
        };
        // A session ends with its provider, and with the user's place in `allow`.
        if !user.enabled
            || !user.has_unambiguous_account(&session.provider)
            || !self.is_still_allowed(&session, &user)
        {
            return Ok(None);
        }
        let now = self.clock.moment();
        let longest =
            provider_of(&self.catalogue.load(), &session).map_or(Duration::MAX, Provider::renewal_interval);
        // Its age by the wall clock of the node that wrote it: one that lies in the future is a use
        // just now.
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
        // A change that arrives during the read may concern the row read. Its receiver counts it
        // first and looks into the index then: one of the two is seen.
        if self.changes.load(Ordering::Acquire) != changes {
            live.stale.store(true, Ordering::Release);
        }
        Ok(Some(live))
    }

    fn is_still_allowed(&self, session: &Session, user: &User) -> bool {
        let catalogue = self.catalogue.load();
        provider_of(&catalogue, session).is_some_and(|provider| {
            // A provider that was pointed elsewhere since then speaks for other people; by SAML,
            // only its metadata identifies the user.
            let own = |identity: &Identity| {
                identity.provider == provider.name && (identity.saml || provider.issues(&identity.issuer))
            };
            // Two entries of the file may be one identity provider: the account has the name of the
            // last that was used.
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

    /// Forgets what `changes` speak of: the next request reads it anew.
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

    /// Has every session read again, and every cookie that stood for none looked up again: the wall
    /// clock by which both were judged has jumped.
    pub fn distrust_cache(&self) {
        self.apply_changes(&[Change::Everything]);
        self.known.invalidate_all();
    }

    /// Notes that everything committed before `at` has been heard of.
    pub fn mark_synced_at(&self, at: MonotonicTime) {
        self.synced_at.fetch_max(at.millis(), Ordering::AcqRel);
    }

    /// Gives free what memory has forgotten.
    pub fn evict_dropped(&self) {
        self.front_cache.evict_dropped();
        self.index.evict_dropped();
    }

    /// Writes down when sessions were last used.
    ///
    /// # Errors
    /// Where the store does not answer; what was to be written is kept for the next time.
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

/// The text of the cookie that holds `token`: the token and a MAC over it and its scope, so that
/// garbage and cookies of another host never reach the store.
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
    // What these locks guard is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
