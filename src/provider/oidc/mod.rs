//! OpenID Connect Core 1.0, authorization code flow with PKCE.

mod demands;
mod id_token;

use super::backchannel::{self, LogoutToken};
use super::claims::{
    SKEW, check_issuer, granted, joined, methods, payload, sid_of, subject_of, tell_verified,
};
use super::client;
use super::metadata::{Document, Metadata, Published};
use super::{Begun, Callback, ExternalIdentity, Onward, Outbound, Pending, Provider, ProviderError, Renewed};
use crate::base::{Clock, Entropy, Secret, Timestamp, Token};
use crate::config::{self, ClientAuth};
use crate::jose::authenticated_at;
use crate::model::{Identity, ProviderTokens};
use async_trait::async_trait;
use demands::check_demands;
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreTokenResponse};
use openidconnect::{
    AccessToken, AuthType, ClientId, CsrfToken, EndpointMaybeSet, EndpointNotSet, EndpointSet, LoginHint,
    Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RefreshToken, Scope, TokenResponse,
};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A code that cannot be redeemed, or tokens that cannot be renewed, for want of an address.
fn lacking(error: impl std::fmt::Display) -> ProviderError {
    ProviderError::Unavailable(format!("its discovery document lacks something: {error}"))
}

type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// An OpenID provider, seen by its relying party.
pub struct OpenId {
    settings: config::Oidc,
    metadata: Metadata,
    outbound: Outbound,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl OpenId {
    pub fn new(
        settings: config::Oidc,
        outbound: Outbound,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let metadata = Metadata::new(settings.issuer.clone(), outbound.clone(), clock.clone());
        Self { settings, metadata, outbound, clock, entropy }
    }

    fn client(&self, document: &Document, redirect_uri: Option<&str>) -> Result<Client, ProviderError> {
        let ours = &self.settings.client;
        let secret = client::secret(ours, document.issuer(), self.clock.now())?;
        // RFC 6749, section 2.3.1: Basic is the way every server must know; OpenID Connect Discovery
        // 1.0, section 3: it is also what a document without the list means.
        let auth_type = match self.settings.quirks.client_auth {
            ClientAuth::Basic => AuthType::BasicAuth,
            ClientAuth::Post => AuthType::RequestBody,
            ClientAuth::AsMetadataSays => match document.token_endpoint_auth_methods_supported() {
                Some(methods) if !methods.contains(&CoreClientAuthMethod::ClientSecretBasic) => {
                    AuthType::RequestBody
                }
                _ => AuthType::BasicAuth,
            },
        };
        let client =
            CoreClient::from_provider_metadata(document.clone(), ClientId::new(ours.id.clone()), secret)
                .set_auth_type(auth_type);
        let Some(redirect_uri) = redirect_uri else { return Ok(client) };
        Ok(client.set_redirect_uri(client::callback(redirect_uri)?))
    }

    async fn redeem(
        &self,
        client: &Client,
        callback: &Callback<'_>,
        pending: &Pending,
    ) -> Result<CoreTokenResponse, ProviderError> {
        let mut request = client.exchange_code(callback.code()?).map_err(lacking)?;
        if self.settings.quirks.pkce {
            request = request.set_pkce_verifier(PkceCodeVerifier::new(pending.verifier.clone()));
        }
        request.request_async(&self.outbound).await.map_err(client::not_redeemed)
    }

    /// New tokens for a refresh token (RFC 6749, section 6).
    async fn refresh_grant(
        &self,
        client: &Client,
        refresh_token: &Secret,
    ) -> Result<CoreTokenResponse, ProviderError> {
        let refresh_token = RefreshToken::new(refresh_token.expose().to_owned());
        let request = client.exchange_refresh_token(&refresh_token).map_err(lacking)?;
        request.request_async(&self.outbound).await.map_err(client::not_renewed)
    }

    /// What the provider says of the person after a refresh.
    async fn renewed_identity(
        &self,
        published: &Published,
        answer: &CoreTokenResponse,
        before: &ProviderTokens,
        account: &Identity,
    ) -> Result<ExternalIdentity, ProviderError> {
        let now = self.clock.now();
        // Claims that only an ID token carries stay as the last one had them, where none comes.
        let mut claims = match answer.id_token() {
            Some(id_token) => {
                let (issuer, claims) = self.verified(published, id_token, None, now).await?;
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
        tell_verified(&mut claims, self.settings.quirks.verified);
        if published.document.userinfo_endpoint().is_some() {
            let more = self.user_info(&published.document, answer.access_token(), &claims).await?;
            claims = match answer.id_token() {
                Some(_) => joined(claims, more),
                None => joined(more, claims),
            };
        }
        let tokens = self.granted(answer, Some(before), now);
        // A renewal authenticates nobody: the session keeps the time that it has.
        Ok(self.identity(account.issuer.clone(), account.subject.clone(), claims, tokens, None))
    }

    fn granted(
        &self,
        answer: &CoreTokenResponse,
        before: Option<&ProviderTokens>,
        now: Timestamp,
    ) -> ProviderTokens {
        granted(answer, answer.id_token(), before, self.settings.quirks.lifetime, now)
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
            issuer,
            subject,
            amr: methods(&claims),
            auth_time,
            sid: sid_of(&claims),
            claims,
            tokens,
            once: None,
            session_ends_at: None,
            told_once: if self.settings.quirks.name_once { &NAMES } else { &[] },
        }
    }

    /// The claims of the UserInfo endpoint, which must speak of the same person.
    async fn user_info(
        &self,
        document: &Document,
        token: &AccessToken,
        claims: &Map<String, Value>,
    ) -> Result<Map<String, Value>, ProviderError> {
        let Some(endpoint) = document.userinfo_endpoint() else { return Ok(Map::new()) };
        let told = self.outbound.ask(endpoint.url(), token.secret()).await;
        let told = told.map_err(|error| ProviderError::Unavailable(error.to_string()))?;
        let Value::Object(mut more) = told.json else {
            let why = format!("its UserInfo endpoint answered {} without a JSON object", told.status);
            return Err(ProviderError::Unavailable(why));
        };
        if !told.status.is_success() {
            return Err(ProviderError::Unavailable(format!(
                "its UserInfo endpoint answered {}",
                told.status
            )));
        }
        // OpenID Connect Core 1.0, section 5.3.2: "The sub Claim in the UserInfo Response MUST be
        // verified to exactly match the sub Claim in the ID Token".
        if more.get("sub").is_none() || more.get("sub") != claims.get("sub") {
            return Err(ProviderError::invalid("userinfo", "it speaks of somebody else"));
        }
        tell_verified(&mut more, self.settings.quirks.verified);
        Ok(more)
    }
}

/// What some tell of a person only the first time.
const NAMES: [&str; 3] = ["name", "given_name", "family_name"];

/// Apple's `user`, which the browser brings beside the code the first time: the names that the person chose.
/// Nobody has signed it, so nothing else is taken from it.
fn names_of(user: &str) -> Option<Map<String, Value>> {
    let user: Value = serde_json::from_str(user).ok()?;
    let name = |path: &str| user.pointer(path).and_then(Value::as_str).unwrap_or_default().trim().to_owned();
    let (given, family) = (name("/name/firstName"), name("/name/lastName"));
    let whole = format!("{given} {family}").trim().to_owned();
    let names = NAMES.into_iter().zip([whole, given, family]).filter(|(_, text)| !text.is_empty());
    Some(names.map(|(name, text)| (name.to_owned(), text.into())).collect())
}

#[async_trait]
impl Provider for OpenId {
    async fn begin(
        &self,
        redirect_uri: &str,
        state: &str,
        hint: Option<&str>,
    ) -> Result<Begun, ProviderError> {
        let published = self.metadata.get().await?;
        let client = self.client(&published.document, Some(redirect_uri))?;
        let (ours, quirks) = (&self.settings.client, &self.settings.quirks);
        let pending = Pending {
            nonce: Token::random(&*self.entropy).text(),
            verifier: Token::random(&*self.entropy).text(),
        };
        let challenge =
            PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(pending.verifier.clone()));
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
        if let Some(hint) = hint {
            request = request.set_login_hint(LoginHint::new(hint.to_owned()));
        }
        let (redirect, ..) = request.url();
        Ok(Begun { onward: Onward::Redirect(redirect), pending })
    }

    async fn finish(&self, callback: Callback<'_>) -> Result<ExternalIdentity, ProviderError> {
        let pending =
            callback.pending.ok_or_else(|| ProviderError::invalid("state", "nobody asked for this login"))?;
        let published = self.metadata.get().await?;
        check_issuer(&self.settings.issuer, &published.document, callback.parameters.get("iss"))?;
        callback.refusal()?;

        let quirks = &self.settings.quirks;
        let client = self.client(&published.document, Some(callback.redirect_uri))?;
        let answer = self.redeem(&client, &callback, pending).await?;
        let id_token = answer
            .id_token()
            .ok_or_else(|| ProviderError::invalid("id token", "the token endpoint sent none"))?;
        let (now, nonce) = (self.clock.now(), quirks.nonce.then_some(pending.nonce.as_str()));
        let (issuer, mut claims) = self.verified(&published, id_token, nonce, now).await?;
        check_demands(&self.settings.client.demands, &claims, callback.begun_at.unwrap_or(now))?;
        // Who does not promise to say the nonce again may say it all the same.
        if !quirks.nonce && claims.get("nonce").is_some_and(|told| told.as_str() != Some(&pending.nonce)) {
            return Err(ProviderError::invalid("nonce", "it is another login's"));
        }
        let subject = subject_of(&claims, quirks.subject)?;
        tell_verified(&mut claims, quirks.verified);
        if published.document.userinfo_endpoint().is_some() {
            let more = self.user_info(&published.document, answer.access_token(), &claims).await?;
            claims = joined(claims, more);
        }
        if quirks.name_once
            && let Some(names) = callback.parameters.get("user").and_then(|user| names_of(user))
        {
            claims = joined(claims, names);
        }
        let auth_time = authenticated_at(&claims, now, SKEW);
        Ok(self.identity(issuer, subject, claims, self.granted(&answer, None, now), auth_time))
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

    async fn logout(&self, tokens: &ProviderTokens, back_to: &str, state: &str) -> Option<Onward> {
        let document = &self.metadata.get().await.ok()?.document;
        let mut url = document.additional_metadata().end_session_endpoint.clone()?;
        let mut query = url.query_pairs_mut();
        if let Some(token) = &tokens.id_token {
            query.append_pair("id_token_hint", token.expose());
        }
        query
            .append_pair("client_id", &self.settings.client.id)
            .append_pair("post_logout_redirect_uri", back_to)
            .append_pair("state", state);
        drop(query);
        Some(Onward::Redirect(url))
    }

    async fn logout_token(&self, token: &str) -> Result<LogoutToken, ProviderError> {
        let audience = &self.settings.client.id;
        let judge = |published: &Published| {
            backchannel::judge(token, &published.document, audience, self.clock.now())
        };
        let judged = judge(&*self.metadata.get().await?);
        if !matches!(judged, Err(ProviderError::Invalid { check: "signature", .. })) {
            return judged;
        }
        judge(&*self.metadata.after_unknown_key().await?)
    }

    async fn refresh(&self) -> Result<Vec<String>, ProviderError> {
        let published = self.metadata.get().await?;
        // A key of ours that cannot sign is to be told before somebody wants in.
        self.client(&published.document, None).map(|_| Vec::new())
    }

    fn expire(&self) {
        self.metadata.expire();
    }
}
