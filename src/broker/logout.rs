//! Logout in both directions: at the provider through the browser, and from the provider through
//! the back channel.

use super::{Broker, LoginError};
use crate::base::{base64url_encode, sha256};
use crate::catalogue::Catalogue;
use crate::model::{ProviderTokens, Session};
use crate::provider::{BrowserAction, LogoutToken};
use crate::store::{ReplayKey, Tx};

/// Returns the URL to which a provider redirects browsers after a logout. It is registered at the
/// provider.
pub fn post_logout_uri(catalogue: &Catalogue) -> String {
    catalogue.config.public_url.join("/logout")
}

/// Maximum length of a `sid` that is stored unhashed, in bytes.
const MAX_STORED_SID: usize = 255;

/// Returns the stored form of a provider's `sid`. A long `sid`, or one with control characters, is
/// hashed, so that its sessions can still be found.
pub(super) fn sid_key(sid: &str) -> String {
    match sid.len() <= MAX_STORED_SID && !sid.contains(char::is_control) {
        true => sid.to_owned(),
        false => format!("sha-256:{}", base64url_encode(sha256(sid))),
    }
}

/// A session that has ended.
#[derive(Debug)]
pub struct EndedSession {
    /// The session.
    pub session: Session,
    /// The tokens that identify the user's session at the provider, if any.
    pub tokens: Option<ProviderTokens>,
}

impl Broker {
    /// Returns the action by which the browser ends the session at the provider too. Returns `None`
    /// if the provider does not support logout, or the configuration disables it. The provider
    /// returns `state`.
    pub async fn logout(
        &self,
        catalogue: &Catalogue,
        ended: &EndedSession,
        state: &str,
    ) -> Option<BrowserAction> {
        let entry = self.entry(&ended.session.provider).ok().filter(|entry| entry.config.logout)?;
        entry.provider.logout(ended.tokens.as_ref()?, &post_logout_uri(catalogue), state).await
    }

    /// Ends the sessions that `token`, a logout token of the provider `name`, identifies. Returns
    /// the ended sessions.
    ///
    /// # Errors
    /// Returns an error if the token is invalid or was used before, or if the database fails.
    pub async fn backchannel_logout(
        &self,
        catalogue: &Catalogue,
        name: &str,
        token: &str,
    ) -> Result<Vec<Session>, LoginError> {
        let entry = self.entry(name)?;
        let logout_token = entry.provider.logout_token(token).await.map_err(LoginError::Provider)?;
        self.end_named_sessions(catalogue, name, &logout_token).await
    }

    /// Ends the sessions that a provider's logout message identifies. Rejects a repeated message.
    pub(super) async fn end_named_sessions(
        &self,
        catalogue: &Catalogue,
        name: &str,
        logout_token: &LogoutToken,
    ) -> Result<Vec<Session>, LoginError> {
        // Two issuers may use the same `jti`, so the key includes the issuer.
        let id = base64url_encode(sha256(format!("{}\n{}", logout_token.issuer, logout_token.jti)));
        let (entropy, pool_id) = (&*self.entropy, &catalogue.pool.id);
        self.store
            .transaction(|tx| {
                let id = &id;
                Box::pin(async move {
                    let until = logout_token.expires_at.plus(super::ATTEMPT_LIFETIME);
                    if !tx.use_once(ReplayKey::LogoutToken, id, until).await? {
                        return Ok(Err(LoginError::Used));
                    }
                    let user = match &logout_token.subject {
                        Some(subject) => tx.user_by_identity(pool_id, &logout_token.issuer, subject).await?,
                        None => None,
                    };
                    let mut sessions = match &user {
                        Some(user) => tx.sessions_of(&user.id).await?,
                        None => Vec::new(),
                    };
                    if !logout_token.sids.is_empty() {
                        // The message may identify a session whose `sid` at the provider is
                        // unknown.
                        sessions.retain(|session| session.provider_sid.is_empty());
                    }
                    for sid in &logout_token.sids {
                        sessions.extend(tx.sessions_by_provider_sid(name, &sid_key(sid)).await?);
                    }
                    let meant = |session: &Session| {
                        let of_user = user.as_ref().is_some_and(|user| user.id == session.user_id);
                        session.provider == name && (of_user || logout_token.subject.is_none())
                    };
                    let mut ended = Vec::new();
                    for session in sessions.into_iter().filter(meant) {
                        tx.end_session(&session.id, entropy).await?;
                        ended.push(session);
                    }
                    Ok(Ok(ended))
                })
            })
            .await?
    }
}

/// Ends a session. Returns the data to end the session at the provider too, or `None` if the
/// session had already ended.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn end_session(
    tx: &mut Tx<'_>,
    sid: &str,
    entropy: &dyn crate::base::Entropy,
) -> crate::store::Result<Option<EndedSession>> {
    let Some(session) = tx.session(sid).await? else { return Ok(None) };
    let tokens = tx.provider_tokens(sid).await?;
    tx.end_session(sid, entropy).await?;
    Ok(Some(EndedSession { session, tokens: tokens.map(|stored| stored.tokens) }))
}
