//! OpenID Connect Core 1.0, authorization code flow with PKCE.

mod demands;
mod id_token;
mod requests;
mod user_info;

use super::backchannel::{self, LogoutToken};
use super::claims::{
    SKEW, check_issuer, granted_tokens, joined, methods, normalize_email_verified, payload, sid_of,
    subject_of,
};
use super::metadata::{MetadataCache, PublishedMetadata};
use super::token_response::GrantedTokens;
use super::{
    BrowserAction, Callback, ExternalIdentity, LoginHints, LoginStart, LoginState, Provider, ProviderError,
    ProviderHttpClient, Renewed,
};
use crate::base::{Clock, Entropy, RandomToken, Timestamp};
use crate::config;
use crate::jose::authenticated_at;
use crate::model::{Identity, ProviderTokens};
use async_trait::async_trait;
use demands::check_demands;
use openidconnect::core::CoreAuthenticationFlow;
use openidconnect::{
    CsrfToken, LoginHint, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, Scope,
};
use serde_json::{Map, Value};
use std::sync::Arc;
use user_info::{PROFILE, UserInfo};

/// An OpenID provider, seen by its relying party.
pub struct OidcProvider {
    settings: config::Oidc,
    metadata: MetadataCache,
    outbound: ProviderHttpClient,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl OidcProvider {
    pub fn new(
        settings: config::Oidc,
        outbound: ProviderHttpClient,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let metadata = MetadataCache::new(&settings, outbound.clone(), clock.clone());
        Self { settings, metadata, outbound, clock, entropy }
    }

    /// What the provider says of the person after a refresh.
    async fn renewed_identity(
        &self,
        published: &PublishedMetadata,
        answer: &GrantedTokens,
        before: &ProviderTokens,
        account: &Identity,
    ) -> Result<ExternalIdentity, ProviderError> {
        let now = self.clock.now();
        // Claims that only an ID token carries stay as the last one had them, where none comes.
        let mut claims = match answer.id_token() {
            Some(id_token) => {
                let (issuer, claims) = self.verified(published, id_token.expose(), None, now).await?;
                if issuer != account.issuer {
                    return Err(ProviderError::invalid(
                        "issuer",
                        "the renewed ID token is of another issuer",
                    ));
                }
                claims
            }
            None => before.id_token.as_ref().and_then(|token| payload(token.expose())).unwrap_or_default(),
        };
        // OpenID Connect Core 1.0, section 12.2: "its sub Claim Value MUST be the same as in the ID
        // Token issued when the original authentication occurred".
        if subject_of(&claims, self.settings.quirks.subject)? != account.subject {
            return Err(ProviderError::invalid("sub", "the renewed ID token is another person's"));
        }
        normalize_email_verified(&mut claims, self.settings.quirks.verified);
        let mut is_incomplete = false;
        match self.user_info(published, answer.access_token(), &claims, now).await? {
            UserInfo::None => {}
            UserInfo::Refused => is_incomplete = true,
            UserInfo::Claims(more) => {
                claims = match answer.id_token() {
                    Some(_) => joined(claims, more),
                    None => joined(more, claims),
                };
            }
        }
        let tokens = self.granted(answer, Some(before), now);
        // A renewal authenticates nobody: the session keeps the time that it has.
        let (issuer, subject) = (account.issuer.clone(), account.subject.clone());
        let identity = self.identity(issuer, subject, claims, tokens, None);
        // What the provider said of the person before stays, as long as it refuses to say it again.
        let told_once = if is_incomplete { &PROFILE } else { identity.first_login_attributes };
        Ok(ExternalIdentity { is_incomplete, first_login_attributes: told_once, ..identity })
    }

    fn granted(
        &self,
        answer: &GrantedTokens,
        before: Option<&ProviderTokens>,
        now: Timestamp,
    ) -> ProviderTokens {
        granted_tokens(answer, before, self.settings.quirks.lifetime, now)
    }

    fn identity(
        &self,
        issuer: String,
        subject: String,
        claims: Map<String, Value>,
        tokens: ProviderTokens,
        auth_time: Option<Timestamp>,
    ) -> ExternalIdentity {
        ExternalIdentity {
            amr: methods(&claims),
            auth_time,
            sid: sid_of(&claims),
            first_login_attributes: if self.settings.quirks.name_once { &FIRST_LOGIN_CLAIMS } else { &[] },
            ..ExternalIdentity::new(issuer, subject, claims, tokens)
        }
    }
}

/// Claims that some providers send only the first time.
const FIRST_LOGIN_CLAIMS: [&str; 3] = ["name", "given_name", "family_name"];

/// Apple's `user`, which the browser brings beside the code the first time: the names that the
/// person chose. Nobody has signed it, so nothing else is taken from it.
fn first_login_names(user: &str) -> Option<Map<String, Value>> {
    let user: Value = serde_json::from_str(user).ok()?;
    let name = |path: &str| user.pointer(path).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let (given, family) = (name("/name/firstName"), name("/name/lastName"));
    let whole = format!("{given} {family}").trim().to_owned();
    let names =
        FIRST_LOGIN_CLAIMS.into_iter().zip([whole, given, family]).filter(|(_, text)| !text.is_empty());
    Some(names.map(|(name, text)| (name.to_owned(), text.into())).collect())
}

#[async_trait]
impl Provider for OidcProvider {
    async fn begin(
        &self,
        redirect_uri: &str,
        state: &str,
        wish: LoginHints<'_>,
    ) -> Result<LoginStart, ProviderError> {
        let published = self.metadata.get().await?;
        let (client, _) = self.client(&published.document, Some(redirect_uri))?;
        let (ours, quirks) = (&self.settings.client, &self.settings.quirks);
        let pending = LoginState {
            nonce: RandomToken::random(&*self.entropy).text(),
            code_verifier: RandomToken::random(&*self.entropy).text(),
        };
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(
            pending.code_verifier.clone(),
        ));
        let (state, nonce) = (state.to_owned(), pending.nonce.clone());
        let mut request = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .add_scopes(ours.scopes.iter().filter(|s| *s != "openid").cloned().map(Scope::new));
        if quirks.pkce {
            request = request.set_pkce_challenge(challenge);
        }
        if quirks.form_post {
            request = request.add_extra_param("response_mode", "form_post");
        }
        for (name, value) in &ours.parameters {
            request = request.add_extra_param(name, value);
        }
        // OpenID Connect Core 1.0, section 3.1.2.1. What the file says of it goes before.
        if wish.other_account && !ours.parameters.iter().any(|(name, _)| name == "prompt") {
            request = request.add_extra_param("prompt", quirks.account_prompt);
        }
        if let Some(hint) = wish.login_hint {
            request = request.set_login_hint(LoginHint::new(hint.to_owned()));
        }
        let (redirect, ..) = request.url();
        Ok(LoginStart { action: BrowserAction::Redirect(redirect), pending })
    }

    async fn finish(&self, callback: Callback<'_>) -> Result<ExternalIdentity, ProviderError> {
        let pending =
            callback.pending.ok_or_else(|| ProviderError::invalid("state", "nobody asked for this login"))?;
        let published = self.metadata.get().await?;
        let quirks = &self.settings.quirks;
        let iss = callback.parameters.get("iss");
        check_issuer(&self.settings.issuer, quirks.issuer_aliases, &published.document, iss)?;
        callback.refusal()?;

        let client = self.client(&published.document, Some(callback.redirect_uri))?;
        let answer = self.redeem(&client, &callback, pending).await?;
        let id_token = answer
            .id_token()
            .ok_or_else(|| ProviderError::invalid("id token", "the token endpoint sent none"))?
            .expose();
        let (now, nonce) = (self.clock.now(), quirks.nonce.then_some(pending.nonce.as_str()));
        let (issuer, mut claims) = self.verified(&published, id_token, nonce, now).await?;
        check_demands(&self.settings.client.demands, &claims, callback.started_at.unwrap_or(now))?;
        // Who does not promise to say the nonce again may say it all the same.
        if !quirks.nonce && claims.get("nonce").is_some_and(|nonce| nonce.as_str() != Some(&pending.nonce)) {
            return Err(ProviderError::invalid("nonce", "it is another login's"));
        }
        let subject = subject_of(&claims, quirks.subject)?;
        normalize_email_verified(&mut claims, quirks.verified);
        let mut is_incomplete = false;
        match self.user_info(&published, answer.access_token(), &claims, now).await? {
            UserInfo::None => {}
            UserInfo::Refused => is_incomplete = true,
            UserInfo::Claims(more) => claims = joined(claims, more),
        }
        if quirks.name_once
            && let Some(names) = callback.parameters.get("user").and_then(|user| first_login_names(user))
        {
            claims = joined(claims, names);
        }
        let auth_time = authenticated_at(&claims, now, SKEW);
        let tokens = self.granted(&answer, None, now);
        Ok(ExternalIdentity { is_incomplete, ..self.identity(issuer, subject, claims, tokens, auth_time) })
    }

    async fn renew(&self, tokens: &ProviderTokens, account: &Identity) -> Result<Renewed, ProviderError> {
        let refresh_token = tokens
            .refresh_token
            .as_ref()
            .ok_or_else(|| ProviderError::invalid("refresh token", "there is none"))?;
        let published = self.metadata.get().await?;
        let client = self.client(&published.document, None)?;
        let answer = self.refresh_grant(&client, refresh_token).await?;
        let renewed = self.granted(&answer, Some(tokens), self.clock.now());
        let identity = self.renewed_identity(&published, &answer, tokens, account).await;
        Ok(Renewed { tokens: renewed, identity })
    }

    async fn logout(&self, tokens: &ProviderTokens, back_to: &str, state: &str) -> Option<BrowserAction> {
        let document = &self.metadata.get().await.ok()?.document;
        let mut url = document.end_session_endpoint.clone()?;
        let mut query = url.query_pairs_mut();
        if let Some(token) = &tokens.id_token {
            query.append_pair("id_token_hint", token.expose());
        }
        query
            .append_pair("client_id", &self.settings.client.id)
            .append_pair("post_logout_redirect_uri", back_to)
            .append_pair("state", state);
        drop(query);
        Some(BrowserAction::Redirect(url))
    }

    async fn logout_token(&self, token: &str) -> Result<LogoutToken, ProviderError> {
        let audience = &self.settings.client.id;
        let judge = |published: &PublishedMetadata| {
            backchannel::verify_logout_token(token, &published.document, audience, self.clock.now())
        };
        let judged = judge(&*self.metadata.get().await?);
        if !matches!(judged, Err(ProviderError::Invalid { check: "signature", .. })) {
            return judged;
        }
        judge(&*self.metadata.after_unknown_key().await?)
    }

    async fn refresh(&self) -> Result<Vec<String>, ProviderError> {
        let published = self.metadata.get().await?;
        // A key that cannot sign is reported before the first login.
        self.client(&published.document, None).map(|_| Vec::new())
    }

    fn expire(&self) {
        self.metadata.expire();
    }
}
