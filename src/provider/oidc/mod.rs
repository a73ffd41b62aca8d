//! OpenID Connect Core 1.0, authorization code flow with PKCE.

mod demands;
mod id_token;

use super::backchannel::{self, LogoutToken};
use super::claims::{
    SKEW, check_issuer, claim_text, granted, joined, methods, payload, sid_of, subject_of, tell_verified,
};
use super::client;
use super::metadata::{Document, Metadata, Published};
use super::token_answer::TokenAnswer;
use super::{
    Begun, Callback, ExternalIdentity, Onward, Outbound, OutboundError, Pending, Provider, ProviderError,
    Renewed,
};
use crate::base::{Clock, Entropy, Secret, Timestamp, Token};
use crate::config;
use crate::jose::authenticated_at;
use crate::model::{Identity, ProviderTokens};
use async_trait::async_trait;
use demands::check_demands;
use http::StatusCode;
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreErrorResponseType, CoreGenderClaim,
    CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse,
};
use openidconnect::{
    AccessToken, AuthUrl, ClientId, CsrfToken, EmptyAdditionalClaims, EndpointNotSet, EndpointSet, IssuerUrl,
    JsonWebKeySet, LoginHint, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier,
    RefreshToken, Scope, StandardErrorResponse, TokenUrl,
};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The library's client, whose token responses are read by [`TokenAnswer`].
type ClientWith<AuthorizationEndpoint, TokenEndpoint> = openidconnect::Client<
    EmptyAdditionalClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    TokenAnswer,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    AuthorizationEndpoint,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    TokenEndpoint,
    EndpointNotSet,
>;
type Client = ClientWith<EndpointSet, EndpointSet>;
type Blank = ClientWith<EndpointNotSet, EndpointNotSet>;

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
        let metadata = Metadata::new(&settings, outbound.clone(), clock.clone());
        Self { settings, metadata, outbound, clock, entropy }
    }

    /// The client, and what its token requests carry beside.
    fn client(
        &self,
        document: &Document,
        redirect_uri: Option<&str>,
    ) -> Result<(Client, client::Parameters), ProviderError> {
        let ours = &self.settings.client;
        let recipient = client::Recipient {
            issuer: &document.issuer,
            token_endpoint: document.token_endpoint.as_str(),
            supported: document.token_endpoint_auth_methods.as_deref(),
            usual: self.settings.quirks.client_auth,
        };
        let authentication = client::authenticate(ours, &recipient, self.clock.now(), &*self.entropy)?;
        let issuer = IssuerUrl::new(document.issuer.clone())
            .map_err(|error| ProviderError::Unreadable(format!("its issuer: {error}")))?;
        // The library has no keys: tokens are verified by `id_token`.
        let mut made = Blank::new(ClientId::new(ours.id.clone()), issuer, JsonWebKeySet::new(Vec::new()))
            .set_auth_uri(AuthUrl::from_url(document.authorization_endpoint.clone()))
            .set_token_uri(TokenUrl::from_url(document.token_endpoint.clone()))
            .set_auth_type(authentication.auth_type);
        if let Some(secret) = authentication.secret {
            made = made.set_client_secret(secret);
        }
        if let Some(redirect_uri) = redirect_uri {
            made = made.set_redirect_uri(client::callback(redirect_uri)?);
        }
        Ok((made, authentication.parameters))
    }

    async fn redeem(
        &self,
        (client, parameters): &(Client, client::Parameters),
        callback: &Callback<'_>,
        pending: &Pending,
    ) -> Result<TokenAnswer, ProviderError> {
        let mut request = client.exchange_code(callback.code()?);
        if self.settings.quirks.pkce {
            request = request.set_pkce_verifier(PkceCodeVerifier::new(pending.verifier.clone()));
        }
        for (name, value) in parameters {
            request = request.add_extra_param(*name, value);
        }
        request.request_async(&self.outbound).await.map_err(client::not_redeemed)
    }

    /// New tokens for a refresh token (RFC 6749, section 6).
    async fn refresh_grant(
        &self,
        (client, parameters): &(Client, client::Parameters),
        refresh_token: &Secret,
    ) -> Result<TokenAnswer, ProviderError> {
        let refresh_token = RefreshToken::new(refresh_token.expose().to_owned());
        let mut request = client.exchange_refresh_token(&refresh_token);
        for (name, value) in parameters {
            request = request.add_extra_param(*name, value);
        }
        request.request_async(&self.outbound).await.map_err(client::not_renewed)
    }

    /// What the provider says of the person after a refresh.
    async fn renewed_identity(
        &self,
        published: &Published,
        answer: &TokenAnswer,
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
        tell_verified(&mut claims, self.settings.quirks.verified);
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
        let told_once = if is_incomplete { &PROFILE } else { identity.told_once };
        Ok(ExternalIdentity { is_incomplete, told_once, ..identity })
    }

    fn granted(
        &self,
        answer: &TokenAnswer,
        before: Option<&ProviderTokens>,
        now: Timestamp,
    ) -> ProviderTokens {
        granted(answer, before, self.settings.quirks.lifetime, now)
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
            is_incomplete: false,
        }
    }

    /// The claims of the UserInfo endpoint, which must speak of the same person.
    async fn user_info(
        &self,
        published: &Published,
        token: &AccessToken,
        claims: &Map<String, Value>,
        now: Timestamp,
    ) -> Result<UserInfo, ProviderError> {
        let endpoint = published.document.userinfo_endpoint.as_ref().filter(|_| self.settings.userinfo);
        let Some(endpoint) = endpoint else { return Ok(UserInfo::None) };
        let answer = self.outbound.ask(endpoint, token.secret()).await;
        let answer = answer.map_err(|error| error.of("its UserInfo endpoint"))?;
        match answer.status {
            status if status.is_success() => {}
            // The access token may be one for another API (Microsoft's are, with a scope of one), or the endpoint may be
            // switched off.
            status if is_refusal(status) && !answer.limited => {
                tracing::warn!(
                    issuer = published.document.issuer,
                    %status,
                    "the UserInfo endpoint refused the access token: only the ID token's claims are used; help: set \
                     userinfo = false if the ID token has all of them"
                );
                return Ok(UserInfo::Refused);
            }
            status => return Err(OutboundError::Status(status).of("its UserInfo endpoint")),
        }
        let mut more = match (answer.jwt, answer.json) {
            (Some(jwt), _) => {
                let document = match &self.settings.issuer {
                    config::Issuer::One(_) => published.document.clone(),
                    config::Issuer::PerTenant(_) => {
                        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
                        published.of_tenant(text("tid"), text("iss"))?
                    }
                };
                self.verified_user_info(&document, &jwt, now).await?
            }
            (None, Value::Object(more)) => more,
            (None, _) => {
                let why = format!("its UserInfo endpoint answered {} without a JSON object", answer.status);
                return Err(ProviderError::Unreadable(why));
            }
        };
        // OpenID Connect Core 1.0, section 5.3.2: "The sub Claim in the UserInfo Response MUST be
        // verified to exactly match the sub Claim in the ID Token".
        let sub = |claims: &Map<String, Value>| claims.get("sub").and_then(claim_text);
        if sub(&more).is_none() || sub(&more) != sub(claims) {
            return Err(ProviderError::invalid(
                "userinfo",
                "its `sub` is not the ID token's; help: set userinfo = false",
            ));
        }
        tell_verified(&mut more, self.settings.quirks.verified);
        Ok(UserInfo::Claims(more))
    }
}

/// Whether the UserInfo endpoint will not answer this access token, however often it is asked.
fn is_refusal(status: StatusCode) -> bool {
    let is_outage = super::outbound::is_outage(status);
    status == StatusCode::NOT_IMPLEMENTED || (status.is_client_error() && !is_outage)
}

/// The outcome of a UserInfo request.
enum UserInfo {
    /// There is no UserInfo endpoint, or it is not to be asked.
    None,
    /// The endpoint does not take the access token.
    Refused,
    /// The claims.
    Claims(Map<String, Value>),
}

/// The attributes that a UserInfo endpoint tells.
const PROFILE: [&str; 16] = {
    let mut names = ["email_verified"; 16];
    let mut at = 0;
    while at < config::STANDARD_ATTRIBUTES.len() {
        names[at] = config::STANDARD_ATTRIBUTES[at];
        at += 1;
    }
    names
};

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
        let (client, _) = self.client(&published.document, Some(redirect_uri))?;
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
        check_demands(&self.settings.client.demands, &claims, callback.begun_at.unwrap_or(now))?;
        // Who does not promise to say the nonce again may say it all the same.
        if !quirks.nonce && claims.get("nonce").is_some_and(|told| told.as_str() != Some(&pending.nonce)) {
            return Err(ProviderError::invalid("nonce", "it is another login's"));
        }
        let subject = subject_of(&claims, quirks.subject)?;
        tell_verified(&mut claims, quirks.verified);
        let mut is_incomplete = false;
        match self.user_info(&published, answer.access_token(), &claims, now).await? {
            UserInfo::None => {}
            UserInfo::Refused => is_incomplete = true,
            UserInfo::Claims(more) => claims = joined(claims, more),
        }
        if quirks.name_once
            && let Some(names) = callback.parameters.get("user").and_then(|user| names_of(user))
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

    async fn logout(&self, tokens: &ProviderTokens, back_to: &str, state: &str) -> Option<Onward> {
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
