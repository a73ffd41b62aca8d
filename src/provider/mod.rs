//! Outside identity providers, each behind one trait: [`Provider::begin`] sends a browser there,
//! [`Provider::finish`] judges what it brings back. This room knows no store and no user: what it
//! answers is what the provider vouches for, nothing more.

mod backchannel;
mod claims;
mod metadata;
mod oidc;
mod outbound;

pub use backchannel::LogoutToken;
pub use outbound::Outbound;

use crate::base::{Clock, Entropy, Secret, Timestamp};
use crate::config;
use crate::model::ProviderTokens;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use url::Url;

/// What a login must remember between [`Provider::begin`] and [`Provider::finish`]. It travels
/// sealed in the browser's own cookie.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// OpenID Connect Core 1.0, section 3.1.2.1: ties the ID token to this login.
    pub nonce: String,
    /// RFC 7636: the PKCE code verifier.
    pub verifier: String,
}

/// A browser on its way to a provider.
#[derive(Debug)]
pub struct Begun {
    /// Where to send it.
    pub redirect: Url,
    /// What to remember.
    pub pending: Pending,
}

/// What a browser brought back.
#[derive(Debug)]
pub struct Callback<'a> {
    /// The parameters, each of which came exactly once.
    pub parameters: &'a HashMap<String, String>,
    /// The address that it was sent back to.
    pub redirect_uri: &'a str,
    /// What [`Provider::begin`] wanted remembered.
    pub pending: &'a Pending,
}

/// What a provider vouches for.
#[derive(Clone, Debug)]
pub struct ExternalIdentity {
    /// The issuer, byte for byte.
    pub issuer: String,
    /// The account there.
    pub subject: String,
    /// All claims, by name.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// How the person was authenticated there (RFC 8176).
    pub amr: Vec<String>,
    /// When.
    pub auth_time: Timestamp,
    /// The `sid` of the person's session there, where the provider tells one.
    pub sid: Option<String>,
    /// What the provider granted us beside.
    pub tokens: ProviderTokens,
}

/// Tokens that were renewed, and what came of asking about the person with them. The tokens before them
/// may have been used up: these must be kept, whatever came.
#[derive(Debug)]
pub struct Renewed {
    /// The tokens.
    pub tokens: ProviderTokens,
    /// The person.
    pub identity: Result<ExternalIdentity, ProviderError>,
}

/// Why a login at a provider did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderError {
    /// The provider does not answer, or answers nonsense: not the person's fault.
    Unavailable(String),
    /// The provider refused the person, or the person gave up: its error code (RFC 6749, section
    /// 4.1.2.1) and description.
    Refused {
        /// The registered error code.
        code: String,
        /// What the provider adds to it, for the log.
        description: String,
    },
    /// What came back fails a check; the name of the check, and what was wrong.
    Invalid {
        /// Which check.
        check: &'static str,
        /// What was wrong, for the log.
        detail: String,
    },
}

impl ProviderError {
    fn invalid(check: &'static str, detail: impl fmt::Display) -> Self {
        Self::Invalid { check, detail: detail.to_string() }
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(why) => write!(f, "the provider is not available: {why}"),
            Self::Refused { code, description } => write!(f, "the provider refused: {code} {description}"),
            Self::Invalid { check, detail } => write!(f, "the check `{check}` failed: {detail}"),
        }
    }
}

impl std::error::Error for ProviderError {}

/// An outside identity provider.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Sends a browser there. `state` comes back with it.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] where the provider's metadata cannot be had.
    async fn begin(&self, redirect_uri: &str, state: &str) -> Result<Begun, ProviderError>;

    /// Judges what the browser brought back.
    ///
    /// # Errors
    /// Any doubt is a refusal, named by the check that failed.
    async fn finish(&self, callback: Callback<'_>) -> Result<ExternalIdentity, ProviderError>;

    /// Renews `tokens`, which were granted for `subject`, and what the provider says of the person
    /// (OpenID Connect Core 1.0, section 12).
    ///
    /// # Errors
    /// [`ProviderError::Refused`] where the provider does not vouch for the person any more; the tokens
    /// are as they were then.
    async fn renew(&self, tokens: &ProviderTokens, subject: &str) -> Result<Renewed, ProviderError>;

    /// Where to send a browser to end its session at the provider (OpenID Connect RP-Initiated Logout
    /// 1.0, section 2); nowhere if the provider knows no such way. `state` comes back with it.
    async fn logout(&self, id_token: Option<&Secret>, back_to: &str, state: &str) -> Option<Url>;

    /// Judges a logout token that came from the provider itself (OpenID Connect Back-Channel Logout
    /// 1.0, section 2.6), but for whether it was seen before.
    ///
    /// # Errors
    /// Any doubt is a refusal, named by the check that failed.
    async fn logout_token(&self, token: &str) -> Result<LogoutToken, ProviderError>;

    /// Fetches the provider's metadata again.
    ///
    /// # Errors
    /// Where that fails; what was known stays.
    async fn refresh(&self) -> Result<(), ProviderError>;
}

/// The provider that `config` speaks of.
pub fn connect(
    config: &config::Provider,
    outbound: Outbound,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Arc<dyn Provider> {
    match &config.kind {
        config::Kind::Oidc(settings) => {
            Arc::new(oidc::OpenId::new(settings.clone(), outbound, clock, entropy))
        }
    }
}
