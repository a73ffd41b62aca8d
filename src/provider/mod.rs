//! Outside identity providers, each behind one trait: [`Provider::begin`] sends a browser there,
//! [`Provider::finish`] judges what it brings back. This room knows no store and no user: what it
//! answers is what the provider vouches for, nothing more.

mod backchannel;
mod cached_document;
mod call_shares;
mod claims;
mod client;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod http_client;
mod introspection;
mod issuer_keys;
mod metadata;
mod oidc;
mod plain_oauth2;
pub mod saml;
mod token_response;

pub use backchannel::LogoutToken;
pub use claims::{claim, normalize_email_verified, subject_of};
pub use http_client::{OutboundError, ProviderHttpClient};
pub use introspection::{IntrospectionError, Introspector};
pub use issuer_keys::{IssuerKeys, unusable_key_files};

use crate::base::{Clock, Entropy, Timestamp};
use crate::config;
use crate::model::{Identity, ProviderTokens};
use ::oauth2::AuthorizationCode;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;
use url::Url;

/// What a login must remember between [`Provider::begin`] and [`Provider::finish`]. It travels
/// sealed in the browser's own cookie.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LoginState {
    /// Ties what comes back to this login: the nonce of the ID token (OpenID Connect Core 1.0,
    /// section 3.1.2.1), or the ID of the AuthnRequest that the response answers (SAML core,
    /// section 3.2.2).
    pub nonce: String,
    /// RFC 7636: the PKCE code verifier.
    pub code_verifier: String,
}

/// Where a browser is sent on, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrowserAction {
    /// To an address.
    Redirect(Url),
    /// By a form.
    Form {
        /// To where.
        action: Url,
        /// Its fields, by name.
        fields: Vec<(String, String)>,
    },
}

/// A browser on its way to a provider.
#[derive(Debug)]
pub struct LoginStart {
    /// Where to send it.
    pub action: BrowserAction,
    /// What to remember.
    pub pending: LoginState,
}

/// What a browser brought back.
#[derive(Debug)]
pub struct Callback<'a> {
    /// The parameters, each of which came exactly once.
    pub parameters: &'a HashMap<String, String>,
    /// The address that it was sent back to.
    pub redirect_uri: &'a str,
    /// What [`Provider::begin`] wanted remembered; nothing, where the provider began by itself.
    pub pending: Option<&'a LoginState>,
    /// When the browser was sent there.
    pub started_at: Option<Timestamp>,
}

impl Callback<'_> {
    /// The authorization code.
    fn code(&self) -> Result<AuthorizationCode, ProviderError> {
        let code = self.parameters.get("code");
        let code = code.ok_or_else(|| ProviderError::invalid("code", "the callback carries no code"))?;
        Ok(AuthorizationCode::new(code.clone()))
    }

    /// The provider's refusal, where it is one (RFC 6749, section 4.1.2.1).
    fn refusal(&self) -> Result<(), ProviderError> {
        let Some(code) = self.parameters.get("error") else { return Ok(()) };
        let description = self.parameters.get("error_description").cloned().unwrap_or_default();
        Err(ProviderError::Refused { code: code.clone(), description })
    }
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
    /// When, as far as the provider says.
    pub auth_time: Option<Timestamp>,
    /// The `sid` of the person's session there, if the provider sends one.
    pub sid: Option<String>,
    /// What the provider granted us beside.
    pub tokens: ProviderTokens,
    /// The id of a message that works once, and until when it would be taken. What works once at
    /// the provider has none.
    pub once: Option<(String, Timestamp)>,
    /// The end of the person's session there, if the provider sends it.
    pub session_ends_at: Option<Timestamp>,
    /// The attributes that the provider sends only the first time: stored values stay.
    pub first_login_attributes: &'static [&'static str],
    /// Whether the provider refused a part of what it knows, so that an absent claim may be one
    /// that it keeps back.
    pub is_incomplete: bool,
}

impl ExternalIdentity {
    /// Returns an identity of which nothing else is known.
    pub fn new(
        issuer: String,
        subject: String,
        claims: serde_json::Map<String, serde_json::Value>,
        tokens: ProviderTokens,
    ) -> Self {
        Self {
            issuer,
            subject,
            claims,
            amr: Vec::new(),
            auth_time: None,
            sid: None,
            tokens,
            once: None,
            session_ends_at: None,
            first_login_attributes: &[],
            is_incomplete: false,
        }
    }
}

/// Renewed tokens, and the user's identity by them. The tokens before them
/// may have been used up: these must be kept, whatever came.
#[derive(Debug)]
pub struct Renewed {
    /// The tokens.
    pub tokens: ProviderTokens,
    /// The person.
    pub identity: Result<ExternalIdentity, ProviderError>,
}

/// Why a login at a provider failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProviderError {
    /// The provider does not answer: not the person's fault.
    #[error("the provider is not available: {0}")]
    Unavailable(String),
    /// The provider answers what cannot be read or used: not the person's fault, nor one that
    /// passes by itself.
    #[error("the provider's answer cannot be read: {0}")]
    Unreadable(String),
    /// The provider refused the person, or the person gave up: its error code (RFC 6749, section
    /// 4.1.2.1) and description.
    #[error("the provider refused: {code} {description}")]
    Refused {
        /// The registered error code.
        code: String,
        /// What the provider adds to it, for the log.
        description: String,
    },
    /// Too many messages wait to be verified: not the provider's fault, nor the person's.
    #[error("too many messages wait to be verified; try again later")]
    Overloaded,
    /// What came back fails a check; the name of the check, and what was wrong.
    #[error("the check `{check}` failed: {detail}")]
    Invalid {
        /// Which check.
        check: &'static str,
        /// What was wrong, for the log.
        detail: String,
    },
}

/// Maximum length of a logged detail.
const MAX_DETAIL_LENGTH: usize = 400;

impl ProviderError {
    fn invalid(check: &'static str, detail: impl fmt::Display) -> Self {
        // What came is quoted in it, and may be long.
        Self::Invalid { check, detail: detail.to_string().chars().take(MAX_DETAIL_LENGTH).collect() }
    }
}

/// What is known of the person that a provider is to authenticate.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoginHints<'a> {
    /// What was typed of who it is.
    pub login_hint: Option<&'a str>,
    /// Whether it is to be another account than the provider would choose by itself.
    pub other_account: bool,
}

/// An outside identity provider.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Sends a browser there. `state` comes back with it; `hint` is who the person may be, as typed
    /// (OpenID Connect Core 1.0, section 3.1.2.1, `login_hint`).
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] where the provider's metadata cannot be had.
    async fn begin(
        &self,
        redirect_uri: &str,
        state: &str,
        wish: LoginHints<'_>,
    ) -> Result<LoginStart, ProviderError>;

    /// Judges what the browser brought back.
    ///
    /// # Errors
    /// Any doubt is a refusal, named by the check that failed.
    async fn finish(&self, callback: Callback<'_>) -> Result<ExternalIdentity, ProviderError>;

    /// Renews `tokens`, which were granted for `account`, and what the provider says of the person
    /// (OpenID Connect Core 1.0, section 12).
    ///
    /// # Errors
    /// [`ProviderError::Refused`] where the provider does not vouch for the person any more; the
    /// tokens are as they were then.
    async fn renew(&self, tokens: &ProviderTokens, account: &Identity) -> Result<Renewed, ProviderError>;

    /// Where to send a browser to end its session at the provider, for which `tokens` were granted
    /// (OpenID Connect RP-Initiated Logout 1.0, section 2; SAML profiles, section 4.4); nowhere if
    /// the provider knows no such way. `state` comes back with it.
    async fn logout(&self, tokens: &ProviderTokens, back_to: &str, state: &str) -> Option<BrowserAction>;

    /// Judges a logout token that came from the provider itself (OpenID Connect Back-Channel Logout
    /// 1.0, section 2.6), but for whether it was seen before.
    ///
    /// # Errors
    /// Any doubt is a refusal, named by the check that failed.
    async fn logout_token(&self, token: &str) -> Result<LogoutToken, ProviderError>;

    /// Judges a logout message that a browser brought to our address `here` (SAML profiles, section
    /// 4.4), but for whether it was seen before.
    ///
    /// # Errors
    /// Any doubt is a refusal, named by the check that failed.
    async fn logout_message(
        &self,
        _: saml::LogoutBinding,
        _: &str,
    ) -> Result<saml::LogoutMessage, ProviderError> {
        Err(ProviderError::invalid("form", "this provider does not speak SAML"))
    }

    /// The answer to the logout request `id`, once its sessions have ended.
    async fn logout_answer(&self, _id: &str, _relay_state: &str) -> Option<BrowserAction> {
        None
    }

    /// What the provider is to know of us, where there is a form for that: our addresses for
    /// responses and for logout among it.
    fn own_metadata(&self, _acs: &str, _logout: &str) -> Option<Arc<str>> {
        None
    }

    /// Fetches the provider's metadata again; answers what an administrator should know of it, a
    /// line each.
    ///
    /// # Errors
    /// Where that fails; what was known stays.
    async fn refresh(&self) -> Result<Vec<String>, ProviderError>;

    /// Has what the provider publishes fetched again before it is next used, whatever its age.
    fn expire(&self) {}

    /// Has files that the configuration names read again before they are next used; answers whether
    /// there are any.
    fn expire_files(&self) -> bool {
        false
    }
}

/// The provider that `config` speaks of; `own` is how a SAML provider knows us.
///
/// # Panics
/// Where a SAML provider comes without it.
pub fn connect(
    config: &config::Provider,
    own: Option<saml::ServiceProvider>,
    outbound: ProviderHttpClient,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Arc<dyn Provider> {
    let outbound = outbound.trusting(config.ca.as_ref().map(|ca| ca.text.as_str()));
    match &config.kind {
        config::Kind::Oidc(settings) => {
            Arc::new(oidc::OidcProvider::new((**settings).clone(), outbound, clock, entropy))
        }
        config::Kind::OAuth2(settings) => {
            Arc::new(plain_oauth2::OAuth2::new((**settings).clone(), outbound, clock, entropy))
        }
        config::Kind::Saml(settings) => {
            let own = own.expect("invariant: a SAML provider has a service provider");
            Arc::new(saml::SamlProvider::new((**settings).clone(), own, outbound, clock, entropy))
        }
    }
}
