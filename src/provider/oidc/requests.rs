//! What is asked of the token endpoint (RFC 6749, sections 4.1.3 and 6), by the library's client.

use super::OidcProvider;
use crate::base::Secret;
use crate::provider::metadata::ProviderMetadata;
use crate::provider::token_response::GrantedTokens;
use crate::provider::{Callback, LoginState, ProviderError, client};
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreErrorResponseType, CoreGenderClaim, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse,
};
use openidconnect::{
    AuthUrl, ClientId, EmptyAdditionalClaims, EndpointNotSet, EndpointSet, IssuerUrl, JsonWebKeySet,
    PkceCodeVerifier, RefreshToken, StandardErrorResponse, TokenUrl,
};

/// The library's client, whose token responses are read by [`GrantedTokens`].
type ClientWith<AuthorizationEndpoint, TokenEndpoint> = openidconnect::Client<
    EmptyAdditionalClaims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    GrantedTokens,
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
pub(super) type Client = ClientWith<EndpointSet, EndpointSet>;
type Blank = ClientWith<EndpointNotSet, EndpointNotSet>;

impl OidcProvider {
    /// The client, and what its token requests carry beside.
    pub(super) fn client(
        &self,
        document: &ProviderMetadata,
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

    pub(super) async fn redeem(
        &self,
        (client, parameters): &(Client, client::Parameters),
        callback: &Callback<'_>,
        pending: &LoginState,
    ) -> Result<GrantedTokens, ProviderError> {
        let mut request = client.exchange_code(callback.code()?);
        if self.settings.quirks.pkce {
            request = request.set_pkce_verifier(PkceCodeVerifier::new(pending.code_verifier.clone()));
        }
        for (name, value) in parameters {
            request = request.add_extra_param(*name, value);
        }
        request.request_async(&self.outbound).await.map_err(client::code_exchange_error)
    }

    /// New tokens for a refresh token (RFC 6749, section 6).
    pub(super) async fn refresh_grant(
        &self,
        (client, parameters): &(Client, client::Parameters),
        refresh_token: &Secret,
    ) -> Result<GrantedTokens, ProviderError> {
        let refresh_token = RefreshToken::new(refresh_token.expose().to_owned());
        let mut request = client.exchange_refresh_token(&refresh_token);
        for (name, value) in parameters {
            request = request.add_extra_param(*name, value);
        }
        request.request_async(&self.outbound).await.map_err(client::refresh_error)
    }
}
