//! Guests: who is not signed in, and has an identity of their own all the same. It lives in their cookie alone:
//! nothing is written for whoever comes by.

use super::cookie::{GUEST_COOKIE, set_for};
use super::principal::Kept;
use crate::base::{Clock, Duration, Entropy, KeyRing, Timestamp, Token, b64, unb64};
use crate::catalogue::IdentityPool;
use crate::config::{Host, SameSite};
use crate::identity::{Identities, guest_id};
use crate::store::StoreError;
use moka::future::Cache;
use std::sync::Arc;

/// How many guests are remembered.
const CAPACITY: u64 = 50_000;
/// For how long: a guest who signed in with another node's help is no guest any more after this.
const REMEMBER: Duration = Duration::from_secs(60);
/// How long browsers keep the cookie: RFC 6265bis, section 5.5, lets them for 400 days at most.
const LIFETIME: Duration = Duration::from_secs(400 * 86400);

/// A guest in one identity pool.
#[derive(Clone)]
pub struct Guest(Arc<Live>);

struct Live {
    identity_id: String,
    known_at: Timestamp,
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

    fn new(identity_id: String, known_at: Timestamp) -> Self {
        Self(Arc::new(Live { identity_id, known_at, kept: Kept::default() }))
    }
}

/// The guests of this deployment, seen from this node.
pub struct Guests {
    ring: Arc<KeyRing>,
    identities: Arc<Identities>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    known: Cache<String, Guest>,
}

impl Guests {
    /// Guests whose cookies are made with `ring`.
    pub fn new(
        ring: Arc<KeyRing>,
        identities: Arc<Identities>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { ring, identities, clock, entropy, known: Cache::new(CAPACITY) }
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
        let (id, now) = (guest_id(&self.ring, pool, region, &token), self.clock.now());
        if let Some(guest) = self.known.get(&id).await
            && now < guest.0.known_at.plus(REMEMBER)
        {
            return Ok(Some(guest));
        }
        if !self.identities.is_a_guests(&id).await? {
            return Ok(None);
        }
        let guest = Guest::new(id.clone(), now);
        self.known.insert(id, guest.clone()).await;
        Ok(Some(guest))
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
        let guest = Guest::new(guest_id(&self.ring, pool, region, &token), self.clock.now());
        (guest, set_for(GUEST_COOKIE, &text, Some(LIFETIME), same_site))
    }

    /// The identity in `pool` of the guest whom a cookie's text stands for on `host`, whatever became of it.
    pub fn identity(&self, text: &str, host: &Host, pool: &IdentityPool, region: &str) -> Option<String> {
        self.token(text, host).map(|token| guest_id(&self.ring, pool, region, &token))
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
