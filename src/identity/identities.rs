//! Identities: stored for each user and identity pool, derived for guests and bearer tokens.

use crate::base::{Clock, Entropy, KeyRing, RandomToken, Timestamp, uuid, uuid_from_bytes};
use crate::catalogue::IdentityPool;
use crate::store::{Result, Store, StoreError, Tx};
use std::sync::Arc;

/// Maximum attempts to generate an unused id.
const MAX_ID_ATTEMPTS: usize = 3;

/// The identities of users and of the subjects of bearer tokens.
pub struct IdentityDirectory {
    store: Store,
    ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl IdentityDirectory {
    /// Creates a directory of the identities in `store`.
    pub fn new(store: Store, ring: Arc<KeyRing>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { store, ring, clock, entropy }
    }

    /// Returns the identity of a user in `pool`, `{region}:{uuid}`. Creates it if missing.
    ///
    /// # Errors
    /// Returns an error if the database fails, or if each of three generated ids is taken.
    pub async fn for_user(&self, pool: &IdentityPool, region: &str, user_id: &str) -> Result<String> {
        if let Some(id) = self.store.identity_of(&pool.id, user_id).await? {
            return Ok(id);
        }
        let now = self.clock.now();
        for _ in 0..MAX_ID_ATTEMPTS {
            let candidate = format!("{region}:{}", uuid(&*self.entropy));
            let fixed = self.store.transaction(|tx| {
                let candidate = &candidate;
                Box::pin(async move { tx.get_or_insert_identity(&pool.id, user_id, candidate, now).await })
            });
            if let Some(id) = fixed.await? {
                return Ok(id);
            }
        }
        Err(StoreError::Corrupt("identities: every id is taken".to_owned()))
    }

    /// Returns the identity in `pool` of a bearer token's subject, `{region}:{uuid}`. The identity
    /// is derived from the subject with a MAC and not stored.
    pub fn for_token(&self, pool: &IdentityPool, region: &str, subject: &str) -> String {
        let mac = self.ring.mac(&[b"identity of a token", pool.id.as_bytes(), subject.as_bytes()].concat());
        format!("{region}:{}", uuid_from_bytes(mac, 8))
    }

    /// Returns whether a guest's identity has not been promoted to a user's.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn is_guest(&self, id: &str) -> Result<bool> {
        self.store.identity_exists(id).await.map(|known| !known)
    }
}

/// The result of merging a guest's identity into a user at sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeOutcome {
    /// The identity now belongs to the user.
    Promoted,
    /// The user already has this identity; the guest's identity is disabled.
    Merged(String),
    /// The guest's identity already belonged to a user.
    AlreadyOwned,
}

/// Returns the identity in `pool` of the guest with `token`, `{region}:{uuid}`. The identity is
/// derived from the token with a MAC, so it does not reveal the token.
pub fn guest_id(ring: &KeyRing, pool: &IdentityPool, region: &str, token: &RandomToken) -> String {
    let mac = ring.mac(&[b"guest identity", pool.id.as_bytes(), token.bytes()].concat());
    format!("{region}:{}", uuid_from_bytes(mac, 8))
}

/// Transfers the identity `guest` to the user `user_id` if that user has no identity, as Cognito
/// does. Otherwise disables `guest`. Later uses of the guest cookie create a new guest.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn merge_guest(
    tx: &mut Tx<'_>,
    pool: &IdentityPool,
    guest: &str,
    user_id: &str,
    now: Timestamp,
) -> Result<MergeOutcome> {
    match tx.get_or_insert_identity(&pool.id, user_id, guest, now).await? {
        Some(id) if id == guest => Ok(MergeOutcome::Promoted),
        Some(id) if tx.merge_identity(&pool.id, guest, &id, now).await? => Ok(MergeOutcome::Merged(id)),
        Some(_) => Ok(MergeOutcome::AlreadyOwned),
        None => Ok(MergeOutcome::AlreadyOwned),
    }
}
