//! SAML logins and logouts. A login takes two steps, because browsers send only the attempt's
//! cookie with a cross-site form POST.

use super::saml_keys::SamlKeyError;
use super::{ATTEMPT_LIFETIME, Broker, CallbackInput, LoginAttempts, LoginError, seal_context};
use crate::base::{Secret, Timestamp, base64url_encode, sha256};
use crate::catalogue::Catalogue;
use crate::config::{self, Kind};
use crate::directory::Directory;
use crate::model::{ProviderTokens, Session};
use crate::provider::saml::{LogoutBinding, LogoutMessage, ServiceProvider};
use crate::provider::{BrowserAction, Callback, ExternalIdentity, LoginState, ProviderError};
use crate::store::{ReplayKey, StoreError};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// The input of a SAML response, sent by form POST.
#[derive(Debug)]
pub struct SamlPost<'a> {
    /// The fields of the form.
    pub parameters: &'a HashMap<String, String>,
    /// The attempt's id from the relay state; empty or foreign for an IdP-initiated login.
    pub id: &'a str,
    /// The attempt from the browser's cookie, if present.
    pub login: Option<super::Login>,
}

/// A validated login, which the browser's next request completes.
#[derive(Debug)]
pub struct ValidatedLogin {
    /// The attempt's id.
    pub id: String,
    /// The sealed attempt, if the login is IdP-initiated and its attempt is new.
    pub sealed: Option<String>,
}

/// The result of a provider's logout message.
#[derive(Debug)]
pub enum LogoutOutcome {
    /// A logout request: the ended sessions, and the logout response to send.
    Ended(Vec<Session>, Option<BrowserAction>),
    /// The response to a logout request of Narthex.
    Answered {
        /// The relay state of the request.
        relay_state: String,
        /// Whether the provider ended all sessions.
        success: bool,
    },
}

/// The stored form of a validated login.
#[derive(Serialize, Deserialize)]
struct StoredLogin {
    issuer: String,
    subject: String,
    claims: serde_json::Map<String, serde_json::Value>,
    amr: Vec<String>,
    auth_time: Option<i64>,
    sid: Option<String>,
    name_id: Option<String>,
    session_ends_at: Option<i64>,
}

impl StoredLogin {
    fn of(external: ExternalIdentity) -> Self {
        Self {
            issuer: external.issuer,
            subject: external.subject,
            claims: external.claims,
            amr: external.amr,
            auth_time: external.auth_time.map(Timestamp::millis),
            sid: external.sid,
            name_id: external.tokens.name_id.map(|name_id| name_id.expose().to_owned()),
            session_ends_at: external.session_ends_at.map(Timestamp::millis),
        }
    }

    fn external(self, now: Timestamp) -> ExternalIdentity {
        let tokens = ProviderTokens::of_assertion(Secret::new(self.name_id.unwrap_or_default()), now);
        ExternalIdentity {
            amr: self.amr,
            auth_time: self.auth_time.map(Timestamp::from_millis),
            sid: self.sid,
            session_ends_at: self.session_ends_at.map(Timestamp::from_millis),
            ..ExternalIdentity::new(self.issuer, self.subject, self.claims, tokens)
        }
    }
}

impl Broker {
    /// Returns Narthex's service provider for the SAML provider `config`, or `None` for another
    /// kind of provider.
    pub(super) async fn own(
        &self,
        catalogue: &Catalogue,
        config: &config::Provider,
    ) -> Result<Option<ServiceProvider>, SamlKeyError> {
        let Kind::Saml(settings) = &config.kind else { return Ok(None) };
        let entity_id = settings.entity_id.clone().unwrap_or_else(|| entity_id(&catalogue.pool.id));
        Ok(Some(ServiceProvider { entity_id, keys: self.saml_keys.get().await? }))
    }

    /// Validates a SAML response, and stores the result for the browser's next request.
    ///
    /// # Errors
    /// Returns an error if any check fails. Nothing is then stored.
    pub async fn validate_saml_response(
        &self,
        catalogue: &Catalogue,
        name: &str,
        posted: SamlPost<'_>,
    ) -> Result<ValidatedLogin, LoginError> {
        let SamlPost { parameters, id, login } = posted;
        let entry = self.entry(name)?;
        let Kind::Saml(settings) = &entry.config.kind else { return Err(LoginError::NoSuchProvider) };
        // Any site can make a browser send an unsolicited response (login CSRF).
        if login.is_none() && !settings.idp_init {
            // A relay state in the form of an attempt's id belongs to a request of Narthex whose
            // cookie is missing.
            return Err(match LoginAttempts::started_at(id) {
                Some(_) => LoginError::NoAttempt,
                None => LoginError::Unsolicited,
            });
        }
        if login.as_ref().is_some_and(|login| login.provider != name) {
            return Err(LoginError::OtherProvider);
        }
        let redirect_uri = super::callback_url(catalogue, &entry.config);
        let pending = login.as_ref().map(|login| &login.pending);
        let begun_at = login.as_ref().and_then(|_| LoginAttempts::started_at(id));
        let callback = Callback { parameters, redirect_uri: &redirect_uri, pending, started_at: begun_at };
        let external = entry.provider.finish(callback).await.map_err(LoginError::Provider)?;
        let Some((once, usable_until)) = external.once.clone() else {
            return Err(LoginError::Provider(ProviderError::Invalid {
                check: "id",
                detail: "what came has no id by which it would work once".into(),
            }));
        };
        // Two providers may use the same id.
        let used = base64url_encode(sha256(format!("{}\n{once}", external.issuer)));
        let (id, sealed) = match login {
            Some(_) => (id.to_owned(), None),
            None => self.unsolicited_attempt(catalogue, name),
        };
        let plain = serde_json::to_vec(&StoredLogin::of(external))
            .map_err(|error| LoginError::Store(StoreError::Corrupt(error.to_string())))?;
        let plain = zeroize::Zeroizing::new(plain);
        // The clock of the node that deletes expired ids may be ahead of this node's.
        let remembered_until = usable_until.plus(ATTEMPT_LIFETIME);
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        let first = self
            .store
            .transaction(|tx| {
                let (used, id, plain) = (&used, &id, &plain);
                Box::pin(async move {
                    if !tx.use_once(ReplayKey::Assertion, used, remembered_until).await? {
                        return Ok(false);
                    }
                    tx.save_validated_login(id, plain, now.plus(ATTEMPT_LIFETIME), entropy).await?;
                    Ok(true)
                })
            })
            .await?;
        match first {
            true => Ok(ValidatedLogin { id, sealed }),
            false => Err(LoginError::Provider(ProviderError::Invalid {
                check: "replay",
                detail: "the assertion was used before".into(),
            })),
        }
    }

    /// Returns the id and the cookie of an attempt for an IdP-initiated login of the provider
    /// `name`.
    fn unsolicited_attempt(&self, catalogue: &Catalogue, name: &str) -> (String, Option<String>) {
        let id = self.attempts.new_id(catalogue.config.public_url.host().as_str());
        let pending = LoginState { nonce: String::new(), code_verifier: String::new() };
        let login = super::Login { provider: name.to_owned(), pending, request: None };
        let sealed = self.attempts.seal(&seal_context(catalogue), &id, &login);
        (id, Some(sealed))
    }

    /// Creates a session from a login that [`Broker::validate_saml_response`] stored.
    ///
    /// # Errors
    /// Returns the errors of [`Broker::finish`], or [`LoginError::NoAttempt`] if no such login is
    /// stored.
    pub async fn resume_saml_login(
        &self,
        (catalogue, directory): (&Catalogue, &Directory),
        name: &str,
        returned: CallbackInput<'_>,
    ) -> Result<super::CompletedLogin, LoginError> {
        let entry = self.entry(name)?;
        if returned.login.provider != name {
            return Err(LoginError::OtherProvider);
        }
        let (id, now) = (returned.id, self.clock.now());
        let plain = self
            .store
            .transaction(|tx| Box::pin(async move { tx.validated_login(id, now).await }))
            .await?
            .ok_or(LoginError::NoAttempt)?;
        let kept: StoredLogin = serde_json::from_slice(&plain)
            .map_err(|error| LoginError::Store(StoreError::Corrupt(error.to_string())))?;
        self.establish_session((catalogue, directory), &entry, returned, kept.external(now)).await
    }

    /// Validates a logout message of the provider `name`, and ends the sessions that it identifies.
    ///
    /// # Errors
    /// Returns an error if the message is invalid or was used before, or if the database fails.
    pub async fn logout_message(
        &self,
        catalogue: &Catalogue,
        name: &str,
        arrived: LogoutBinding,
    ) -> Result<LogoutOutcome, LoginError> {
        let entry = self.entry(name)?;
        let here = logout_url(catalogue, name);
        match entry.provider.logout_message(arrived, &here).await.map_err(LoginError::Provider)? {
            LogoutMessage::Response { relay_state, success } => {
                Ok(LogoutOutcome::Answered { relay_state, success })
            }
            LogoutMessage::Request { token, id, relay_state } => {
                let ended = self.end_named_sessions(catalogue, name, &token).await?;
                Ok(LogoutOutcome::Ended(ended, entry.provider.logout_answer(&id, &relay_state).await))
            }
        }
    }

    /// Returns Narthex's service provider metadata (XML) for the SAML provider `name`, or `None` if
    /// there is no such provider.
    pub fn saml_metadata(&self, catalogue: &Catalogue, name: &str) -> Option<Arc<str>> {
        let entry = self.entry(name).ok()?;
        let acs = super::callback_url(catalogue, &entry.config);
        entry.provider.own_metadata(&acs, &logout_url(catalogue, name))
    }
}

/// Returns the entity id of a user pool as a service provider, in Cognito's form.
pub fn entity_id(pool_id: &str) -> String {
    format!("urn:amazon:cognito:sp:{pool_id}")
}

/// Returns the URL for logout messages of the SAML provider `name`, which is registered there.
pub fn logout_url(catalogue: &Catalogue, name: &str) -> String {
    catalogue.config.public_url.join(&format!("/saml2/logout/{name}"))
}
