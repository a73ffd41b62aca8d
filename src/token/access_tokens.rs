//! Access tokens of the configuration's user pools: issuance, verification with their key sets, and
//! revocation.

use super::bearer::{AccessToken, TokenError, authentic, verify};
use super::keys::{KeyChain, KeyChainError, KeySet};
use super::overrides::TokenOverrides;
use super::pool_keys::{PoolKeys, TokenUse};
use super::revocations::Revocations;
use crate::base::{Clock, Duration, Entropy, Timestamp, base64url_encode, sha256, uuid};
use crate::catalogue::{AppClient, Catalogue, Pool};
use crate::config::TrustedIssuer;
use crate::jose::{self, Algorithm, JwkSet, KeyError, NumericDate, Unverified};
use crate::store::{Store, StoreError};
use arc_swap::ArcSwap;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use thiserror::Error;

/// An issuer of the access tokens of the configuration's user pools.
pub struct AccessTokens {
    /// The revoked tokens.
    pub revocations: Revocations,
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// The keys of each pool, which exist as soon as an app client may get tokens.
    keys: ArcSwap<Vec<Arc<Keys>>>,
}

/// The keys of one pool that sign with one algorithm.
struct Keys {
    pool: String,
    algorithm: &'static str,
    chain: KeyChain,
}

/// The data of a user pool's token that its revocation needs.
#[derive(Clone, Debug)]
pub struct Revocable {
    /// The id of the client to which the token was issued.
    pub client_id: String,
    /// The token's id.
    pub jti: String,
    /// When the token expires.
    pub expires_at: Timestamp,
}

/// An error of issuing a token.
#[derive(Debug, Error)]
pub enum IssueError {
    /// There is no key, because no app client may get tokens.
    #[error("the user pool has no key to sign with")]
    NoKey,
    /// Signing failed.
    #[error(transparent)]
    Key(KeyError),
}

/// A token that is issued to a program itself (RFC 6749, section 4.4).
#[derive(Clone, Copy, Debug)]
pub struct ProgramToken<'a> {
    /// The `iss` claim.
    pub issuer: &'a str,
    /// The app client's id.
    pub client_id: &'a str,
    /// The granted scopes, separated by spaces.
    pub scope: &'a str,
    /// The lifetime.
    pub validity: Duration,
    /// The thumbprint of the key to which the token is bound.
    pub key: Option<&'a str>,
    /// The id by which the token ends with its client; `None` for a client of the configuration,
    /// whose id is an accepted audience as long as it is declared.
    pub origin: Option<&'a str>,
    /// The changes by a function of the pool.
    pub overrides: Option<&'a TokenOverrides>,
}

/// Returns the id by which the tokens of an app client itself end with the client: their
/// `origin_jti`. It is a digest, because it stays in the database when the client is deleted.
pub fn client_origin(client_id: &str) -> String {
    base64url_encode(sha256(format!("tokens of the app client {client_id}")))
}

/// The claims of a token that is issued to a program itself, with Cognito's names.
#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    token_use: &'static str,
    scope: &'a str,
    auth_time: i64,
    iss: &'a str,
    exp: i64,
    iat: i64,
    version: u8,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin_jti: Option<&'a str>,
    client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation<'a>>,
}

/// The key to which a token is bound (RFC 9449, section 6.1).
#[derive(Serialize)]
struct Confirmation<'a> {
    jkt: &'a str,
}

impl AccessTokens {
    /// Reads the revocations. No token can be issued before [`AccessTokens::apply`].
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn open(
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StoreError> {
        let revocations = Revocations::open(store.clone(), clock.clone()).await?;
        Ok(Self { revocations, store, clock, entropy, keys: ArcSwap::default() })
    }

    /// Opens the keys that the configuration in `catalogue` needs, and keeps the others.
    ///
    /// # Errors
    /// Returns an error if the keys cannot be opened; the previous keys stay in use.
    pub async fn apply(&self, catalogue: &Catalogue) -> Result<(), KeyChainError> {
        let mut all = Vec::clone(&self.keys.load());
        for (pool, declared) in catalogue.declared_pools() {
            let algorithm = declared.signing_algorithm;
            let same = |keys: &Arc<Keys>| keys.pool == pool.id && keys.algorithm == algorithm;
            if !declared.issues_access_tokens() || all.iter().any(same) {
                continue;
            }
            let keys = Arc::new(self.open_keys(&pool.id, algorithm).await?);
            all.retain(|keys| keys.pool != pool.id);
            all.push(keys);
        }
        self.keys.store(Arc::new(all));
        Ok(())
    }

    async fn open_keys(&self, pool: &str, algorithm: &'static str) -> Result<Keys, KeyChainError> {
        let signs = Algorithm::from_name(algorithm).ok_or(KeyChainError::Absent)?;
        let purpose = PoolKeys::purpose(pool, TokenUse::Access);
        let (store, clock, entropy) = (self.store.clone(), self.clock.clone(), self.entropy.clone());
        let chain = KeyChain::open(&purpose, signs, store, clock, entropy, true).await?;
        Ok(Keys { pool: pool.to_owned(), algorithm, chain })
    }

    /// Drops the keys of pools that the configuration in `catalogue` does not have.
    pub fn retain(&self, catalogue: &Catalogue) {
        let mut all = Vec::clone(&self.keys.load());
        all.retain(|keys| catalogue.declared_pool(&keys.pool).is_some());
        self.keys.store(Arc::new(all));
    }

    /// Rotates the keys, as [`KeyChain::rotate`] does.
    ///
    /// # Errors
    /// Returns an error if the database fails or a key cannot be read; the keys do not change.
    pub async fn rotate(&self, removes: bool) -> Result<(), KeyChainError> {
        for keys in &**self.keys.load() {
            keys.chain.rotate(removes).await?;
        }
        Ok(())
    }

    /// Returns the current keys of `pool`.
    fn keys(&self, pool: &Pool) -> Option<Arc<KeySet>> {
        let all = self.keys.load();
        all.iter().find(|keys| keys.pool == pool.id).map(|keys| keys.chain.current())
    }

    /// Returns `pool` as a trusted issuer, once it has keys.
    pub fn as_issuer(&self, pool: &Pool) -> Option<TrustedIssuer> {
        let keys = self.keys(pool)?;
        Some(pool.as_issuer(keys.jwk_set.clone(), keys.algorithms()))
    }

    /// Verifies an access token of `pool`, without checking revocation: the caller must
    /// query the store, which has a revocation before any node does.
    ///
    /// # Errors
    /// Returns the reason why the token is not valid.
    pub fn verify(&self, pool: &Pool, token: &str, now: Timestamp) -> Result<AccessToken, TokenError> {
        let (keys, issuer) = (self.keys(pool).ok_or(TokenError::NoKeys)?, self.as_issuer(pool));
        let issuer = issuer.ok_or(TokenError::NoKeys)?;
        verify(Unverified::read(token).map_err(TokenError::Malformed)?, &issuer, &keys.verifying, now)
    }

    /// Returns the data for a revocation of `token`, if `pool` has signed it. The token may
    /// be expired or not valid yet: a clock that is behind, or a change of the configuration, could
    /// make it valid.
    ///
    /// # Errors
    /// Returns the reason why `token` is not one of the pool's tokens.
    pub fn revocable(&self, pool: &Pool, token: &str) -> Result<Revocable, TokenError> {
        let (keys, issuer) = (self.keys(pool).ok_or(TokenError::NoKeys)?, self.as_issuer(pool));
        let issuer = issuer.ok_or(TokenError::NoKeys)?;
        revocable(token, &issuer, &keys.verifying)
    }

    /// Issues a token to `client` of `pool` itself (RFC 6749, section 4.4), with `scopes`. It is
    /// bound to the key with the thumbprint `key`. `overrides` are the changes by a function of the
    /// pool.
    ///
    /// # Errors
    /// Returns an error if there is no key or signing fails.
    pub fn issue(
        &self,
        pool: &Pool,
        client: &AppClient,
        scopes: &[&str],
        (key, overrides): (Option<&str>, Option<&TokenOverrides>),
        now: Timestamp,
    ) -> Result<String, IssueError> {
        let keys = self.keys(pool).ok_or(IssueError::NoKey)?;
        let (validity, scope) = (client.access_token_validity, &*scopes.join(" "));
        let (issuer, client_id) = (&*pool.issuer, &*client.id);
        let token = ProgramToken { issuer, client_id, scope, validity, key, origin: None, overrides };
        issue_to_program(&keys, token, now, &*self.entropy).map_err(IssueError::Key)
    }
}

/// Issues a token to a program itself.
///
/// # Errors
/// Returns an error if signing fails.
pub fn issue_to_program(
    keys: &KeySet,
    token: ProgramToken<'_>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<String, KeyError> {
    let claims = Claims {
        sub: token.client_id,
        token_use: "access",
        scope: token.scope,
        auth_time: now.seconds(),
        iss: token.issuer,
        exp: now.plus(token.validity).seconds(),
        iat: now.seconds(),
        version: 2,
        jti: uuid(entropy),
        origin_jti: token.origin,
        client_id: token.client_id,
        cnf: token.key.map(|jkt| Confirmation { jkt }),
    };
    let Some(overrides) = token.overrides else { return jose::sign(&keys.signing, &[], &claims) };
    let mut claims = match serde_json::to_value(&claims) {
        Ok(Value::Object(claims)) => claims,
        _ => return jose::sign(&keys.signing, &[], &claims),
    };
    overrides.apply_to_access(&mut claims);
    jose::sign(&keys.signing, &[], &claims)
}

/// Returns the data for a revocation of `token`, if `issuer` has signed it.
///
/// # Errors
/// Returns the reason why `token` is not one of the issuer's tokens.
pub fn revocable(token: &str, issuer: &TrustedIssuer, keys: &JwkSet) -> Result<Revocable, TokenError> {
    let token = Unverified::read(token).map_err(TokenError::Malformed)?;
    authentic(&token, issuer, keys)?;
    let text = |name: &str| token.claims.get(name).and_then(Value::as_str).map(str::to_owned);
    let (Some(client_id), Some(jti)) = (text("client_id"), text("jti")) else {
        return Err(TokenError::Subject);
    };
    Ok(Revocable {
        client_id,
        jti,
        expires_at: NumericDate::of(&token.claims, "exp").ok_or(TokenError::Expired)?,
    })
}
