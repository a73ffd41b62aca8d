//! Guests: who is not signed in, and has an identity of their own all the same. It lives in their cookie alone:
//! nothing is written for whoever comes by.

use super::cookie::{GUEST_COOKIE, set_for};
use super::kept::Kept;
use crate::base::{Clock, Duration, Entropy, KeyRing, MonotonicTime, Token, b64, unb64};
use crate::catalogue::IdentityPool;
use crate::config::{Host, SameSite};
use crate::identity::{Identities, guest_id};
use crate::store::StoreError;
use moka::future::Cache;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// How many guests are remembered.
const CAPACITY: u64 = 20_000;
/// How many of them the store is asked about at a time: anybody can come with any number of guests' cookies, and
/// whoever signs in must not have to wait for that.
const LOOK_UPS: usize = 2;
/// For how long: a guest who signed in with another node's help is no guest any more after this.
const REMEMBER: Duration = Duration::from_secs(60);
/// How long browsers keep the cookie: RFC 6265bis, section 5.5, lets them for 400 days at most.
const LIFETIME: Duration = Duration::from_secs(400 * 86400);

/// A guest in one identity pool.
#[derive(Clone)]
pub struct Guest(Arc<Live>);

struct Live {
    identity_id: String,
    known_at: MonotonicTime,
    kept: Kept,
}

impl Guest {
    /// The identity, `{region}:{uuid}`.
    pub fn identity_id(&self) -> &str {
        &self.0.identity_id
    }

    pub(super) fn kept(&self) -> &Kept {
        &self.0.kept
    }

    fn new(identity_id: String, known_at: MonotonicTime) -> Self {
        Self(Arc::new(Live { identity_id, known_at, kept: Kept::default() }))
    }
}

/// The guests of this deployment, seen from this node.
pub struct Guests {
    ring: Arc<KeyRing>,
    identities: Arc<Identities>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    known: Cache<String, Option<Guest>>,
    look_ups: Semaphore,
}

impl Guests {
    /// Guests whose cookies are made with `ring`.
    pub fn new(
        ring: Arc<KeyRing>,
        identities: Arc<Identities>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let known = Cache::builder().max_capacity(CAPACITY).time_to_live(REMEMBER).build();
        Self { ring, identities, clock, entropy, known, look_ups: Semaphore::new(LOOK_UPS) }
    }

    /// The guest in `pool` whom a cookie's text stands for on `host`, if any.
    ///
    /// # Errors
    /// Where the store is needed and does not answer.
    pub async fn guest(
        &self,
        text: &str,
        host: &Host,
        pool: &IdentityPool,
        region: &str,
    ) -> Result<Option<Guest>, StoreError> {
        let Some(token) = self.token(text, host) else { return Ok(None) };
        self.known(guest_id(&self.ring, pool, region, &token)).await
    }

    /// Whether a guest still is one.
    ///
    /// # Errors
    /// Where the store is needed and does not answer.
    pub async fn is_still(&self, guest: &Guest) -> Result<bool, StoreError> {
        self.known(guest.identity_id().to_owned()).await.map(|known| known.is_some())
    }

    /// The guest whose identity this is, unless it is somebody's.
    async fn known(&self, id: String) -> Result<Option<Guest>, StoreError> {
        let now = self.clock.monotonic();
        match self.known.get(&id).await {
            Some(None) => return Ok(None),
            Some(Some(guest)) if now.since(guest.0.known_at) < REMEMBER => return Ok(Some(guest)),
            Some(Some(_)) => self.known.invalidate(&id).await,
            None => {}
        }
        let look_up = async {
            let _turn = self.look_ups.acquire().await.map_err(|_| StoreError::Timeout)?;
            let is_a_guests = self.identities.is_a_guests(&id).await?;
            Ok(is_a_guests.then(|| Guest::new(id.clone(), now)))
        };
        let known = Box::pin(self.known.try_get_with(id.clone(), look_up)).await;
        known.map_err(|error: Arc<StoreError>| Arc::try_unwrap(error).unwrap_or(StoreError::Timeout))
    }

    /// A new guest in `pool`, with the `Set-Cookie` value that makes them known on `host` again.
    pub fn welcome(
        &self,
        host: &Host,
        same_site: SameSite,
        pool: &IdentityPool,
        region: &str,
    ) -> (Guest, String) {
        let token = Token::random(&*self.entropy);
        let text = format!("{}.{}", token.text(), b64(self.ring.mac(&mac_input(&token, host))));
        let guest = Guest::new(guest_id(&self.ring, pool, region, &token), self.clock.monotonic());
        (guest, set_for(GUEST_COOKIE, &text, Some(LIFETIME), same_site))
    }

    /// The identity in `pool` of the guest whom a cookie's text stands for on `host`, whatever became of it.
    pub fn identity(&self, text: &str, host: &Host, pool: &IdentityPool, region: &str) -> Option<String> {
        self.token(text, host).map(|token| guest_id(&self.ring, pool, region, &token))
    }

    /// Drops every cached guest, so that the store is asked again.
    pub fn distrust_cache(&self) {
        self.known.invalidate_all();
    }

    /// Forgets a guest who has signed in.
    pub async fn forget(&self, identity_id: &str) {
        self.known.invalidate(identity_id).await;
    }

    /// The token in a cookie that we made for `host`: garbage never reaches the store.
    fn token(&self, text: &str, host: &Host) -> Option<Token> {
        let (token, mac) = text.split_once('.')?;
        let (token, mac) = (Token::parse(token)?, unb64(mac)?);
        self.ring.mac_is(&mac_input(&token, host), &mac).then_some(token)
    }
}

/// No session's cookie has this MAC: theirs is over the token and the bare host.
fn mac_input(token: &Token, host: &Host) -> Vec<u8> {
    [&token.bytes()[..], b"guest at ", host.as_str().as_bytes()].concat()
}
