//! OpenID Connect Core 1.0, authorization code flow with PKCE.

use super::backchannel::{self, LogoutToken};
use super::claims::{
    SKEW, check_issuer, check_name, granted, joined, methods, payload, sid_of, subject_of, tell_skew,
};
use super::metadata::{Document, Metadata};
use super::{Begun, Callback, ExternalIdentity, Onward, Outbound, Pending, Provider, ProviderError, Renewed};
use crate::base::{Clock, Entropy, Secret, Timestamp, Token};
use crate::config;
use crate::model::ProviderTokens;
use async_trait::async_trait;
use chrono::DateTime;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreGenderClaim, CoreIdToken,
    CoreIdTokenVerifier, CoreJwsSigningAlgorithm, CoreTokenResponse,
};
use openidconnect::{
    AccessToken, AdditionalClaims, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId,
    ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet, EndpointSet, LoginHint, Nonce, NonceVerifier,
    OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError,
    Scope, SignatureVerificationError, SubjectIdentifier, TokenResponse, UserInfoClaims, UserInfoError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The token endpoint's errors that speak of the person's grant (RFC 6749, section 5.2; OpenID Connect
/// Core 1.0, section 3.1.2.6), and not of the client or the server.
const FINAL: [&str; 5] =
    ["invalid_grant", "access_denied", "login_required", "interaction_required", "consent_required"];

/// What signs ID tokens. `none` and the HMAC family are not among them: a client secret is no key.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 10] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EcdsaP521Sha512,
    CoreJwsSigningAlgorithm::EdDsa,
];

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

    fn client(&self, document: &Document, redirect_uri: &str) -> Result<Client, ProviderError> {
        let secret = self.settings.client_secret.as_ref().map(|s| ClientSecret::new(s.expose().to_owned()));
        // RFC 6749, section 2.3.1: Basic is the way every server must know; OpenID Connect Discovery
        // 1.0, section 3: it is also what a document without the list means.
        let post = document
            .token_endpoint_auth_methods_supported()
            .is_some_and(|methods| !methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
        let redirect = RedirectUrl::new(redirect_uri.to_owned())
            .map_err(|error| ProviderError::Unavailable(format!("our callback is no URL: {error}")))?;
        let client = ClientId::new(self.settings.client_id.clone());
        Ok(CoreClient::from_provider_metadata(document.clone(), client, secret)
            .set_auth_type(if post { AuthType::RequestBody } else { AuthType::BasicAuth })
            .set_redirect_uri(redirect))
    }

    async fn redeem(
        &self,
        client: &Client,
        callback: &Callback<'_>,
        pending: &Pending,
    ) -> Result<CoreTokenResponse, ProviderError> {
        let code = callback
            .parameters
            .get("code")
            .ok_or_else(|| ProviderError::invalid("code", "the callback carries no code"))?;
        let request = client
            .exchange_code(AuthorizationCode::new(code.clone()))
            .map_err(|error| {
                ProviderError::Unavailable(format!("its discovery document lacks something: {error}"))
            })?
            .set_pkce_verifier(PkceCodeVerifier::new(pending.verifier.clone()));
        request.request_async(&self.outbound).await.map_err(|error| match error {
            RequestTokenError::Request(error) => ProviderError::Unavailable(error.to_string()),
            RequestTokenError::ServerResponse(answer) => {
                ProviderError::invalid("token endpoint", format!("it refused the code: {answer}"))
            }
            RequestTokenError::Parse(error, _) => {
                ProviderError::Unavailable(format!("its token endpoint's answer cannot be read: {error}"))
            }
            RequestTokenError::Other(why) => ProviderError::Unavailable(why),
        })
    }

    /// New tokens for a refresh token (RFC 6749, section 6).
    async fn refresh_grant(
        &self,
        client: &Client,
        refresh_token: &Secret,
    ) -> Result<CoreTokenResponse, ProviderError> {
        let refresh_token = RefreshToken::new(refresh_token.expose().to_owned());
        let request = client.exchange_refresh_token(&refresh_token).map_err(|error| {
            ProviderError::Unavailable(format!("its discovery document lacks something: {error}"))
        })?;
        request.request_async(&self.outbound).await.map_err(|error| match error {
            RequestTokenError::ServerResponse(answer) => {
                let code = answer.error().as_ref().to_owned();
                let description = answer.error_description().cloned().unwrap_or_default();
                match FINAL.contains(&&*code) {
                    true => ProviderError::Refused { code, description },
                    // A secret that was changed, or a fault over there, is not the person's.
                    false => ProviderError::Unavailable(format!("{code} {description}")),
                }
            }
            RequestTokenError::Request(error) => ProviderError::Unavailable(error.to_string()),
            RequestTokenError::Parse(error, _) => {
                ProviderError::Unavailable(format!("its token endpoint's answer cannot be read: {error}"))
            }
            RequestTokenError::Other(why) => ProviderError::Unavailable(why),
        })
    }

    /// What the provider says of the person after a refresh.
    async fn renewed_identity(
        &self,
        document: &Document,
        client: &Client,
        answer: &CoreTokenResponse,
        before: &ProviderTokens,
        subject: &str,
    ) -> Result<ExternalIdentity, ProviderError> {
        let now = self.clock.now();
        // Claims that only an ID token carries stay as the last one had them, where none comes.
        let mut claims = match answer.id_token() {
            Some(id_token) => self.verified(client, id_token, None, now).await?,
            None => before.id_token.as_ref().and_then(|token| payload(token.expose())).unwrap_or_default(),
        };
        // OpenID Connect Core 1.0, section 12.2: "its sub Claim Value MUST be the same as in the ID
        // Token issued when the original authentication occurred".
        if subject_of(&claims)? != subject {
            return Err(ProviderError::invalid("sub", "the renewed ID token is another person's"));
        }
        if document.userinfo_endpoint().is_some() {
            let more = self.user_info(client, answer.access_token(), subject).await?;
            claims = match answer.id_token() {
                Some(_) => joined(claims, more),
                None => joined(more, claims),
            };
        }
        Ok(ExternalIdentity {
            issuer: self.settings.issuer.clone(),
            subject: subject.to_owned(),
            amr: methods(&claims),
            auth_time: now,
            sid: sid_of(&claims),
            claims,
            tokens: granted(answer, Some(before), now),
            once: None,
            session_ends_at: None,
        })
    }

    /// The verified claims of `token`; the keys are fetched again where none of them signed it.
    async fn verified(
        &self,
        client: &Client,
        token: &CoreIdToken,
        nonce: Option<&str>,
        now: Timestamp,
    ) -> Result<Map<String, Value>, ProviderError> {
        let mut verified = self.verify(client, token, nonce, now);
        if matches!(
            verified,
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey | SignatureVerificationError::CryptoError(_)
            ))
        ) {
            let document = self.metadata.after_unknown_key().await?;
            verified = self.verify(&self.client(&document, &self.settings.issuer)?, token, nonce, now);
        }
        let claims = verified.map_err(|error| ProviderError::invalid(check_name(&error), error))?;
        tell_skew(&self.settings.issuer, &claims, now);
        Ok(claims)
    }

    /// The verified claims of `token` by the keys that are known (OpenID Connect Core 1.0, section 3.1.3.7).
    fn verify(
        &self,
        client: &Client,
        token: &CoreIdToken,
        nonce: Option<&str>,
        now: Timestamp,
    ) -> Result<Map<String, Value>, ClaimsVerificationError> {
        let time = |at: Timestamp| DateTime::from_timestamp(at.seconds(), 0).unwrap_or_default();
        // "The current time MUST be before the time represented by the exp Claim": by a clock that
        // may be a minute behind ours.
        let behind = time(now.minus(SKEW));
        let ahead = time(now.plus(SKEW));
        let verifier: CoreIdTokenVerifier<'_> = client
            .id_token_verifier()
            .set_allowed_algs(ALGORITHMS)
            .set_time_fn(move || behind)
            .set_issue_time_verifier_fn(move |issued| match issued <= ahead {
                true => Ok(()),
                false => Err("issued in the future".to_owned()),
            });
        let expected = nonce.map(|nonce| Nonce::new(nonce.to_owned()));
        token.claims(&verifier, |told: Option<&Nonce>| match (&expected, told) {
            (Some(expected), told) => expected.verify(told),
            // OpenID Connect Core 1.0, section 12.2: a renewed token "SHOULD NOT have a nonce Claim".
            (None, _) => Ok(()),
        })?;
        // The signature covers these very bytes: reading them again keeps the claims that have no
        // place in the library's types.
        let claims = payload(&token.to_string())
            .ok_or_else(|| ClaimsVerificationError::Other("its payload is no object".to_owned()))?;
        let other = |why: &str| Err(ClaimsVerificationError::Other(why.to_owned()));
        // "If an azp (authorized party) Claim is present, the Client SHOULD verify that its
        // client_id is the Claim Value."
        if claims.get("azp").is_some_and(|azp| azp.as_str() != Some(&self.settings.client_id)) {
            return other("azp names another client");
        }
        // RFC 7519, section 4.1.5: before nbf the token "MUST NOT be accepted for processing".
        if claims
            .get("nbf")
            .is_some_and(|nbf| nbf.as_f64().is_none_or(|nbf| nbf > now.plus(SKEW).seconds() as f64))
        {
            return other("nbf lies in the future");
        }
        Ok(claims)
    }

    /// The claims of the UserInfo endpoint, which must speak of the same person.
    async fn user_info(
        &self,
        client: &Client,
        token: &AccessToken,
        subject: &str,
    ) -> Result<Map<String, Value>, ProviderError> {
        // OpenID Connect Core 1.0, section 5.3.2: "The sub Claim in the UserInfo Response MUST be
        // verified to exactly match the sub Claim in the ID Token".
        let request = client
            .user_info(token.clone(), Some(SubjectIdentifier::new(subject.to_owned())))
            .map_err(|error| ProviderError::Unavailable(error.to_string()))?;
        let claims: UserInfoClaims<Rest, CoreGenderClaim> =
            request.request_async(&self.outbound).await.map_err(|error| match error {
                UserInfoError::ClaimsVerification(error) => ProviderError::invalid("userinfo", error),
                UserInfoError::Request(error) => ProviderError::Unavailable(error.to_string()),
                error => ProviderError::Unavailable(format!("its UserInfo answer cannot be read: {error}")),
            })?;
        match serde_json::to_value(&claims) {
            Ok(Value::Object(claims)) => Ok(claims),
            _ => Err(ProviderError::Unavailable("its UserInfo answer is no object".into())),
        }
    }
}

/// The claims that OpenID Connect does not name.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Rest {
    #[serde(flatten)]
    claims: Map<String, Value>,
}

impl AdditionalClaims for Rest {}

#[async_trait]
impl Provider for OpenId {
    async fn begin(
        &self,
        redirect_uri: &str,
        state: &str,
        hint: Option<&str>,
    ) -> Result<Begun, ProviderError> {
        let document = self.metadata.get().await?;
        let client = self.client(&document, redirect_uri)?;
        let pending = Pending {
            nonce: Token::random(&*self.entropy).text(),
            verifier: Token::random(&*self.entropy).text(),
        };
        let challenge =
            PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(pending.verifier.clone()));
        let (state, nonce) = (state.to_owned(), pending.nonce.clone());
        let request = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .add_scopes(self.settings.scopes.iter().filter(|s| *s != "openid").cloned().map(Scope::new))
            .set_pkce_challenge(challenge);
        let (redirect, ..) = match hint {
            Some(hint) => request.set_login_hint(LoginHint::new(hint.to_owned())).url(),
            None => request.url(),
        };
        Ok(Begun { onward: Onward::Redirect(redirect), pending })
    }

    async fn finish(&self, callback: Callback<'_>) -> Result<ExternalIdentity, ProviderError> {
        let pending =
            callback.pending.ok_or_else(|| ProviderError::invalid("state", "nobody asked for this login"))?;
        let document = self.metadata.get().await?;
        check_issuer(&document, callback.parameters.get("iss"))?;
        if let Some(code) = callback.parameters.get("error") {
            let description = callback.parameters.get("error_description").cloned().unwrap_or_default();
            return Err(ProviderError::Refused { code: code.clone(), description });
        }

        let client = self.client(&document, callback.redirect_uri)?;
        let answer = self.redeem(&client, &callback, pending).await?;
        let id_token = answer
            .id_token()
            .ok_or_else(|| ProviderError::invalid("id token", "the token endpoint sent none"))?;
        let now = self.clock.now();
        let mut claims = self.verified(&client, id_token, Some(&pending.nonce), now).await?;
        let subject = subject_of(&claims)?;
        if document.userinfo_endpoint().is_some()
            && ["email", "name"].iter().any(|name| !claims.contains_key(*name))
        {
            let more = self.user_info(&client, answer.access_token(), &subject).await?;
            claims = joined(claims, more);
        }
        let auth_time =
            claims.get("auth_time").and_then(Value::as_i64).map_or(now, Timestamp::from_seconds).min(now);
        let tokens = granted(&answer, None, now);
        Ok(ExternalIdentity {
            issuer: self.settings.issuer.clone(),
            subject,
            amr: methods(&claims),
            auth_time,
            sid: sid_of(&claims),
            claims,
            tokens,
            once: None,
            session_ends_at: None,
        })
    }

    async fn renew(&self, tokens: &ProviderTokens, subject: &str) -> Result<Renewed, ProviderError> {
        let refresh_token = tokens
            .refresh_token
            .as_ref()
            .ok_or_else(|| ProviderError::invalid("refresh token", "there is none"))?;
        let document = self.metadata.get().await?;
        let client = self.client(&document, &self.settings.issuer)?;
        let answer = self.refresh_grant(&client, refresh_token).await?;
        let renewed = granted(&answer, Some(tokens), self.clock.now());
        let identity = self.renewed_identity(&document, &client, &answer, tokens, subject).await;
        Ok(Renewed { tokens: renewed, identity })
    }

    async fn logout(&self, tokens: &ProviderTokens, back_to: &str, state: &str) -> Option<Onward> {
        let document = self.metadata.get().await.ok()?;
        let mut url = document.additional_metadata().end_session_endpoint.clone()?;
        // A document that could send browsers to a script, or to plain http, is not followed.
        if url.scheme() != "https" && url.scheme() != document.issuer().url().scheme() {
            return None;
        }
        let mut query = url.query_pairs_mut();
        if let Some(token) = &tokens.id_token {
            query.append_pair("id_token_hint", token.expose());
        }
        query
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("post_logout_redirect_uri", back_to)
            .append_pair("state", state);
        drop(query);
        Some(Onward::Redirect(url))
    }

    async fn logout_token(&self, token: &str) -> Result<LogoutToken, ProviderError> {
        let document = self.metadata.get().await?;
        let audience = &self.settings.client_id;
        let judged = backchannel::judge(token, &document, audience, self.clock.now());
        if !matches!(judged, Err(ProviderError::Invalid { check: "signature", .. })) {
            return judged;
        }
        let document = self.metadata.after_unknown_key().await?;
        backchannel::judge(token, &document, audience, self.clock.now())
    }

    async fn refresh(&self) -> Result<Vec<String>, ProviderError> {
        self.metadata.get().await.map(|_| Vec::new())
    }
}
