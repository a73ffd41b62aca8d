//! A new password: checked against the pool's policy and the user's earlier passwords, and hashed.

use super::password::{Acceptance, BreachLookup, HashError, Hasher, PasswordHash, Verdict};
use super::srp::{Realm, Verifier};
use crate::base::{Duration, Entropy, Secret, Timestamp};
use crate::catalogue::CatalogueCell;
use crate::model::{PasswordPolicy, User};
use crate::store::{Result, Store, StoreError, StoredPassword, Tx};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The prefix of AWS's words for a password that the policy refuses.
const POLICY_PREFIX: &str = "Password did not conform with policy: ";
/// The reason for a password that a published breach has.
const BREACHED: &str = "Password has appeared in a data breach";

/// Checks and hashes new passwords.
pub struct NewPasswords {
    store: Store,
    /// The threads that hash passwords.
    pub(super) hasher: Arc<Hasher>,
    breaches: BreachLookup,
}

/// A password to set.
#[derive(Clone, Copy)]
pub struct NewPassword<'a> {
    /// The password.
    pub password: &'a Secret,
    /// A digest of the client's network, for a fair share of the hashing threads.
    pub network: u64,
    /// The random numbers of a verifier for Secure Remote Password; `None` if no client of the pool
    /// allows that. Without a verifier a user of such a client cannot sign in.
    pub verifier_entropy: Option<&'a Arc<dyn Entropy>>,
}

/// A password that the policy accepts, hashed.
pub struct PreparedPassword {
    hash: PasswordHash,
    verifier: Option<Verifier>,
}

/// Why a new password is refused, or could not be prepared.
#[derive(Debug)]
pub enum NewPasswordError {
    /// The policy refuses it; AWS's words.
    Policy(String),
    /// It is the current password or one of the earlier ones that the policy remembers.
    Reused,
    /// The password could not be hashed now.
    Hash(HashError),
    /// The database failed.
    Store(StoreError),
}

impl From<StoreError> for NewPasswordError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<HashError> for NewPasswordError {
    fn from(error: HashError) -> Self {
        Self::Hash(error)
    }
}

/// Returns the end of a temporary password that is set at `set_at`.
pub(super) fn temporary_end(policy: &PasswordPolicy, set_at: Timestamp) -> Timestamp {
    let days = u64::from(policy.temporary_password_validity_days);
    set_at.plus(Duration::from_secs(days * 86_400))
}

impl NewPasswords {
    /// Creates the checks of a deployment; `catalogue` has the address of the breached-password
    /// service.
    pub fn new(store: Store, hasher: Arc<Hasher>, catalogue: Arc<CatalogueCell>) -> Self {
        Self { store, hasher, breaches: BreachLookup::new(catalogue) }
    }

    /// Checks and hashes a new password of `user`.
    ///
    /// # Errors
    /// Returns the first reason of a refusal, or why the password could not be prepared.
    pub async fn prepare(
        &self,
        policy: &PasswordPolicy,
        user: &User,
        new: NewPassword<'_>,
    ) -> std::result::Result<PreparedPassword, NewPasswordError> {
        let NewPassword { password, network, .. } = new;
        let attributes = ["email", "phone_number", "preferred_username"];
        let mut names = vec![user.username.as_str()];
        names.extend(attributes.into_iter().filter_map(|name| user.attributes.get(name)));
        if let Err(violations) = policy.check(password.expose(), &names) {
            let reason = violations.first().map(ToString::to_string).unwrap_or_default();
            return Err(NewPasswordError::Policy(format!("{POLICY_PREFIX}{reason}")));
        }
        if self.breaches.accept(password).await == Acceptance::Breached {
            return Err(NewPasswordError::Policy(format!("{POLICY_PREFIX}{BREACHED}")));
        }
        for hash in remembered(&self.store, user.no, policy.history_size).await? {
            let verdict = self.hasher.verify(network, password.clone(), Arc::new(hash)).await?;
            if matches!(verdict, Verdict::Match { .. }) {
                return Err(NewPasswordError::Reused);
            }
        }
        Ok(self.hash(user, new).await?)
    }

    /// Hashes a password of `user` that is not checked, because another system accepted it.
    ///
    /// # Errors
    /// Returns an error if the password could not be hashed now.
    pub(super) async fn hash(
        &self,
        user: &User,
        new: NewPassword<'_>,
    ) -> std::result::Result<PreparedPassword, HashError> {
        let NewPassword { password, network, verifier_entropy } = new;
        let hash = self.hasher.hash(network, password.clone()).await?;
        let verifier = match verifier_entropy {
            Some(entropy) => derive_verifier(user, password, entropy).await,
            None => None,
        };
        Ok(PreparedPassword { hash, verifier })
    }
}

/// Derives the verifier of a password for Secure Remote Password. `None` for a pool without a
/// realm.
pub(super) async fn derive_verifier(
    user: &User,
    password: &Secret,
    entropy: &Arc<dyn Entropy>,
) -> Option<Verifier> {
    let (pool_id, user_id) = (user.pool_id.clone(), user.username.clone());
    let (password, entropy) = (password.clone(), entropy.clone());
    let derived = tokio::task::spawn_blocking(move || {
        let realm = Realm::of_pool(&pool_id)?;
        Some(Verifier::create(realm, &user_id, password.expose(), &*entropy))
    });
    derived.await.ok().flatten()
}

/// Returns the hashes of the `history_size` latest passwords, the current one among them; that also
/// without a history if it is a temporary one, which the administrator knows.
async fn remembered(store: &Store, user_no: i64, history_size: u16) -> Result<Vec<PasswordHash>> {
    let hashes = store
        .transaction(|tx| {
            Box::pin(async move {
                let current = tx.password(user_no).await?;
                let current = current.filter(|it| history_size > 0 || it.expires_at.is_some());
                let earlier = match history_size {
                    0 | 1 => Vec::new(),
                    size => tx.password_history(user_no, u32::from(size) - 1).await?,
                };
                Ok(current.map(|it| it.hash).into_iter().chain(earlier).collect::<Vec<_>>())
            })
        })
        .await?;
    hashes.iter().map(parse_hash).collect()
}

/// Parses a stored hash.
///
/// # Errors
/// Returns an error if the database holds something else.
pub(super) fn parse_hash(stored: &Zeroizing<Vec<u8>>) -> Result<PasswordHash> {
    let text = std::str::from_utf8(stored).ok();
    let hash = text.and_then(|text| PasswordHash::parse(text).ok());
    hash.ok_or_else(|| StoreError::Corrupt("passwords.sealed: no password hash".to_owned()))
}

impl PreparedPassword {
    /// Sets the password of a user; `expires_at` ends a temporary one.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn set(
        &self,
        tx: &mut Tx<'_>,
        user_no: i64,
        policy: &PasswordPolicy,
        (now, expires_at): (Timestamp, Option<Timestamp>),
        entropy: &dyn Entropy,
    ) -> Result<()> {
        let hash = Zeroizing::new(self.hash.expose().as_bytes().to_vec());
        let stored = StoredPassword { hash, set_at: now, expires_at };
        let earlier = policy.history_size.saturating_sub(1);
        tx.set_password(user_no, &stored, earlier.into(), entropy).await?;
        match &self.verifier {
            Some(verifier) => tx.set_srp_verifier(user_no, &verifier.to_bytes()[..], entropy).await,
            None => Ok(()),
        }
    }
}
