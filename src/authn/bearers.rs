//! Bearer tokens (RFC 6750): from the text to the principal. A token seen before is authenticated
//! from memory.

use super::claims::{methods, user_from_claims};
use super::doorkeeper::Doorkeeper;
use super::front_cache::{FrontCache, Keyed, LastTouch};
use super::metrics;
use super::opaque::may_be_introspected;
use super::principal_cache::PrincipalCache;
use super::rate_limit::rate_limit_key;
use crate::base::{
    Clock, Duration, Entropy, Fingerprint, Fingerprints, KeyRing, Moment, MonotonicTime, Timestamp,
    uuid_from_bytes,
};
use crate::catalogue::CatalogueCell;
use crate::config::{KeySource, TrustedIssuer};
use crate::jose::{NumericDate, Unverified, authenticated_at};
use crate::model::{TokenClaims, User};
use crate::provider::{IntrospectionError, IssuerKeys, ProviderHttpClient};
use crate::token::{
    AccessToken, AccessTokens, RevocationError, SKEW, TokenError, is_user_token, names, verify,
    verify_introspected,
};
use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use moka::sync::Cache;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many bytes are remembered of what tokens say: more than a hundred thousand tokens.
const CACHE_CAPACITY_BYTES: u64 = 512 << 20;
/// What is remembered of a token whatever it says: its claims come to it twice, here and in the
/// assertion.
const FIXED_OVERHEAD: usize = 2048;
/// The same of each scope, attribute and group, however short it is.
const PER_STRING_OVERHEAD: usize = 64;
/// How long one is remembered that nobody brings.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// The principal of a bearer token.
#[derive(Clone)]
pub struct BearerPrincipal(Arc<CachedToken>);

/// What each request asks for stands together, and first.
#[repr(C)]
struct CachedToken {
    /// All of the token.
    fingerprint: Option<Fingerprint>,
    last_touch: LastTouch,
    issuer_keys: Arc<IssuerKeys>,
    /// The digest of the keys that verified it.
    keys: [u8; 32],
    expires_at: Timestamp,
    /// The value of [`BearerAuthenticator::generation`] at which it was verified.
    generation: u32,
    principal_cache: PrincipalCache,
    /// The names by which a token of the user pool is revoked: its own, and that of the sign-in
    /// that it is from. Tokens of other issuers have none.
    revoked_by: Box<[String]>,
    /// Whether the subject is a user of a pool of this deployment.
    is_pool_user: bool,
    scopes: Box<[String]>,
    /// What it takes of the memory, about, in bytes.
    weight: u32,
    user: User,
    methods: Vec<String>,
    claims: TokenClaims,
    auth_time: Option<Timestamp>,
    issued_at: Option<Timestamp>,
}

impl Keyed for CachedToken {
    type Key = Fingerprint;

    fn has_key(&self, key: &Fingerprint) -> bool {
        self.fingerprint == Some(*key)
    }

    fn last_touch(&self) -> &LastTouch {
        &self.last_touch
    }
}

impl BearerPrincipal {
    /// What the token may be used for.
    pub fn scopes(&self) -> &[String] {
        &self.0.scopes
    }

    /// Who has issued it.
    pub fn issuer(&self) -> &TrustedIssuer {
        self.0.issuer_keys.issuer()
    }

    /// The subject in the form of a user, who is not in the directory.
    pub fn user(&self) -> &User {
        &self.0.user
    }

    /// The claims that its user has no room for.
    pub fn claims(&self) -> &TokenClaims {
        &self.0.claims
    }

    /// Returns whether the subject is a user of a pool of this deployment.
    pub fn is_pool_user(&self) -> bool {
        self.0.is_pool_user
    }

    /// How its person was authenticated (RFC 8176), as far as it says.
    pub fn methods(&self) -> &[String] {
        &self.0.methods
    }

    /// When its person was authenticated, as far as it says.
    pub fn auth_time(&self) -> Option<Timestamp> {
        self.0.auth_time
    }

    /// When it was issued, as far as it says.
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.0.issued_at
    }

    pub(super) fn principal_cache(&self) -> &PrincipalCache {
        &self.0.principal_cache
    }
}

/// The form of a token, and who could have issued it.
enum Form<'t> {
    /// A JWT that its issuer's keys verify.
    Signed(Box<Unverified<'t>>, Arc<IssuerKeys>),
    /// A token that its issuer is asked about.
    Opaque(Arc<IssuerKeys>),
}

/// The bearer tokens of this deployment, seen from this node.
pub struct BearerAuthenticator {
    ring: Arc<KeyRing>,
    outbound: ProviderHttpClient,
    clock: Arc<dyn Clock>,
    access_tokens: Arc<AccessTokens>,
    issuers: ArcSwap<Vec<Arc<IssuerKeys>>>,
    /// Held while they are exchanged, so that an older catalogue never comes after a newer one.
    applying: Mutex<()>,
    /// By all of the token: what an app is handed with a request is what was verified, to the
    /// letter.
    cache: Cache<Fingerprint, BearerPrincipal, RandomState>,
    recent: FrontCache<CachedToken>,
    /// Programs there are that have a token of its own for each request: those are not remembered.
    doorkeeper: Doorkeeper,
    fingerprints: Fingerprints,
    /// Counts how often all verified tokens had to be verified again.
    generation: AtomicU32,
}

impl BearerAuthenticator {
    /// Returns an authenticator for the user pool's tokens, which `own` issues; [`Self::apply`]
    /// adds the issuers.
    pub fn new(
        ring: Arc<KeyRing>,
        outbound: ProviderHttpClient,
        clock: Arc<dyn Clock>,
        access_tokens: Arc<AccessTokens>,
        entropy: &dyn Entropy,
    ) -> Self {
        let weigh = |_: &Fingerprint, bearer: &BearerPrincipal| bearer.0.weight;
        let known =
            Cache::builder().max_capacity(CACHE_CAPACITY_BYTES).weigher(weigh).time_to_idle(IDLE_TIMEOUT);
        let cache = known.build_with_hasher(RandomState::default());
        let fingerprints = Fingerprints::new(entropy);
        Self {
            ring,
            outbound,
            clock,
            access_tokens,
            issuers: ArcSwap::default(),
            applying: Mutex::default(),
            cache,
            recent: FrontCache::new(),
            doorkeeper: Doorkeeper::new(),
            fingerprints,
            generation: AtomicU32::new(0),
        }
    }

    /// Applies the issuers of the current catalogue, the user pool of the file and `pools` among
    /// them; one that did not change keeps its keys, and its tokens stay valid.
    pub fn apply(&self, current: &CatalogueCell, pools: &[TrustedIssuer]) {
        let _applying = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let (catalogue, old) = (current.load(), self.issuers.load());
        let own = self.access_tokens.as_issuer(&catalogue);
        let issuer = |issuer: &TrustedIssuer| {
            if let Some(same) = old.iter().find(|known| known.issuer() == issuer) {
                return same.clone();
            }
            let keys = old.iter().find_map(|known| known.of(issuer));
            let new = || IssuerKeys::new(issuer.clone(), self.outbound.clone(), self.clock.clone());
            Arc::new(keys.unwrap_or_else(new))
        };
        let issuers = own.iter().chain(pools).chain(&catalogue.config.issuers).map(issuer).collect();
        self.issuers.store(Arc::new(issuers));
    }

    /// Fetches keys that are old, each beside the others.
    pub async fn refresh(&self) {
        let issuers = self.issuers.load_full();
        // The failure was logged where it occurred.
        futures_util::future::join_all(issuers.iter().map(|issuer| issuer.refresh())).await;
    }

    /// Has every token verified again, and every key set fetched again before the next use that may
    /// wait for it: `nbf` and `iat` were compared with a wall clock that has jumped since.
    pub fn distrust_cache(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.issuers.load().iter().for_each(|issuer| issuer.expire());
    }

    /// Forgets tokens that nobody brought for long. A request that came after a quiet hour would
    /// have to otherwise.
    pub fn evict_idle(&self) {
        self.cache.run_pending_tasks();
        self.recent.evict_dropped();
    }

    /// The subject of `token`, where it is still valid by what is known now. Nothing is fetched for
    /// it, but the issuer of an opaque token is asked again where its last answer is too old.
    pub async fn revalidate(&self, token: &str) -> Option<BearerPrincipal> {
        let now = self.clock.moment();
        let seen = self.fingerprints.of(token);
        let bearer = match self.cached(seen, now) {
            Some(bearer) => bearer,
            None => {
                let generation = self.generation.load(Ordering::Acquire);
                match self.form_of(token).ok()? {
                    Form::Signed(unverified, of) => {
                        let keys = of.cached_keys()?;
                        let verified = verify(*unverified, of.issuer(), &keys, now.wall).ok()?;
                        let size = (seen, token.len());
                        let bearer = self.principal_for(&of, verified, keys.digest, generation, size).ok()?;
                        // The caller revalidates it again later.
                        self.insert(seen, &bearer, now.monotonic);
                        bearer
                    }
                    Form::Opaque(of) => self.introspected(&of, token, None, seen).await.ok()?,
                }
            }
        };
        self.not_revoked(bearer, now.monotonic).ok()
    }

    /// A token of the user pool is valid unless it was revoked.
    fn not_revoked(
        &self,
        bearer: BearerPrincipal,
        now: MonotonicTime,
    ) -> Result<BearerPrincipal, TokenError> {
        for name in &bearer.0.revoked_by {
            match self.access_tokens.revocations.check(name, now) {
                Ok(()) => {}
                Err(RevocationError::Revoked) => return Err(TokenError::Revoked),
                Err(RevocationError::Unknown) => return Err(TokenError::RevocationUnknown),
            }
        }
        Ok(bearer)
    }

    /// The principal of a token that was seen before, if it is still valid.
    fn cached(&self, seen: Option<Fingerprint>, now: Moment) -> Option<BearerPrincipal> {
        let seen = seen?;
        // A stream may keep an expired entry alive; the cache has the one that was verified
        // since.
        if let Some(live) = self.recent.get(&seen, now.monotonic).filter(|live| self.is_current(live, now)) {
            return Some(BearerPrincipal(live));
        }
        let bearer = self.cache.get(&seen)?;
        if self.is_current(&bearer.0, now) {
            self.recent.insert(&seen, &bearer.0, now.monotonic);
            return Some(bearer);
        }
        self.cache.invalidate(&seen);
        None
    }

    /// Whether what was verified once still is what it was.
    fn is_current(&self, live: &CachedToken, now: Moment) -> bool {
        let trusted = self.issuers.load().iter().any(|issuer| Arc::ptr_eq(issuer, &live.issuer_keys));
        // A key that is gone from its issuer's set has signed for nobody.
        trusted
            && live.generation == self.generation.load(Ordering::Acquire)
            && live.issuer_keys.match_digest(&live.keys, now.monotonic)
            && now.wall < live.expires_at
    }

    /// The issuer that a token names.
    fn issuer_of(&self, token: &Unverified<'_>) -> Option<Arc<IssuerKeys>> {
        self.issuers.load().iter().find(|known| names(&token.claims, known.issuer())).cloned()
    }

    /// Returns the principal of `token` at `now`.
    ///
    /// # Errors
    /// Why it is not believed.
    pub async fn authenticate(
        &self,
        token: &str,
        client: Option<IpAddr>,
        now: Moment,
    ) -> Result<BearerPrincipal, TokenError> {
        let seen = self.fingerprints.of(token);
        let bearer = match self.cached(seen, now) {
            Some(bearer) => bearer,
            None => Box::pin(self.verify_new(token, client, seen, now)).await?,
        };
        self.not_revoked(bearer, now.monotonic)
    }

    /// The same for a token that was not seen before.
    async fn verify_new(
        &self,
        token: &str,
        client: Option<IpAddr>,
        seen: Option<Fingerprint>,
        now: Moment,
    ) -> Result<BearerPrincipal, TokenError> {
        let generation = self.generation.load(Ordering::Acquire);
        let (unverified, of) = match self.form_of(token)? {
            Form::Signed(unverified, of) => (*unverified, of),
            Form::Opaque(of) => return self.introspected(&of, token, client, seen).await,
        };
        let (of, read) = (&of, || Unverified::read(token).map_err(TokenError::Malformed));
        let keys = of.get_or_fetch().await.map_err(|_| TokenError::NoKeys)?;
        let (verified, keys) = match verify(unverified, of.issuer(), &keys, now.wall) {
            Err(TokenError::UnknownKey) => {
                let keys = of.after_unknown_key().await.map_err(|_| TokenError::NoKeys)?;
                (verify(read()?, of.issuer(), &keys, now.wall), keys)
            }
            verified => (verified, keys),
        };
        let bearer = self.principal_for(of, verified?, keys.digest, generation, (seen, token.len()))?;
        let again = seen.filter(|seen| self.doorkeeper.check_and_insert(seen));
        self.insert(again, &bearer, now.monotonic);
        Ok(bearer)
    }

    /// The form of a token that was not seen before, and who could have issued it. One that is no
    /// JWT is sent to the one issuer that is asked about opaque tokens, but a JWT of another issuer
    /// never is.
    fn form_of<'t>(&self, token: &'t str) -> Result<Form<'t>, TokenError> {
        match Unverified::read(token) {
            Ok(unverified) => {
                let of = self.issuer_of(&unverified).ok_or(TokenError::Issuer)?;
                Ok(match of.issuer().keys {
                    KeySource::None => Form::Opaque(of),
                    _ => Form::Signed(Box::new(unverified), of),
                })
            }
            Err(why) => {
                let issuers = self.issuers.load();
                let asked = issuers.iter().find(|issuer| issuer.introspector().is_some());
                let asked = asked.filter(|of| may_be_introspected(token, &of.issuer().url));
                asked.cloned().map(Form::Opaque).ok_or(TokenError::Malformed(why))
            }
        }
    }

    /// The subject of an opaque token, by its introspection response.
    async fn introspected(
        &self,
        of: &Arc<IssuerKeys>,
        token: &str,
        client: Option<IpAddr>,
        seen: Option<Fingerprint>,
    ) -> Result<BearerPrincipal, TokenError> {
        let generation = self.generation.load(Ordering::Acquire);
        let introspector = of.introspector().ok_or(TokenError::NoKeys)?;
        let network = client.map(rate_limit_key);
        let (claims, lifetime) = introspector.claims(token, network).await.map_err(|error| match error {
            IntrospectionError::Inactive => TokenError::Inactive,
            IntrospectionError::Overloaded => {
                TokenError::IntrospectionUnavailable("too many tokens wait for an answer".to_owned())
            }
            IntrospectionError::Unavailable(why) => TokenError::IntrospectionUnavailable(why),
        })?;
        let keys = of.get_or_fetch().await.map_err(|_| TokenError::NoKeys)?;
        let now = self.clock.moment();
        let verified =
            verify_introspected((*claims).clone(), of.issuer(), now.wall.plus(lifetime), now.wall)?;
        let bearer = self.principal_for(of, verified, keys.digest, generation, (seen, token.len()))?;
        self.insert(seen, &bearer, now.monotonic);
        Ok(bearer)
    }

    /// Remembers what was verified `now`, where it is to be found again.
    fn insert(&self, seen: Option<Fingerprint>, bearer: &BearerPrincipal, now: MonotonicTime) {
        if let Some(seen) = &seen {
            self.cache.insert(*seen, bearer.clone());
            self.recent.insert(seen, &bearer.0, now);
        }
        metrics::verified(seen.is_some());
    }

    /// The subject is made of issuer and subject: another issuer's people must not be taken for
    /// these, nor for our own. A program of the user pool is its own subject.
    fn principal_for(
        &self,
        of: &Arc<IssuerKeys>,
        token: AccessToken,
        keys: [u8; 32],
        generation: u32,
        (seen, length): (Option<Fingerprint>, usize),
    ) -> Result<BearerPrincipal, TokenError> {
        let issuer = of.issuer();
        let is_own = matches!(issuer.keys, KeySource::Own(_));
        let is_pool_user = is_user_token(issuer, &token.claims);
        let revoked_by = match is_own {
            // One that cannot be named cannot be revoked, and none of ours is such.
            true => {
                let own = token.text("jti").unwrap_or_default().to_owned();
                std::iter::once(own).chain(token.text("origin_jti").map(str::to_owned)).collect()
            }
            false => Box::default(),
        };
        let id = match is_own {
            true => token.subject.clone(),
            false => {
                let parts: [&[u8]; 4] =
                    [b"subject of an issuer", issuer.url.as_bytes(), b"\0", token.subject.as_bytes()];
                uuid_from_bytes(self.ring.mac(&parts.concat()), 8)
            }
        };
        let AccessToken { subject, expires_at, scopes, claims } = token;
        let now = self.clock.now();
        let (mut user, others) =
            user_from_claims(issuer, &subject, &claims, id, now).map_err(TokenError::Unreadable)?;
        if is_pool_user {
            let username = claims.get("username").and_then(Value::as_str).ok_or(TokenError::Subject)?;
            (user.username, user.identities) = (username.to_owned(), Vec::new());
        }
        let listed: usize = others.lists.iter().map(|(_, values)| 1 + values.len()).sum();
        let texts = scopes.len()
            + user.attributes.iter().count()
            + user.groups.len()
            + listed
            + others.unreadable.len();
        let auth_time = authenticated_at(&claims, now, SKEW);
        let live = CachedToken {
            fingerprint: seen,
            last_touch: LastTouch::default(),
            user,
            methods: methods(&claims, auth_time),
            claims: others,
            auth_time,
            issued_at: NumericDate::of(&claims, "iat").map(|at| at.min(now)),
            scopes: scopes.into(),
            issuer_keys: of.clone(),
            keys,
            expires_at,
            generation,
            revoked_by,
            is_pool_user,
            weight: u32::try_from(2 * length + FIXED_OVERHEAD + PER_STRING_OVERHEAD * texts)
                .unwrap_or(u32::MAX),
            principal_cache: PrincipalCache::default(),
        };
        Ok(BearerPrincipal(Arc::new(live)))
    }
}
