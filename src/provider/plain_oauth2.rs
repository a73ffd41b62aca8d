//! OAuth 2.0, authorization code grant with PKCE, for providers whose API returns the user of a
//! token.

use super::backchannel::LogoutToken;
use super::claims::{granted_tokens, normalize_email_verified, subject_of};
use super::client;
use super::http_client;
use super::token_response::GrantedTokens;
use super::{
    BrowserAction, Callback, ExternalIdentity, LoginHints, LoginStart, LoginState, Provider, ProviderError,
    ProviderHttpClient, Renewed,
};
use crate::base::{Clock, Entropy, RandomToken, Secret, Timestamp};
use crate::config::{self, ClientAuth, DEFAULT_LIFETIME, SELECT_ACCOUNT};
use crate::model::{Identity, ProviderTokens};
use ::oauth2::basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse};
use ::oauth2::{
    AuthUrl, ClientId, CsrfToken, EndpointNotSet, EndpointSet, PkceCodeChallenge, PkceCodeVerifier,
    RefreshToken, Scope, StandardRevocableToken, TokenResponse as _, TokenUrl,
};
use async_trait::async_trait;
use aws_lc_rs::hmac;
use http::StatusCode;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::sync::Arc;
use url::Url;

/// How many pages of a list are read, and entries kept: users in more groups than this are refused
/// later.
const MAX_PAGES: usize = 11;
const MAX_ENTRIES: usize = 1001;

/// The library's client, whose token responses are read by [`GrantedTokens`].
type ClientWith<AuthorizationEndpoint, TokenEndpoint> = ::oauth2::Client<
    BasicErrorResponse,
    GrantedTokens,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    AuthorizationEndpoint,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    TokenEndpoint,
>;
type Client = ClientWith<EndpointSet, EndpointSet>;
type Blank = ClientWith<EndpointNotSet, EndpointNotSet>;

/// A provider that speaks OAuth 2.0, seen by its client.
pub struct OAuth2 {
    settings: config::OAuth2,
    outbound: ProviderHttpClient,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl OAuth2 {
    pub fn new(
        settings: config::OAuth2,
        outbound: ProviderHttpClient,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { settings, outbound, clock, entropy }
    }

    /// The client, and what its token requests carry beside.
    fn client(&self) -> Result<(Client, client::Parameters), ProviderError> {
        let config::OAuth2 { issuer, client, quirks, .. } = &self.settings;
        let usual = match quirks.client_auth {
            // RFC 6749, section 2.3.1: Basic is the way every server must know.
            ClientAuth::AsMetadataSays => ClientAuth::Basic,
            usual => usual,
        };
        let token_endpoint = self.settings.token_endpoint.as_str();
        let recipient = client::Recipient { issuer, token_endpoint, supported: None, usual };
        let authentication = client::authenticate(client, &recipient, self.clock.now(), &*self.entropy)?;
        let made = Blank::new(ClientId::new(client.id.clone()))
            .set_auth_uri(AuthUrl::from_url(self.settings.authorization_endpoint.clone()))
            .set_token_uri(TokenUrl::from_url(self.settings.token_endpoint.clone()))
            .set_auth_type(authentication.auth_type);
        let made = match authentication.secret {
            Some(secret) => made.set_client_secret(secret),
            None => made,
        };
        Ok((made, authentication.parameters))
    }

    fn redirecting(&self, redirect_uri: &str) -> Result<(Client, client::Parameters), ProviderError> {
        let (client, parameters) = self.client()?;
        Ok((client.set_redirect_uri(client::callback(redirect_uri)?), parameters))
    }

    fn granted(
        &self,
        answer: &GrantedTokens,
        before: Option<&ProviderTokens>,
        now: Timestamp,
    ) -> ProviderTokens {
        let mut tokens = granted_tokens(answer, before, self.settings.quirks.lifetime, now);
        // A token without an expiry is used again: users who revoked it, or changed groups since,
        // are heard of by that.
        if tokens.refresh_token.is_none() && answer.expires_in().is_none() {
            tokens.refresh_token = Some(tokens.access_token.clone());
        }
        tokens
    }

    /// Returns the API's response to a request with `token`.
    async fn ask(&self, url: &Url, token: &Secret) -> Result<ApiOutcome, ProviderError> {
        let mut url = url.clone();
        if self.settings.quirks.appsecret_proof
            && let Some(secret) = self.settings.client.private()
        {
            url.query_pairs_mut().append_pair("appsecret_proof", &app_secret_proof(token, secret));
        }
        let response =
            self.outbound.get_api(&url, token.expose()).await.map_err(|error| error.of(url.path()))?;
        match response.status {
            status if status.is_success() => {
                Ok(ApiOutcome::Body(response.json, response.next.filter(|next| same_origin(next, &url))))
            }
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND if !response.limited => Ok(ApiOutcome::Forbidden),
            // RFC 6750, section 3.1: the token "is expired, revoked, malformed, or invalid for
            // other reasons".
            status if is_refusal(status, &response.json) => Err(ProviderError::Refused {
                code: "invalid_token".to_owned(),
                description: format!("{} does not take the token", url.path()),
            }),
            status if response.limited || http_client::is_outage(status) => {
                Err(ProviderError::Unavailable(format!("{} answered {status}", url.path())))
            }
            status => Err(ProviderError::Unreadable(format!("{} answered {status}", url.path()))),
        }
    }

    /// What `read` makes of every entry of a list; nothing, where the provider keeps the list from
    /// us.
    async fn list(
        &self,
        url: &Url,
        token: &Secret,
        read: impl Fn(&Value) -> Option<Value> + Send + Sync,
    ) -> Result<Vec<Value>, ProviderError> {
        let (mut all, mut page) = (Vec::new(), Some(url.clone()));
        for _ in 0..MAX_PAGES {
            let Some(url) = page.filter(|_| all.len() < MAX_ENTRIES) else { break };
            let (json, next) = match self.ask(&url, token).await? {
                ApiOutcome::Body(json, next) => (json, next),
                ApiOutcome::Forbidden => break,
            };
            let Value::Array(entries) = json else {
                return Err(ProviderError::Unreadable(format!("{} is no list", url.path())));
            };
            all.extend(entries.iter().filter_map(&read));
            page = next;
        }
        all.truncate(MAX_ENTRIES);
        Ok(all)
    }

    /// The user of `tokens`.
    async fn identity(&self, tokens: ProviderTokens) -> Result<ExternalIdentity, ProviderError> {
        let config::OAuth2 { issuer, quirks, .. } = &self.settings;
        let token = &tokens.access_token;
        let ApiOutcome::Body(Value::Object(mut claims), _) =
            self.ask(&self.settings.userinfo_endpoint, token).await?
        else {
            return Err(ProviderError::Unreadable("its profile of the person is no JSON object".to_owned()));
        };
        let subject = subject_of(&claims, &[&self.settings.subject])?;
        normalize_email_verified(&mut claims, quirks.verified);
        if self.settings.emails_listed {
            let addresses = match &self.settings.emails_endpoint {
                Some(url) => self.list(url, token, |address| Some(address.clone())).await?,
                None => Vec::new(),
            };
            set_primary_email(&mut claims, &addresses);
        }
        let mut groups = Vec::new();
        for (url, name) in &self.settings.group_lists {
            groups.extend(self.list(url, token, |entry| group(entry, name)).await?);
        }
        if !self.settings.group_lists.is_empty() {
            claims.insert("groups".to_owned(), groups.into());
        }
        Ok(ExternalIdentity::new(issuer.clone(), subject, claims, tokens))
    }
}

/// What an API said.
enum ApiOutcome {
    /// The body, and where a list goes on.
    Body(Value, Option<Url>),
    /// There is nothing for us.
    Forbidden,
}

/// Whether an API does not take the token any more: by 401, or as Facebook says it.
fn is_refusal(status: StatusCode, json: &Value) -> bool {
    let said = json.pointer("/error/type").and_then(Value::as_str) == Some("OAuthException");
    status == StatusCode::UNAUTHORIZED || (status == StatusCode::BAD_REQUEST && said)
}

/// Facebook's proof that the sender of a token knows the client's secret.
fn app_secret_proof(token: &Secret, secret: &Secret) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let tag = hmac::sign(&key, token.expose().as_bytes());
    tag.as_ref().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A token goes nowhere but where it was first sent.
fn same_origin(next: &Url, url: &Url) -> bool {
    next.origin() == url.origin()
}

/// Has `email` be the address that the person calls the primary one, if that was verified. What the
/// profile shows may be another, of which nobody says anything.
fn set_primary_email(claims: &mut Map<String, Value>, addresses: &[Value]) {
    let said = |address: &Value, what: &str| address.get(what) == Some(&Value::Bool(true));
    let primary = addresses.iter().find(|address| said(address, "primary") && said(address, "verified"));
    match primary.and_then(|address| address.get("email")) {
        Some(email) => {
            claims.insert("email".to_owned(), email.clone());
            claims.insert("email_verified".to_owned(), true.into());
        }
        None => {
            claims.remove("email");
        }
    }
}

/// The name of a group.
fn group(entry: &Value, name: &[&str]) -> Option<Value> {
    let part = |path: &&str| entry.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let parts: Option<Vec<String>> = name.iter().map(part).collect();
    parts.map(|parts| parts.join("/").into())
}

#[async_trait]
impl Provider for OAuth2 {
    async fn begin(
        &self,
        redirect_uri: &str,
        state: &str,
        wish: LoginHints<'_>,
    ) -> Result<LoginStart, ProviderError> {
        let (client, _) = self.redirecting(redirect_uri)?;
        let pending = LoginState {
            nonce: String::new(),
            code_verifier: RandomToken::random(&*self.entropy).text().to_string(),
        };
        let (ours, state) = (&self.settings.client, state.to_owned());
        let mut request = client
            .authorize_url(move || CsrfToken::new(state))
            .add_scopes(ours.scopes.iter().cloned().map(Scope::new));
        if self.settings.quirks.pkce {
            let verifier = PkceCodeVerifier::new(pending.code_verifier.clone());
            request = request.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        }
        for (name, value) in &ours.parameters {
            request = request.add_extra_param(name, value);
        }
        // OAuth 2.0 knows no such parameter, and some servers do.
        let prompt = self.settings.quirks.account_prompt;
        if wish.other_account
            && prompt == SELECT_ACCOUNT
            && !ours.parameters.iter().any(|(name, _)| name == "prompt")
        {
            request = request.add_extra_param("prompt", prompt);
        }
        let (redirect, _) = request.url();
        Ok(LoginStart { action: BrowserAction::Redirect(redirect), pending })
    }

    async fn finish(&self, callback: Callback<'_>) -> Result<ExternalIdentity, ProviderError> {
        let pending =
            callback.pending.ok_or_else(|| ProviderError::invalid("state", "nobody asked for this login"))?;
        callback.refusal()?;
        let (client, parameters) = self.redirecting(callback.redirect_uri)?;
        let mut request = client.exchange_code(callback.code()?);
        for (name, value) in parameters {
            request = request.add_extra_param(name, value);
        }
        if self.settings.quirks.pkce {
            request = request.set_pkce_verifier(PkceCodeVerifier::new(pending.code_verifier.clone()));
        }
        let answer = request.request_async(&self.outbound).await.map_err(client::code_exchange_error)?;
        let now = self.clock.now();
        self.identity(self.granted(&answer, None, now)).await
    }

    async fn renew(&self, tokens: &ProviderTokens, account: &Identity) -> Result<Renewed, ProviderError> {
        let refresh_token = tokens
            .refresh_token
            .as_ref()
            .ok_or_else(|| ProviderError::invalid("refresh token", "there is none"))?;
        let now = self.clock.now();
        let tokens = match *refresh_token == tokens.access_token {
            true => ProviderTokens { expires_at: now.plus(DEFAULT_LIFETIME), ..tokens.clone() },
            false => {
                let refresh_token = RefreshToken::new(refresh_token.expose().to_owned());
                let (client, parameters) = self.client()?;
                let mut request = client.exchange_refresh_token(&refresh_token);
                for (name, value) in parameters {
                    request = request.add_extra_param(name, value);
                }
                let answer = request.request_async(&self.outbound).await.map_err(client::refresh_error)?;
                self.granted(&answer, Some(tokens), now)
            }
        };
        let identity = self.identity(tokens.clone()).await.and_then(|identity| {
            match identity.subject == account.subject && identity.issuer == account.issuer {
                true => Ok(identity),
                false => Err(ProviderError::invalid("sub", "the renewed tokens are another person's")),
            }
        });
        Ok(Renewed { tokens, identity })
    }

    async fn logout(&self, _: &ProviderTokens, _: &str, _: &str) -> Option<BrowserAction> {
        None
    }

    async fn logout_token(&self, _: &str) -> Result<LogoutToken, ProviderError> {
        Err(ProviderError::invalid("logout token", "this provider does not speak OpenID Connect"))
    }

    async fn refresh(&self) -> Result<Vec<String>, ProviderError> {
        // It publishes nothing of itself: that it listens is all that can be known.
        let answer = self.outbound.get_api(&self.settings.userinfo_endpoint, "none").await;
        let answer = answer.map_err(|error| error.of("its API"))?;
        match answer.status.is_server_error() {
            true => Err(ProviderError::Unavailable(format!("its API answered {}", answer.status))),
            false => Ok(Vec::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_address_is_the_primary_one_and_verified_or_none() {
        let email = |addresses: Value| {
            let mut claims = json!({"email": "public@else.example"}).as_object().unwrap().clone();
            set_primary_email(&mut claims, addresses.as_array().unwrap());
            claims.get("email").and_then(Value::as_str).map(str::to_owned)
        };
        let address = |email: &str, primary: bool, verified: bool| json!({"email": email, "primary": primary, "verified": verified});
        assert_eq!(
            email(json!([address("a@x", false, true), address("b@x", true, true)])).as_deref(),
            Some("b@x")
        );
        assert_eq!(email(json!([address("a@x", false, true), address("b@x", true, false)])), None);
        assert_eq!(email(json!([])), None);
    }
}
