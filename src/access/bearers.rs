//! Bearer tokens (RFC 6750): from the text of one to whom it speaks for. One that came twice is judged from memory.

use super::claims::{methods, user_of};
use super::doorkeeper::Doorkeeper;
use super::kept::Kept;
use super::metrics;
use super::recent::{Booked, Keyed, Recent};
use crate::base::{
    Clock, Duration, Entropy, Fingerprint, Fingerprints, KeyRing, Moment, MonotonicTime, Timestamp, uuid_of,
};
use crate::catalogue::Current;
use crate::config::{KeySource, TrustedIssuer};
use crate::jose::{LONGEST, NumericDate, Unverified, authenticated_at};
use crate::model::{TokenClaims, User};
use crate::provider::{IntrospectionError, IssuerKeys, Outbound};
use crate::token::{
    AccessToken, AccessTokens, NotCounted, Refused, SKEW, names, verify, verify_introspected,
};
use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use moka::sync::Cache;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many bytes are remembered of what tokens say: more than a hundred thousand tokens.
const CAPACITY: u64 = 512 << 20;
/// What is remembered of a token whatever it says: its claims come to it twice, here and in the assertion.
const BESIDE: usize = 2048;
/// The same of each scope, attribute and group, however short it is.
const A_TEXT: usize = 64;
/// How long one is remembered that nobody brings.
const IDLE: Duration = Duration::from_secs(3600);

/// Whom a bearer token speaks for.
#[derive(Clone)]
pub struct Bearer(Arc<Live>);

/// What each request asks for stands together, and first.
#[repr(C)]
struct Live {
    /// All of the token.
    seen: Option<Fingerprint>,
    booked: Booked,
    of: Arc<IssuerKeys>,
    /// The digest of the keys that verified it.
    keys: [u8; 32],
    expires_at: Timestamp,
    /// The value of [`Bearers::generation`] at which it was verified.
    generation: u32,
    kept: Kept,
    /// The `jti`, where the token is the user pool's own: by it one is revoked.
    own: Option<String>,
    scopes: Box<[String]>,
    /// What it takes of the memory, about, in bytes.
    weight: u32,
    user: User,
    methods: Vec<String>,
    claims: TokenClaims,
    auth_time: Option<Timestamp>,
    issued_at: Option<Timestamp>,
}

impl Keyed for Live {
    type Key = Fingerprint;

    fn is(&self, key: &Fingerprint) -> bool {
        self.seen == Some(*key)
    }

    fn booked(&self) -> &Booked {
        &self.booked
    }
}

impl Bearer {
    /// What the token may be used for.
    pub fn scopes(&self) -> &[String] {
        &self.0.scopes
    }

    /// Who has issued it.
    pub fn issuer(&self) -> &TrustedIssuer {
        self.0.of.issuer()
    }

    /// Whom it speaks for, in the form of a user: nobody in the directory.
    pub fn user(&self) -> &User {
        &self.0.user
    }

    /// The claims that its user has no room for.
    pub fn claims(&self) -> &TokenClaims {
        &self.0.claims
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

    pub(super) fn kept(&self) -> &Kept {
        &self.0.kept
    }
}

/// The form of a token, and who could have issued it.
enum Form<'t> {
    /// A JWT that its issuer's keys verify.
    Signed(Box<Unverified<'t>>, Arc<IssuerKeys>),
    /// A token that its issuer is asked about.
    Opaque(Arc<IssuerKeys>),
}

/// RFC 6750, section 2.1: letters, digits and `-._~+/`, and `=` at the end.
fn is_bearer_token(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
    let text = text.trim_end_matches('=');
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_plain)
}

/// The bearer tokens of this deployment, seen from this node.
pub struct Bearers {
    ring: Arc<KeyRing>,
    outbound: Outbound,
    clock: Arc<dyn Clock>,
    own: Arc<AccessTokens>,
    issuers: ArcSwap<Vec<Arc<IssuerKeys>>>,
    /// Held while they are exchanged, so that an older catalogue never comes after a newer one.
    applying: Mutex<()>,
    /// By all of the token: what an app is handed with a request is what was verified, to the letter.
    known: Cache<Fingerprint, Bearer, RandomState>,
    recent: Recent<Live>,
    /// Programs there are that have a token of its own for each request: those are not remembered.
    doorkeeper: Doorkeeper,
    fingerprints: Fingerprints,
    /// Counts how often all verified tokens had to be verified again.
    generation: AtomicU32,
}

impl Bearers {
    /// Tokens of the issuers that [`Bearers::apply`] will tell, and of the user pool, which issues `own`.
    pub fn new(
        ring: Arc<KeyRing>,
        outbound: Outbound,
        clock: Arc<dyn Clock>,
        own: Arc<AccessTokens>,
        entropy: &dyn Entropy,
    ) -> Self {
        let weigh = |_: &Fingerprint, bearer: &Bearer| bearer.0.weight;
        let known = Cache::builder().max_capacity(CAPACITY).weigher(weigh).time_to_idle(IDLE);
        let known = known.build_with_hasher(RandomState::default());
        let fingerprints = Fingerprints::new(entropy);
        Self {
            ring,
            outbound,
            clock,
            own,
            issuers: ArcSwap::default(),
            applying: Mutex::default(),
            known,
            recent: Recent::new(),
            doorkeeper: Doorkeeper::new(),
            fingerprints,
            generation: AtomicU32::new(0),
        }
    }

    /// Takes over the issuers of the catalogue that counts now, the user pool among them; one that did not change keeps
    /// its keys, and its tokens count on.
    pub fn apply(&self, current: &Current) {
        let _applying = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let (catalogue, old) = (current.load(), self.issuers.load());
        let own = self.own.as_issuer(&catalogue);
        let issuer = |issuer: &TrustedIssuer| {
            if let Some(same) = old.iter().find(|known| known.issuer() == issuer) {
                return same.clone();
            }
            let keys = old.iter().find_map(|known| known.of(issuer));
            let new = || IssuerKeys::new(issuer.clone(), self.outbound.clone(), self.clock.clone());
            Arc::new(keys.unwrap_or_else(new))
        };
        let issuers = own.iter().chain(&catalogue.config.issuers).map(issuer).collect();
        self.issuers.store(Arc::new(issuers));
    }

    /// Fetches keys that are old, each beside the others.
    pub async fn refresh(&self) {
        let issuers = self.issuers.load_full();
        // What failed was told where it failed.
        futures_util::future::join_all(issuers.iter().map(|issuer| issuer.refresh())).await;
    }

    /// Has every token verified again, and every key set fetched again before the next use that may wait for it: `nbf`
    /// and `iat` were compared with a wall clock that has jumped since.
    pub fn distrust_cache(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.issuers.load().iter().for_each(|issuer| issuer.expire());
    }

    /// Forgets tokens that nobody brought for long. A request that came after a quiet hour would have to otherwise.
    pub fn forget(&self) {
        self.known.run_pending_tasks();
        self.recent.forget();
    }

    /// The subject of `token`, where it is still valid by what is known now. Nothing is fetched for it, but the issuer of an opaque token is
    /// asked again where its last answer is too old.
    pub async fn still(&self, token: &str) -> Option<Bearer> {
        let now = self.clock.moment();
        let seen = self.fingerprints.of(token);
        let bearer = match self.remembered(seen, now) {
            Some(bearer) => bearer,
            None => {
                let generation = self.generation.load(Ordering::Acquire);
                match self.form_of(token).ok()? {
                    Form::Signed(unverified, of) => {
                        let keys = of.now()?;
                        let verified = verify(*unverified, of.issuer(), &keys, now.wall).ok()?;
                        let size = (seen, token.len());
                        let bearer = self.speaks(&of, verified, keys.digest, generation, size).ok()?;
                        // Who asks whether one counts still will ask again.
                        self.remember(seen, &bearer, now.monotonic);
                        bearer
                    }
                    Form::Opaque(of) => self.introspected(&of, token, seen).await.ok()?,
                }
            }
        };
        self.not_revoked(bearer, now.monotonic).ok()
    }

    /// A token of the user pool counts unless it was revoked.
    fn not_revoked(&self, bearer: Bearer, now: MonotonicTime) -> Result<Bearer, Refused> {
        let Some(jti) = &bearer.0.own else { return Ok(bearer) };
        match self.own.revocations.judge(jti, now) {
            Ok(()) => Ok(bearer),
            Err(NotCounted::Revoked) => Err(Refused::Revoked),
            Err(NotCounted::Unheard) => Err(Refused::Unheard),
        }
    }

    /// Whom a token speaks for that was seen before, where it counts.
    fn remembered(&self, seen: Option<Fingerprint>, now: Moment) -> Option<Bearer> {
        let seen = seen?;
        // A stream may hold one that counts no more: the cache knows the one that was verified since.
        if let Some(live) = self.recent.find(&seen, now.monotonic).filter(|live| self.counts(live, now)) {
            return Some(Bearer(live));
        }
        let bearer = self.known.get(&seen)?;
        if self.counts(&bearer.0, now) {
            self.recent.was_found(&seen, &bearer.0, now.monotonic);
            return Some(bearer);
        }
        self.known.invalidate(&seen);
        None
    }

    /// Whether what was verified once still is what it was.
    fn counts(&self, live: &Live, now: Moment) -> bool {
        let trusted = self.issuers.load().iter().any(|issuer| Arc::ptr_eq(issuer, &live.of));
        // A key that is gone from its issuer's set has signed for nobody.
        trusted
            && live.generation == self.generation.load(Ordering::Acquire)
            && live.of.are(&live.keys, now.monotonic)
            && now.wall < live.expires_at
    }

    /// The issuer that a token names.
    fn issuer_of(&self, token: &Unverified<'_>) -> Option<Arc<IssuerKeys>> {
        self.issuers.load().iter().find(|known| names(&token.claims, known.issuer())).cloned()
    }

    /// Whom `token` speaks for `now`.
    ///
    /// # Errors
    /// Why it is not believed.
    pub async fn bearer(&self, token: &str, now: Moment) -> Result<Bearer, Refused> {
        let seen = self.fingerprints.of(token);
        let bearer = match self.remembered(seen, now) {
            Some(bearer) => bearer,
            None => Box::pin(self.verified(token, seen, now)).await?,
        };
        self.not_revoked(bearer, now.monotonic)
    }

    /// The same for a token that was not seen before.
    async fn verified(&self, token: &str, seen: Option<Fingerprint>, now: Moment) -> Result<Bearer, Refused> {
        let generation = self.generation.load(Ordering::Acquire);
        let (unverified, of) = match self.form_of(token)? {
            Form::Signed(unverified, of) => (*unverified, of),
            Form::Opaque(of) => return self.introspected(&of, token, seen).await,
        };
        let (of, read) = (&of, || Unverified::read(token).map_err(Refused::Malformed));
        let keys = of.known().await.map_err(|_| Refused::NoKeys)?;
        let (verified, keys) = match verify(unverified, of.issuer(), &keys, now.wall) {
            Err(Refused::UnknownKey) => {
                let keys = of.after_unknown_key().await.map_err(|_| Refused::NoKeys)?;
                (verify(read()?, of.issuer(), &keys, now.wall), keys)
            }
            verified => (verified, keys),
        };
        let bearer = self.speaks(of, verified?, keys.digest, generation, (seen, token.len()))?;
        let again = seen.filter(|seen| self.doorkeeper.has_met(seen));
        self.remember(again, &bearer, now.monotonic);
        Ok(bearer)
    }

    /// The form of a token that was not seen before, and who could have issued it. One that is no JWT is sent to the one
    /// issuer that is asked about opaque tokens, but a JWT of another issuer never is.
    fn form_of<'t>(&self, token: &'t str) -> Result<Form<'t>, Refused> {
        match Unverified::read(token) {
            Ok(unverified) => {
                let of = self.issuer_of(&unverified).ok_or(Refused::Issuer)?;
                Ok(match of.issuer().keys {
                    KeySource::None => Form::Opaque(of),
                    _ => Form::Signed(Box::new(unverified), of),
                })
            }
            Err(why) => {
                let issuers = self.issuers.load();
                let asked = issuers.iter().find(|issuer| issuer.introspector().is_some());
                let asked = asked.filter(|_| is_bearer_token(token)).cloned();
                asked.map(Form::Opaque).ok_or(Refused::Malformed(why))
            }
        }
    }

    /// The subject of an opaque token, by its introspection response.
    async fn introspected(
        &self,
        of: &Arc<IssuerKeys>,
        token: &str,
        seen: Option<Fingerprint>,
    ) -> Result<Bearer, Refused> {
        let generation = self.generation.load(Ordering::Acquire);
        let introspector = of.introspector().ok_or(Refused::NoKeys)?;
        let (claims, lifetime) = introspector.claims(token).await.map_err(|error| match error {
            IntrospectionError::Inactive => Refused::Inactive,
            IntrospectionError::Unavailable(why) => Refused::NoAnswer(why),
        })?;
        let keys = of.known().await.map_err(|_| Refused::NoKeys)?;
        let now = self.clock.moment();
        let verified =
            verify_introspected((*claims).clone(), of.issuer(), now.wall.plus(lifetime), now.wall)?;
        let bearer = self.speaks(of, verified, keys.digest, generation, (seen, token.len()))?;
        self.remember(seen, &bearer, now.monotonic);
        Ok(bearer)
    }

    /// Remembers what was verified `now`, where it is to be found again.
    fn remember(&self, seen: Option<Fingerprint>, bearer: &Bearer, now: MonotonicTime) {
        if let Some(seen) = &seen {
            self.known.insert(*seen, bearer.clone());
            self.recent.was_found(seen, &bearer.0, now);
        }
        metrics::verified(seen.is_some());
    }

    /// The subject is made of issuer and subject: another issuer's people must not be taken for these, nor for our own.
    /// A program of the user pool is its own subject.
    fn speaks(
        &self,
        of: &Arc<IssuerKeys>,
        token: AccessToken,
        keys: [u8; 32],
        generation: u32,
        (seen, length): (Option<Fingerprint>, usize),
    ) -> Result<Bearer, Refused> {
        let issuer = of.issuer();
        let own = match issuer.keys {
            // One that cannot be named cannot be revoked, and none of ours is such.
            KeySource::Own(_) => Some(token.text("jti").unwrap_or_default().to_owned()),
            _ => None,
        };
        let id = match own {
            Some(_) => token.subject.clone(),
            None => {
                let parts: [&[u8]; 4] =
                    [b"subject of an issuer", issuer.url.as_bytes(), b"\0", token.subject.as_bytes()];
                uuid_of(self.ring.mac(&parts.concat()), 8)
            }
        };
        let AccessToken { subject, expires_at, scopes, claims } = token;
        let now = self.clock.now();
        let (user, others) = user_of(issuer, &subject, &claims, id, now).map_err(Refused::Unreadable)?;
        let listed: usize = others.lists.iter().map(|(_, values)| 1 + values.len()).sum();
        let texts = scopes.len()
            + user.attributes.iter().count()
            + user.groups.len()
            + listed
            + others.unreadable.len();
        let auth_time = authenticated_at(&claims, now, SKEW);
        let live = Live {
            seen,
            booked: Booked::default(),
            user,
            methods: methods(&claims, auth_time),
            claims: others,
            auth_time,
            issued_at: NumericDate::of(&claims, "iat").map(|at| at.min(now)),
            scopes: scopes.into(),
            of: of.clone(),
            keys,
            expires_at,
            generation,
            own,
            weight: u32::try_from(2 * length + BESIDE + A_TEXT * texts).unwrap_or(u32::MAX),
            kept: Kept::default(),
        };
        Ok(Bearer(Arc::new(live)))
    }
}
