//! Guests: visitors who are not signed in, but have an identity. The identity is derived from the
//! guest cookie, so a visit stores nothing.

use super::cookie::{GUEST_COOKIE, set_cookie_value_same_site};
use super::principal_cache::PrincipalCache;
use crate::base::{
    Clock, Duration, Entropy, KeyRing, MonotonicTime, RandomToken, base64url_decode, base64url_encode,
};
use crate::catalogue::IdentityPool;
use crate::config::{Host, SameSite};
use crate::identity::{IdentityDirectory, guest_id};
use crate::store::StoreError;
use moka::future::Cache;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Maximum number of cached guests.
const CACHE_CAPACITY: u64 = 20_000;
/// Maximum concurrent database lookups of guests. A client can obtain and send any number of guest
/// cookies, and sign-ins must not wait for their lookups.
const MAX_CONCURRENT_LOOKUPS: usize = 2;
/// Lifetime of a cached guest. A guest who signs in on another node remains a guest here for this
/// long.
const CACHE_TTL: Duration = Duration::from_secs(60);
/// Lifetime of the cookie: the maximum of RFC 6265bis, section 5.5, which is 400 days.
const COOKIE_LIFETIME: Duration = Duration::from_secs(400 * 86400);

/// A guest in one identity pool.
#[derive(Clone)]
pub struct Guest(Arc<CachedGuest>);

struct CachedGuest {
    identity_id: String,
    loaded_at: MonotonicTime,
    principal_cache: PrincipalCache,
}

impl Guest {
    /// Returns the identity, `{region}:{uuid}`.
    pub fn identity_id(&self) -> &str {
        &self.0.identity_id
    }

    pub(super) fn principal_cache(&self) -> &PrincipalCache {
        &self.0.principal_cache
    }

    fn new(identity_id: String, known_at: MonotonicTime) -> Self {
        Self(Arc::new(CachedGuest {
            identity_id,
            loaded_at: known_at,
            principal_cache: PrincipalCache::default(),
        }))
    }
}

/// The authenticator of guests, with this node's cache.
pub struct GuestAuthenticator {
    ring: Arc<KeyRing>,
    identities: Arc<IdentityDirectory>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    cache: Cache<String, Option<Guest>>,
    lookups: Semaphore,
}

impl GuestAuthenticator {
    /// Creates an authenticator of guests, whose cookies are authenticated with `ring`.
    pub fn new(
        ring: Arc<KeyRing>,
        identities: Arc<IdentityDirectory>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let cache = Cache::builder().max_capacity(CACHE_CAPACITY).time_to_live(CACHE_TTL).build();
        Self { ring, identities, clock, entropy, cache, lookups: Semaphore::new(MAX_CONCURRENT_LOOKUPS) }
    }

    /// Returns the guest in `pool` that a cookie's text identifies on `host`, if any.
    ///
    /// # Errors
    /// Returns an error if a lookup is required and the database fails.
    pub async fn authenticate(
        &self,
        text: &str,
        host: &Host,
        pool: &IdentityPool,
        region: &str,
    ) -> Result<Option<Guest>, StoreError> {
        let Some(token) = self.token(text, host) else { return Ok(None) };
        self.cache(guest_id(&self.ring, pool, region, &token)).await
    }

    /// Returns whether a guest has not become a user.
    ///
    /// # Errors
    /// Returns an error if a lookup is required and the database fails.
    pub async fn is_active(&self, guest: &Guest) -> Result<bool, StoreError> {
        self.cache(guest.identity_id().to_owned()).await.map(|known| known.is_some())
    }

    /// Returns the guest with this identity, or `None` if the identity belongs to a user.
    async fn cache(&self, id: String) -> Result<Option<Guest>, StoreError> {
        let now = self.clock.monotonic();
        match self.cache.get(&id).await {
            Some(None) => return Ok(None),
            Some(Some(guest)) if now.since(guest.0.loaded_at) < CACHE_TTL => return Ok(Some(guest)),
            Some(Some(_)) => self.cache.invalidate(&id).await,
            None => {}
        }
        let look_up = async {
            let _turn = self.lookups.acquire().await.map_err(|_| StoreError::Timeout)?;
            let is_a_guests = self.identities.is_guest(&id).await?;
            Ok(is_a_guests.then(|| Guest::new(id.clone(), now)))
        };
        let known = Box::pin(self.cache.try_get_with(id.clone(), look_up)).await;
        known.map_err(|error: Arc<StoreError>| Arc::try_unwrap(error).unwrap_or(StoreError::Timeout))
    }

    /// Creates a guest in `pool`, with the `Set-Cookie` value that identifies the guest on `host`.
    pub fn create(
        &self,
        host: &Host,
        same_site: SameSite,
        pool: &IdentityPool,
        region: &str,
    ) -> (Guest, String) {
        let token = RandomToken::random(&*self.entropy);
        let text = format!("{}.{}", token.text(), base64url_encode(self.ring.mac(&mac_input(&token, host))));
        let guest = Guest::new(guest_id(&self.ring, pool, region, &token), self.clock.monotonic());
        (guest, set_cookie_value_same_site(GUEST_COOKIE, &text, Some(COOKIE_LIFETIME), same_site))
    }

    /// Returns the identity in `pool` of the guest that a cookie's text identifies on `host`,
    /// active or not.
    pub fn identity_of_cookie(
        &self,
        text: &str,
        host: &Host,
        pool: &IdentityPool,
        region: &str,
    ) -> Option<String> {
        self.token(text, host).map(|token| guest_id(&self.ring, pool, region, &token))
    }

    /// Drops every cached guest, so that each is looked up in the database again.
    pub fn distrust_cache(&self) {
        self.cache.invalidate_all();
    }

    /// Evicts a guest who has signed in.
    pub async fn evict(&self, identity_id: &str) {
        self.cache.invalidate(identity_id).await;
    }

    /// Returns the token of a cookie if Narthex created it for `host`. Invalid cookies thus cause
    /// no database lookup.
    fn token(&self, text: &str, host: &Host) -> Option<RandomToken> {
        let (token, mac) = text.split_once('.')?;
        let (token, mac) = (RandomToken::parse(token)?, base64url_decode(mac)?);
        self.ring.mac_is(&mac_input(&token, host), &mac).then_some(token)
    }
}

/// Returns the MAC input of a guest cookie. It differs from that of session cookies, which is the
/// token and the bare host.
fn mac_input(token: &RandomToken, host: &Host) -> Vec<u8> {
    [&token.bytes()[..], b"guest at ", host.as_str().as_bytes()].concat()
}
