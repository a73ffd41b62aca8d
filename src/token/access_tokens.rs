//! The access tokens of the user pool: issued, verified by its key set, and revoked.

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

/// Issues the access tokens of the user pool.
pub struct AccessTokens {
    /// Which of them were revoked.
    pub revocations: Revocations,
    store: Store,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    /// There are keys once a program may get tokens.
    keys: ArcSwapOption<Keys>,
}

/// The keys of one pool that sign with one algorithm.
struct Keys {
    pool: String,
    algorithm: &'static str,
    chain: KeyChain,
}

/// A token of the user pool, as far as it can be revoked.
#[derive(Clone, Debug)]
pub struct Revocable {
    /// The client that it was issued to.
    pub client_id: String,
    /// By what it is named.
    pub jti: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Why no token was issued.
#[derive(Debug, Error)]
pub enum IssueError {
    /// There is no key: nobody may get tokens.
    #[error("the user pool has no key to sign with")]
    NoKey,
    /// The key did not sign.
    #[error(transparent)]
    Key(KeyError),
}

/// The claims of a token that speaks for a program, as Cognito has them.
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
    /// Nobody gets tokens until [`AccessTokens::apply`] says who.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn open(
        store: Store,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, StoreError> {
        let revocations = Revocations::open(store.clone(), clock.clone()).await?;
        Ok(Self { revocations, store, clock, entropy, keys: ArcSwapOption::empty() })
    }

    /// Sees to it that there are keys for what `catalogue` says.
    ///
    /// # Errors
    /// Where there are none to be had; those from before stay.
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

    /// Lets the keys' lives go on, as [`KeyChain::rotate`] does.
    ///
    /// # Errors
    /// Where the store does not answer; the keys stay as they are.
    pub async fn rotate(&self, removes: bool) -> Result<(), KeyChainError> {
        match &*self.keys.load() {
            Some(keys) => keys.chain.rotate(removes).await,
            None => Ok(()),
        }
    }

    /// The keys as they stand now.
    pub fn keys(&self) -> Option<Arc<KeySet>> {
        self.keys.load().as_ref().map(|keys| keys.chain.current())
    }

    /// The user pool as an issuer whose tokens are believed, once it has keys.
    pub fn as_issuer(&self, catalogue: &Catalogue) -> Option<TrustedIssuer> {
        let keys = self.keys()?;
        let algorithms = keys.published.iter().map(|key| key.algorithm().name().to_owned()).collect();
        Some(catalogue.pool.as_issuer(&catalogue.config, keys.jwk_set.clone(), algorithms))
    }

    /// What `token` says, where it is a valid one of the user pool's. Whether it was revoked is
    /// the store's to say, which knows before any node has heard.
    ///
    /// # Errors
    /// Why it is not valid.
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

    /// What there is to revoke of `token`, where it is one of the user pool's. It need not be valid
    /// just now: a clock that is behind, or a file that is about to change, may let it count the
    /// next moment.
    ///
    /// # Errors
    /// Why it is none.
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

    /// A token that speaks for `client` itself (RFC 6749, section 4.4), good for `scopes`.
    ///
    /// # Errors
    /// Where it is not signed.
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
