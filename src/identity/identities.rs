//! Identities: one for each user and identity pool, kept in the store; and those of guests, which are not.

use crate::base::{Clock, Entropy, KeyRing, RandomToken, Timestamp, uuid, uuid_from_bytes};
use crate::catalogue::IdentityPool;
use crate::store::{Result, Store, StoreError, Tx};
use std::sync::Arc;

/// How often a new id is drawn where the last one was taken.
const MAX_ID_ATTEMPTS: usize = 3;

/// The identities of users.
pub struct IdentityDirectory {
    store: Store,
    ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl IdentityDirectory {
    /// Identities kept in `store`.
    pub fn new(store: Store, ring: Arc<KeyRing>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { store, ring, clock, entropy }
    }

    /// The identity of a user in `pool`, made where there is none.
    ///
    /// # Errors
    /// Where the store does not answer.
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

    /// The identity in `pool` of whom a bearer token speaks for: it follows from the subject, so that nothing need be
    /// stored or read for it.
    pub fn for_token(&self, pool: &IdentityPool, region: &str, subject: &str) -> String {
        let mac = self.ring.mac(&[b"identity of a token", pool.id.as_bytes(), subject.as_bytes()].concat());
        format!("{region}:{}", uuid_from_bytes(mac, 8))
    }

    /// Whether a guest's identity still is a guest's: one that has signed in is not.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn is_guest(&self, id: &str) -> Result<bool> {
        self.store.identity_exists(id).await.map(|known| !known)
    }
}

/// What became of a guest's identity when the guest signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergeOutcome {
    /// It is the user's from now on.
    Promoted,
    /// The user had this one already, and the guest's is over.
    Merged(String),
    /// It was somebody's before.
    AlreadyOwned,
}

/// The identity in `pool` of the guest who carries `token`: it follows from the token, and tells nothing of it.
pub fn guest_id(ring: &KeyRing, pool: &IdentityPool, region: &str, token: &RandomToken) -> String {
    let mac = ring.mac(&[b"guest identity", pool.id.as_bytes(), token.bytes()].concat());
    format!("{region}:{}", uuid_from_bytes(mac, 8))
}

/// Gives the identity `guest` to the user as whom the guest has signed in, if the user has none yet, as Cognito
/// does. Whoever shows the guest's cookie afterwards is another guest.
///
/// # Errors
/// Where the store does not answer.
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
