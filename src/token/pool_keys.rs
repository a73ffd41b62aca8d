//! Signing keys of user pools. Access tokens and ID tokens are signed by different keys.

use super::keys::{KeyChain, KeyChainError, KeySet};
use crate::base::{Clock, Duration, Entropy};
use crate::jose::Algorithm;
use crate::model::Pool;
use crate::store::Store;
use moka::future::Cache;
use std::sync::Arc;

/// How long keys are cached. Each node uses a new key after this time at the latest.
const REREAD_INTERVAL: Duration = Duration::from_secs(600);
/// Maximum number of pools whose keys are cached.
const MAX_POOLS: u64 = 10_000;

/// The kind of a token of a user pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenUse {
    /// An access token.
    Access,
    /// An ID token.
    Id,
}

impl TokenUse {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Access, Self::Id];

    /// Returns the value of the claim `token_use`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Id => "id",
        }
    }
}

/// The pool's id, the kind of tokens, and the algorithm of new keys.
type Key = (String, TokenUse, String);

/// A cache of the pools' keys. Reads them when they are first needed, and creates the first ones.
pub struct PoolKeys {
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    sets: Cache<Key, Arc<KeySet>>,
}

impl PoolKeys {
    /// Creates an empty cache.
    pub fn new(store: Store, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let sets = Cache::builder()
            .max_capacity(MAX_POOLS * TokenUse::ALL.len() as u64)
            .time_to_live(REREAD_INTERVAL)
            .build();
        Self { store, clock, entropy, sets }
    }

    /// Returns the purpose under which the keys of a pool are stored.
    pub fn purpose(pool_id: &str, token_use: TokenUse) -> String {
        format!("user_pool/{pool_id}/{}_token", token_use.name())
    }

    /// Returns the keys of `pool` for one kind of token. Concurrent calls share one read.
    ///
    /// # Errors
    /// Returns an error if the database fails, a key cannot be created, or the algorithm is not
    /// supported.
    pub async fn of(&self, pool: &Pool, token_use: TokenUse) -> Result<Arc<KeySet>, Arc<KeyChainError>> {
        let name = &pool.settings.signing_algorithm;
        let algorithm = Algorithm::from_name(name).ok_or_else(|| Arc::new(KeyChainError::Absent))?;
        let key = (pool.id.clone(), token_use, name.clone());
        let open = async {
            let purpose = Self::purpose(&pool.id, token_use);
            let (store, clock, entropy) = (self.store.clone(), self.clock.clone(), self.entropy.clone());
            let chain = KeyChain::open(&purpose, algorithm, store, clock, entropy, false).await?;
            Ok(chain.current())
        };
        self.sets.try_get_with(key, open).await
    }

    /// Returns the public keys of `pool` for both kinds of token, as a JWK Set (RFC 7517, section
    /// 5).
    ///
    /// # Errors
    /// Returns the errors of [`PoolKeys::of`].
    pub async fn jwk_set(&self, pool: &Pool) -> Result<String, Arc<KeyChainError>> {
        let mut keys = Vec::new();
        for token_use in TokenUse::ALL {
            let set = self.of(pool, token_use).await?;
            keys.extend(set.published.iter().map(|key| serde_json::json!(key.jwk())));
        }
        Ok(serde_json::json!({ "keys": keys }).to_string())
    }
}
