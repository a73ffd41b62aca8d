//! Logout in both directions: ours sent to the provider by the browser, and the provider's sent to
//! us behind its back.

use super::{Broker, LoginError};
use crate::base::{base64url_encode, sha256};
use crate::catalogue::Catalogue;
use crate::model::{ProviderTokens, Session};
use crate::provider::{BrowserAction, LogoutToken};
use crate::store::{ReplayKey, Tx};

/// Where a provider sends browsers back to after a logout; registered there.
pub fn post_logout_uri(catalogue: &Catalogue) -> String {
    catalogue.config.public_url.join("/logout")
}

/// The longest `sid` that is stored as it is.
const MAX_STORED_SID: usize = 255;

/// What the store keeps of a provider's `sid`: one that is long, or no text for a database, is
/// hashed, so that its sessions are found all the same.
pub(super) fn sid_key(sid: &str) -> String {
    match sid.len() <= MAX_STORED_SID && !sid.contains(char::is_control) {
        true => sid.to_owned(),
        false => format!("sha-256:{}", base64url_encode(sha256(sid))),
    }
}

/// A session that was ended just now.
#[derive(Debug)]
pub struct EndedSession {
    /// The session.
    pub session: Session,
    /// What names the person's session at the provider, if anything does.
    pub tokens: Option<ProviderTokens>,
}

impl Broker {
    /// Where to send a browser whose session was ended, to end the one at the provider too; nowhere
    /// where the provider knows no such way, or the file does not want it. `state` comes back.
    pub async fn logout(
        &self,
        catalogue: &Catalogue,
        ended: &EndedSession,
        state: &str,
    ) -> Option<BrowserAction> {
        let entry = self.entry(&ended.session.provider).ok().filter(|entry| entry.config.logout)?;
        entry.provider.logout(ended.tokens.as_ref()?, &post_logout_uri(catalogue), state).await
    }

    /// Ends the sessions of which the provider `name` says by `token` that they are over.
    ///
    /// # Errors
    /// Where the token is refused, was used before, or the store does not answer.
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

    /// Ends the sessions that a provider's message names, which works once.
    pub(super) async fn end_named_sessions(
        &self,
        catalogue: &Catalogue,
        name: &str,
        logout_token: &LogoutToken,
    ) -> Result<Vec<Session>, LoginError> {
        // Anybody's issuer may use anybody's jti.
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
                        // A session of whose place there we know nothing may be the one that is
                        // meant.
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

/// Ends a session, and answers what is needed to end the one at the provider; nothing where it had
/// ended already.
///
/// # Errors
/// Where the store does not answer.
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
