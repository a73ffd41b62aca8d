//! OpenID Connect Core 1.0, authorization code flow with PKCE.

use super::metadata::{Document, Metadata};
use super::{Begun, Callback, ExternalIdentity, Outbound, Pending, Provider, ProviderError};
use crate::base::{Clock, Duration, Entropy, Timestamp, Token, unb64};
use crate::config;
use async_trait::async_trait;
use chrono::DateTime;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreGenderClaim, CoreIdToken,
    CoreIdTokenVerifier, CoreJwsSigningAlgorithm, CoreTokenResponse,
};
use openidconnect::{
    AccessToken, AdditionalClaims, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId,
    ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet, EndpointSet, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope, SignatureVerificationError,
    SubjectIdentifier, TokenResponse, UserInfoClaims, UserInfoError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// How far clocks may differ.
const SKEW: Duration = Duration::from_secs(60);

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
            .set_pkce_verifier(PkceCodeVerifier::new(callback.pending.verifier.clone()));
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

    /// The verified claims of `token` (OpenID Connect Core 1.0, section 3.1.3.7).
    fn verify(
        &self,
        client: &Client,
        token: &CoreIdToken,
        nonce: &str,
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
        token.claims(&verifier, &Nonce::new(nonce.to_owned()))?;
        // The signature covers these very bytes: reading them again keeps the claims that have no
        // place in the library's types.
        let payload = token.to_string().split('.').nth(1).and_then(unb64).unwrap_or_default();
        let claims: Map<String, Value> = serde_json::from_slice(&payload)
            .map_err(|error| ClaimsVerificationError::Other(error.to_string()))?;
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
    async fn begin(&self, redirect_uri: &str, state: &str) -> Result<Begun, ProviderError> {
        let document = self.metadata.get().await?;
        let client = self.client(&document, redirect_uri)?;
        let pending = Pending {
            nonce: Token::random(&*self.entropy).text(),
            verifier: Token::random(&*self.entropy).text(),
        };
        let challenge =
            PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(pending.verifier.clone()));
        let (state, nonce) = (state.to_owned(), pending.nonce.clone());
        let (redirect, ..) = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .add_scopes(self.settings.scopes.iter().filter(|s| *s != "openid").cloned().map(Scope::new))
            .set_pkce_challenge(challenge)
            .url();
        Ok(Begun { redirect, pending })
    }

    async fn finish(&self, callback: Callback<'_>) -> Result<ExternalIdentity, ProviderError> {
        let document = self.metadata.get().await?;
        check_issuer(&document, callback.parameters.get("iss"))?;
        if let Some(code) = callback.parameters.get("error") {
            let description = callback.parameters.get("error_description").cloned().unwrap_or_default();
            return Err(ProviderError::Refused { code: code.clone(), description });
        }

        let mut client = self.client(&document, callback.redirect_uri)?;
        let tokens = self.redeem(&client, &callback).await?;
        let id_token = tokens
            .id_token()
            .ok_or_else(|| ProviderError::invalid("id token", "the token endpoint sent none"))?;
        let now = self.clock.now();
        let mut verified = self.verify(&client, id_token, &callback.pending.nonce, now);
        if matches!(
            verified,
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey | SignatureVerificationError::CryptoError(_)
            ))
        ) {
            let document = self.metadata.after_unknown_key().await?;
            client = self.client(&document, callback.redirect_uri)?;
            verified = self.verify(&client, id_token, &callback.pending.nonce, now);
        }
        let mut claims = verified.map_err(|error| ProviderError::invalid(check_name(&error), error))?;
        let text = |claims: &Map<String, Value>, name: &str| {
            claims.get(name).and_then(Value::as_str).map(str::to_owned)
        };
        let subject = text(&claims, "sub").unwrap_or_default();
        // OpenID Connect Core 1.0, section 2: sub "MUST NOT exceed 255 ASCII characters in length".
        if subject.is_empty() || subject.len() > 255 || subject.chars().any(char::is_control) {
            return Err(ProviderError::invalid("sub", "it is empty, too long or holds control characters"));
        }

        if document.userinfo_endpoint().is_some()
            && ["email", "name"].iter().any(|name| !claims.contains_key(*name))
        {
            let from_id_token = claims.contains_key("email");
            if !from_id_token {
                claims.remove("email_verified");
            }
            for (name, value) in self.user_info(&client, tokens.access_token(), &subject).await? {
                // An address and what is said of it come from one document, or not at all.
                if name != "email_verified" || !from_id_token {
                    claims.entry(name).or_insert(value);
                }
            }
        }
        let amr = claims.get("amr").and_then(Value::as_array).map_or_else(Vec::new, |amr| {
            amr.iter()
                .filter_map(Value::as_str)
                .filter(|m| !m.contains(char::is_whitespace))
                .map(str::to_owned)
                .collect()
        });
        let auth_time =
            claims.get("auth_time").and_then(Value::as_i64).map_or(now, Timestamp::from_seconds).min(now);
        Ok(ExternalIdentity { issuer: self.settings.issuer.clone(), subject, claims, amr, auth_time })
    }

    async fn refresh(&self) -> Result<(), ProviderError> {
        self.metadata.get().await.map(drop)
    }
}

/// RFC 9207, section 2.4: clients "MUST reject the response if the parameter is absent" where the
/// server says that it sends it, and MUST compare it with the issuer they sent the browser to.
fn check_issuer(document: &Document, iss: Option<&String>) -> Result<(), ProviderError> {
    match iss {
        Some(iss) if iss == document.issuer().as_str() => Ok(()),
        Some(iss) => Err(ProviderError::invalid("iss", format!("the response is of `{iss}`"))),
        None if document.additional_metadata().authorization_response_iss_parameter_supported => {
            Err(ProviderError::invalid("iss", "the response does not say whose it is"))
        }
        None => Ok(()),
    }
}

/// The check that the log names.
fn check_name(error: &ClaimsVerificationError) -> &'static str {
    match error {
        ClaimsVerificationError::Expired(_) => "exp or iat",
        ClaimsVerificationError::InvalidAudience(_) => "aud",
        ClaimsVerificationError::InvalidIssuer(_) => "issuer",
        ClaimsVerificationError::InvalidNonce(_) => "nonce",
        ClaimsVerificationError::InvalidSubject(_) => "sub",
        ClaimsVerificationError::SignatureVerification(_) => "signature",
        _ => "id token",
    }
}
