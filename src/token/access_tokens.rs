//! Access tokens of the user pool: issuance, verification with its key set, and revocation.

use super::bearer::{AccessToken, TokenError, authentic, verify};
use super::keys::{KeyChain, KeyChainError, KeySet};
use super::revocations::Revocations;
use crate::base::{Clock, Entropy, Timestamp, uuid};
use crate::catalogue::{AppClient, Catalogue};
use crate::config::TrustedIssuer;
use crate::jose::{self, Algorithm, KeyError, NumericDate, Unverified};
use crate::store::{Store, StoreError};
use arc_swap::ArcSwapOption;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use thiserror::Error;

/// An issuer of the user pool's access tokens.
pub struct AccessTokens {
    /// The revoked tokens.
    pub revocations: Revocations,
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// The keys, which exist as soon as an app client may get tokens.
    keys: ArcSwapOption<Keys>,
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
    client_id: &'a str,
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
        Ok(Self { revocations, store, clock, entropy, keys: ArcSwapOption::empty() })
    }

    /// Opens the keys that the configuration in `catalogue` needs.
    ///
    /// # Errors
    /// Returns an error if the keys cannot be opened; the previous keys stay in use.
    pub async fn apply(&self, catalogue: &Catalogue) -> Result<(), KeyChainError> {
        let (pool, algorithm) = (&catalogue.pool.id, catalogue.config.user_pool.signing_algorithm);
        let same = |keys: &Keys| keys.pool == *pool && keys.algorithm == algorithm;
        if !catalogue.config.user_pool.issues_access_tokens() || self.keys.load().as_deref().is_some_and(same)
        {
            return Ok(());
        }
        let signs = Algorithm::from_name(algorithm).ok_or(KeyChainError::Absent)?;
        let purpose = format!("user_pool/{pool}/access_token");
        let (store, clock, entropy) = (self.store.clone(), self.clock.clone(), self.entropy.clone());
        let chain = KeyChain::open(&purpose, signs, store, clock, entropy, true).await?;
        self.keys.store(Some(Arc::new(Keys { pool: pool.clone(), algorithm, chain })));
        Ok(())
    }

    /// Rotates the keys, as [`KeyChain::rotate`] does.
    ///
    /// # Errors
    /// Returns an error if the database fails or a key cannot be read; the keys do not change.
    pub async fn rotate(&self, removes: bool) -> Result<(), KeyChainError> {
        match &*self.keys.load() {
            Some(keys) => keys.chain.rotate(removes).await,
            None => Ok(()),
        }
    }

    /// Returns the current keys.
    pub fn keys(&self) -> Option<Arc<KeySet>> {
        self.keys.load().as_ref().map(|keys| keys.chain.current())
    }

    /// Returns the user pool as a trusted issuer, once it has keys.
    pub fn as_issuer(&self, catalogue: &Catalogue) -> Option<TrustedIssuer> {
        let keys = self.keys()?;
        let algorithms = keys.published.iter().map(|key| key.algorithm().name().to_owned()).collect();
        Some(catalogue.pool.as_issuer(&catalogue.config, keys.jwk_set.clone(), algorithms))
    }

    /// Verifies an access token of the user pool, without checking revocation: the caller must
    /// query the store, which has a revocation before any node does.
    ///
    /// # Errors
    /// Returns the reason why the token is not valid.
    pub fn verify(
        &self,
        catalogue: &Catalogue,
        token: &str,
        now: Timestamp,
    ) -> Result<AccessToken, TokenError> {
        let (keys, issuer) = (self.keys().ok_or(TokenError::NoKeys)?, self.as_issuer(catalogue));
        let issuer = issuer.ok_or(TokenError::NoKeys)?;
        verify(Unverified::read(token).map_err(TokenError::Malformed)?, &issuer, &keys.verifying, now)
    }

    /// Returns the data for a revocation of `token`, if the user pool has signed it. The token may
    /// be expired or not valid yet: a clock that is behind, or a change of the configuration, could
    /// make it valid.
    ///
    /// # Errors
    /// Returns the reason why `token` is not one of the user pool's tokens.
    pub fn revocable(&self, catalogue: &Catalogue, token: &str) -> Result<Revocable, TokenError> {
        let (keys, issuer) = (self.keys().ok_or(TokenError::NoKeys)?, self.as_issuer(catalogue));
        let issuer = issuer.ok_or(TokenError::NoKeys)?;
        let token = Unverified::read(token).map_err(TokenError::Malformed)?;
        authentic(&token, &issuer, &keys.verifying)?;
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

    /// Issues a token to `client` itself (RFC 6749, section 4.4), with `scopes`.
    ///
    /// # Errors
    /// Returns an error if there is no key or signing fails.
    pub fn issue(
        &self,
        catalogue: &Catalogue,
        client: &AppClient,
        scopes: &[&str],
        now: Timestamp,
    ) -> Result<String, IssueError> {
        let keys = self.keys().ok_or(IssueError::NoKey)?;
        let claims = Claims {
            sub: &client.id,
            token_use: "access",
            scope: &scopes.join(" "),
            auth_time: now.seconds(),
            iss: &catalogue.pool.issuer,
            exp: now.plus(client.access_token_validity).seconds(),
            iat: now.seconds(),
            version: 2,
            jti: uuid(&*self.entropy),
            client_id: &client.id,
        };
        jose::sign(&keys.signing, &[], &claims).map_err(IssueError::Key)
    }
}
