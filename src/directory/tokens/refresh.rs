//! Refresh tokens: new tokens, their scope, their end.

use super::{
    API_SCOPE, GrantClaims, IssuedTokens, OF_API, TokenService, check_proof, current_user, granted_scope,
    groups, not_authorized,
};
use crate::directory::error::{DirectoryError, ErrorKind, Outcome};
use crate::directory::events::TokenSource;
use crate::directory::sender::Sender;
use crate::model::{AppClient, AppClientSettings, User};
use crate::store::{CheckedWork, RefreshFamily};
use crate::token::{Proof, RefreshError, TokenOverrides, TokenSubject};

/// The entry of `ExplicitAuthFlows` that allows `REFRESH_TOKEN_AUTH`.
const REFRESH_FLOW: &str = "ALLOW_REFRESH_TOKEN_AUTH";

/// How a client refreshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshFlow<'a> {
    /// `InitiateAuth` with `REFRESH_TOKEN_AUTH`, which a client with rotation may not use.
    InitiateAuth,
    /// `GetTokensFromRefreshToken`.
    Tokens,
    /// The token endpoint, with the proof of the client's key.
    Endpoint(Option<&'a Proof>),
}

impl TokenService {
    /// Issues new tokens for a refresh token.
    ///
    /// # Errors
    /// Returns `NotAuthorizedException` for a token that is not valid, or of a user who was
    /// disabled; `RefreshTokenReuseException` for one that was used before, which ends the family.
    pub async fn refresh(
        &self,
        sender: Sender<'_>,
        issuer: &str,
        token: &str,
        flow: RefreshFlow<'_>,
    ) -> Outcome<IssuedTokens> {
        check_flow(sender.client, flow)?;
        let proof = match flow {
            RefreshFlow::Endpoint(proof) => proof,
            RefreshFlow::InitiateAuth | RefreshFlow::Tokens => None,
        };
        check_proof(sender.client, proof.is_some())?;
        let keys = self.signing_keys(sender.pool).await?;
        let overrides = self.refresh_overrides(sender, token).await?;
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        let refresh_tokens = self.refresh_tokens(&sender);
        let redeemed = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                // Committed also with an error: it ends the family.
                let refreshed = match refresh_tokens.redeem(tx, token, proof, now, entropy).await? {
                    Ok(refreshed) => refreshed,
                    Err(error) => return Ok(Err(error)),
                };
                let device = sender.device_key.filter(|_| !refreshed.family.device_key.is_empty());
                if device.is_some_and(|key| key != refreshed.family.device_key) {
                    return Err(not_authorized("Invalid Refresh Token"));
                }
                let user = current_user(tx, refreshed.family.user_no).await?;
                let groups = groups(tx, sender.pool, &user).await?;
                Ok(Ok((user, groups, refreshed)))
            })
        });
        let redeemed = redeemed.await?;
        if let Err(RefreshError::Reused) = redeemed {
            let (client_id, pool) = (&*sender.client.id, &*sender.pool.id);
            tracing::warn!(target: "audit", event = "refresh_token_reused", client_id, pool);
        }
        let (user, groups, refreshed) = redeemed.map_err(refused)?;
        let subject = TokenSubject { client: sender.client, user: &user, groups: &groups };
        let scope = remaining_scope(&refreshed.family.scope, &sender.client.settings)?;
        let family = RefreshFamily { scope, ..refreshed.family };
        let key = proof.map(|proof| &*proof.thumbprint);
        let claims = GrantClaims { issuer, key, overrides: overrides.as_ref(), ..GrantClaims::default() };
        let tokens = self.tokens(&keys, subject, claims, &family, now)?;
        Ok(IssuedTokens { tokens, refresh_token: refreshed.next, scope: family.scope })
    }

    /// Returns the changes of the new tokens by a function of the pool. It is asked before the
    /// rotation: its failure must leave the refresh token valid.
    async fn refresh_overrides(&self, sender: Sender<'_>, token: &str) -> Outcome<Option<TokenOverrides>> {
        if !self.events.changes_tokens(sender.pool) {
            return Ok(None);
        }
        let Some(id) = self.refresh_tokens(&sender).family_id(token) else { return Ok(None) };
        let Some(family) = self.store.refresh_family(&id).await? else { return Ok(None) };
        let Some(user) = self.store.user_by_number(family.user_no).await? else { return Ok(None) };
        let scope = remaining_scope(&family.scope, &sender.client.settings)?;
        self.overrides(sender, TokenSource::RefreshTokens, &user, &scope).await
    }

    /// Returns the user of a refresh token, if the token's family has not ended.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn user_of_refresh_token(&self, sender: Sender<'_>, token: &str) -> Outcome<Option<User>> {
        let Some(id) = self.refresh_tokens(&sender).family_id(token) else { return Ok(None) };
        let Some(family) = self.store.refresh_family(&id).await? else { return Ok(None) };
        Ok(self.store.user_by_number(family.user_no).await?)
    }

    /// Returns the scopes of a refresh token, separated by spaces, if its family has not ended.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn scope_of_refresh_token(&self, sender: Sender<'_>, token: &str) -> Outcome<Option<String>> {
        let Some(id) = self.refresh_tokens(&sender).family_id(token) else { return Ok(None) };
        let family = self.store.refresh_family(&id).await?;
        Ok(family.map(|family| granted_scope(&family.scope).to_owned()))
    }

    /// Ends the family of a refresh token, with its access tokens (RFC 7009). A token that is
    /// unknown or has ended is no error (section 2.2: "invalid tokens do not cause an error
    /// response").
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn revoke(&self, sender: Sender<'_>, token: &str) -> Outcome<()> {
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        let refresh_tokens = self.refresh_tokens(&sender);
        let revoked = self
            .store
            .transaction(|tx| Box::pin(async move { refresh_tokens.revoke(tx, token, now, entropy).await }));
        drop(revoked.await?);
        Ok(())
    }
}

/// Returns the granted scopes that the client still has. A sign-in at the API grants none of them.
///
/// # Errors
/// Returns `NotAuthorizedException` if the client may not use its grants any more, or none is left.
fn remaining_scope(granted: &str, settings: &AppClientSettings) -> Outcome<String> {
    if granted == OF_API {
        return Ok(API_SCOPE.to_owned());
    }
    let is_allowed = |scope: &&str| settings.allowed_oauth_scopes.iter().any(|allowed| allowed == scope);
    let remaining: Vec<&str> = granted.split(' ').filter(is_allowed).collect();
    match settings.may_use_oauth() && !remaining.is_empty() {
        true => Ok(remaining.join(" ")),
        false => Err(not_authorized("Refresh Token has been revoked")),
    }
}

/// Checks that a client may refresh in this way.
fn check_flow(client: &AppClient, flow: RefreshFlow<'_>) -> Outcome<()> {
    let settings = &client.settings;
    let is_allowed = match flow {
        RefreshFlow::InitiateAuth => settings.rotation.is_none() && settings.allows_auth_flow(REFRESH_FLOW),
        RefreshFlow::Tokens | RefreshFlow::Endpoint(_) => {
            settings.rotation.is_some() || settings.allows_auth_flow(REFRESH_FLOW)
        }
    };
    match is_allowed {
        true => Ok(()),
        false => Err(DirectoryError::invalid("REFRESH_TOKEN_AUTH flow not enabled for this client")),
    }
}

fn refused(error: RefreshError) -> DirectoryError {
    match error {
        RefreshError::Key => not_authorized("Refresh Token is bound to a key"),
        RefreshError::ProofReused => ErrorKind::ProofRefused.into(),
        RefreshError::Invalid => not_authorized("Invalid Refresh Token"),
        RefreshError::Expired => not_authorized("Refresh Token has expired"),
        RefreshError::Revoked => not_authorized("Refresh Token has been revoked"),
        RefreshError::Reused => ErrorKind::RefreshTokenReuse.into(),
    }
}
