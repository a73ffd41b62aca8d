//! Authentication of bearer tokens (RFC 6750). A token seen before is authenticated from a cache.

use super::claims::{methods, user_from_claims};
use super::doorkeeper::Doorkeeper;
use super::front_cache::{FrontCache, Keyed, LastTouch};
use super::metrics;
use super::opaque::may_be_introspected;
use super::principal_cache::PrincipalCache;
use super::proof_replays::ProofReplays;
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
    AccessToken, AccessTokens, ProofError, ProofRequest, RevocationError, SKEW, TokenError, is_user_token,
    names, verify, verify_introspected, verify_proof,
};
use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use moka::sync::Cache;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum estimated memory of cached tokens, in bytes: more than a hundred thousand tokens.
const CACHE_CAPACITY_BYTES: u64 = 512 << 20;
/// Estimated memory of a cached token without its claims, in bytes. The claims add twice the
/// token's length, because the cached assertion repeats them.
const FIXED_OVERHEAD: usize = 2048;
/// Estimated overhead of each scope, attribute and group of a cached token, in bytes.
const PER_STRING_OVERHEAD: usize = 64;
/// Time without use after which a token is evicted.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// The principal of a bearer token.
#[derive(Clone)]
pub struct BearerPrincipal(Arc<CachedToken>);

/// An authenticated token. The fields that each request reads come first, next to each other.
#[repr(C)]
struct CachedToken {
    /// The fingerprint of the entire token.
    fingerprint: Option<Fingerprint>,
    last_touch: LastTouch,
    issuer_keys: Arc<IssuerKeys>,
    /// The digest of the key set that verified the token.
    keys: [u8; 32],
    expires_at: Timestamp,
    /// The value of [`BearerAuthenticator::generation`] when the verification began.
    generation: u32,
    principal_cache: PrincipalCache,
    /// The ids by which a token of the user pool can be revoked: its `jti`, and the `origin_jti` of
    /// its sign-in. Empty for tokens of other issuers.
    revoked_by: Box<[String]>,
    /// The thumbprint of the key to which the token is bound.
    bound_key: Option<Box<str>>,
    /// Whether the subject is a user of a pool of this deployment.
    is_pool_user: bool,
    scopes: Box<[String]>,
    /// The estimated memory of the entry, in bytes.
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
    /// Returns the token's scopes.
    pub fn scopes(&self) -> &[String] {
        &self.0.scopes
    }

    /// Returns the token's issuer.
    pub fn issuer(&self) -> &TrustedIssuer {
        self.0.issuer_keys.issuer()
    }

    /// Returns the subject in the form of a user, which is not in the directory.
    pub fn user(&self) -> &User {
        &self.0.user
    }

    /// Returns the claims that are not attributes of the user: lists and incomparable values.
    pub fn claims(&self) -> &TokenClaims {
        &self.0.claims
    }

    /// Returns whether the subject is a user of a pool of this deployment.
    pub fn is_pool_user(&self) -> bool {
        self.0.is_pool_user
    }

    /// Returns the authentication methods (RFC 8176); empty if the token does not state them.
    pub fn methods(&self) -> &[String] {
        &self.0.methods
    }

    /// Returns the time of authentication, if the token states it.
    pub fn auth_time(&self) -> Option<Timestamp> {
        self.0.auth_time
    }

    /// Returns the time of issue, if the token states it.
    pub fn issued_at(&self) -> Option<Timestamp> {
        self.0.issued_at
    }

    pub(super) fn principal_cache(&self) -> &PrincipalCache {
        &self.0.principal_cache
    }
}

/// The form of a token, with its presumed issuer.
enum Form<'t> {
    /// A JWT, to be verified with the issuer's keys.
    Signed(Box<Unverified<'t>>, Arc<IssuerKeys>),
    /// A token that requires introspection by the issuer.
    Opaque(Arc<IssuerKeys>),
}

/// The authenticator of bearer tokens, with this node's cache.
pub struct BearerAuthenticator {
    ring: Arc<KeyRing>,
    outbound: ProviderHttpClient,
    clock: Arc<dyn Clock>,
    access_tokens: Arc<AccessTokens>,
    issuers: ArcSwap<Vec<Arc<IssuerKeys>>>,
    /// Locked while `issuers` is replaced, so that an older catalogue never replaces a newer one.
    applying: Mutex<()>,
    /// Authenticated tokens by the fingerprint of the entire token. The token that an app receives
    /// is thus exactly the one that was verified.
    cache: Cache<Fingerprint, BearerPrincipal, RandomState>,
    recent: FrontCache<CachedToken>,
    /// Keeps single-use tokens out of the cache: some programs send a new token with each request.
    doorkeeper: Doorkeeper,
    fingerprints: Fingerprints,
    /// The used proofs of keys to which tokens are bound.
    proofs: ProofReplays,
    /// The number of calls of [`Self::distrust_cache`].
    generation: AtomicU32,
}

impl BearerAuthenticator {
    /// Creates an authenticator without issuers. [`Self::apply`] sets them, including the user
    /// pool, whose tokens `access_tokens` issues.
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
            proofs: ProofReplays::default(),
            generation: AtomicU32::new(0),
        }
    }

    /// Applies the issuers of the current catalogue, including the user pools of the file, and
    /// `pools`. An unchanged issuer keeps its keys, so its tokens stay valid.
    pub fn apply(&self, current: &CatalogueCell, pools: &[TrustedIssuer]) {
        let _applying = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let (catalogue, old) = (current.load(), self.issuers.load());
        let own: Vec<_> = catalogue.pools().filter_map(|pool| self.access_tokens.as_issuer(pool)).collect();
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

    /// Fetches the key sets that are old, concurrently.
    pub async fn refresh(&self) {
        let issuers = self.issuers.load_full();
        // The document cache has logged the failure.
        futures_util::future::join_all(issuers.iter().map(|issuer| issuer.refresh())).await;
    }

    /// Invalidates every cached token and expires every key set. For use after a jump of the wall
    /// clock, with which `nbf` and `iat` were compared.
    pub fn distrust_cache(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.issuers.load().iter().for_each(|issuer| issuer.expire());
    }

    /// Evicts unused tokens. Moka evicts lazily, so a request after a quiet hour would otherwise
    /// have to evict them.
    pub fn evict_idle(&self) {
        self.cache.run_pending_tasks();
        self.recent.evict_dropped();
    }

    /// Returns the principal of `token` if the token is still valid. A JWT is verified with cached
    /// keys only. An opaque token is introspected again if the last response is too old.
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

    /// Rejects a token of the user pool that was revoked, or whose revocation state is unknown.
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

    /// Returns the cached principal of a token if it is still valid.
    fn cached(&self, seen: Option<Fingerprint>, now: Moment) -> Option<BearerPrincipal> {
        let seen = seen?;
        // A stream may keep an expired entry alive. The main cache contains the entry that was
        // verified since.
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

    /// Returns whether the result of the verification is still valid.
    fn is_current(&self, live: &CachedToken, now: Moment) -> bool {
        let trusted = self.issuers.load().iter().any(|issuer| Arc::ptr_eq(issuer, &live.issuer_keys));
        // If the issuer's key set has changed, the token's key may have been removed.
        trusted
            && live.generation == self.generation.load(Ordering::Acquire)
            && live.issuer_keys.match_digest(&live.keys, now.monotonic)
            && now.wall < live.expires_at
    }

    /// Returns the trusted issuer that `token` names.
    fn issuer_of(&self, token: &Unverified<'_>) -> Option<Arc<IssuerKeys>> {
        self.issuers.load().iter().find(|known| names(&token.claims, known.issuer())).cloned()
    }

    /// Returns the principal of `token` at `now`. `proof` is the proof of a key that came with it,
    /// and the request for which it must be. The address of `client` limits introspection calls.
    ///
    /// # Errors
    /// Returns the reason that the token is rejected, or that it could not be checked.
    pub async fn authenticate(
        &self,
        token: &str,
        proof: Option<(&str, ProofRequest<'_>)>,
        client: Option<IpAddr>,
        now: Moment,
    ) -> Result<BearerPrincipal, TokenError> {
        let seen = self.fingerprints.of(token);
        let bearer = match self.cached(seen, now) {
            Some(bearer) => bearer,
            None => Box::pin(self.verify_new(token, client, seen, now)).await?,
        };
        let bearer = self.not_revoked(bearer, now.monotonic)?;
        match (bearer.0.bound_key.as_deref(), proof) {
            (None, None) => Ok(bearer),
            // RFC 9449, section 7.2: a protected resource must not accept a bound token as a bearer
            // token.
            (Some(_), None) => Err(TokenError::Bound),
            (key, Some((proof, request))) => self.check_proof(key, proof, request, now).map(|()| bearer),
        }
    }

    /// Checks the proof of the key to which a valid token is bound. A signature is verified only
    /// for such a token.
    fn check_proof(
        &self,
        key: Option<&str>,
        proof: &str,
        request: ProofRequest<'_>,
        now: Moment,
    ) -> Result<(), TokenError> {
        let Some(key) = key else {
            return Err(TokenError::Proof(ProofError("the token is not bound to a key")));
        };
        let proof = verify_proof(proof, request, now.wall).map_err(TokenError::Proof)?;
        if proof.thumbprint != key {
            return Err(TokenError::Proof(ProofError("the token is bound to another key")));
        }
        self.proofs.use_once(&proof.id, now.monotonic).map_err(TokenError::Proof)
    }

    /// Authenticates a token that is not in the cache.
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

    /// Determines the form of a token, and the issuer that can verify it. A token that is not a JWT
    /// goes to the issuer with an introspection endpoint. A JWT of another issuer is never sent
    /// there.
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

    /// Authenticates a token by its introspection response.
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

    /// Caches a principal that was authenticated at `now`, if it has a fingerprint.
    fn insert(&self, seen: Option<Fingerprint>, bearer: &BearerPrincipal, now: MonotonicTime) {
        if let Some(seen) = &seen {
            self.cache.insert(*seen, bearer.clone());
            self.recent.insert(seen, &bearer.0, now);
        }
        metrics::verified(seen.is_some());
    }

    /// Creates the principal of a verified token. Its id is derived from issuer and subject,
    /// because subjects of different issuers must not be confused. Tokens of the user pool keep
    /// their subject.
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
            // A token without a `jti` could not be revoked; the user pool issues none.
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
        let AccessToken { subject, expires_at, scopes, key, claims } = token;
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
            bound_key: key.map(Into::into),
            is_pool_user,
            weight: u32::try_from(2 * length + FIXED_OVERHEAD + PER_STRING_OVERHEAD * texts)
                .unwrap_or(u32::MAX),
            principal_cache: PrincipalCache::default(),
        };
        Ok(BearerPrincipal(Arc::new(live)))
    }
}
