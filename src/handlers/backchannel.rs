//! `/oauth2/backchannel-logout/{provider}`: ends sessions at a provider's request (OpenID Connect
//! Back-Channel Logout 1.0, section 2.5).

use super::error::OAuthError;
use super::logout::ended_by_provider;
use super::{AppState, Handled, Reply, RequestData, Shared, form, unavailable};
use crate::broker::LoginError;
use crate::pages::{ErrorResponse, HttpResponse};
use crate::provider::ProviderError;
use axum::extract::{Path, State};
use http::header::CONTENT_TYPE;

pub(super) async fn post(
    State(app): Shared,
    Path(provider): Path<String>,
    info: RequestData,
    text: String,
) -> Reply {
    Reply(end(&app, &info, &provider, &text).await)
}

async fn end(app: &AppState, info: &RequestData, provider: &str, text: &str) -> Handled {
    let refused = |reason: &str, detail: &str| {
        tracing::warn!(
            target: "audit",
            event = "backchannel_logout_failed",
            request_id = info.request_id,
            client = info.client(),
            provider,
            reason,
            detail,
        );
        // "If the logout request was invalid or the logout failed, the RP MUST respond with HTTP
        // 400".
        Ok(OAuthError::invalid_request(detail).to_response())
    };
    // "the HTTP POST request uses application/x-www-form-urlencoded encoding"
    let encoding = info.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    if !encoding.starts_with("application/x-www-form-urlencoded") {
        return refused("encoding", "the body is no form");
    }
    let Some(token) = form(text).and_then(|mut form| form.remove("logout_token")) else {
        return refused("logout_token", "there is no logout_token, or more than one");
    };
    let catalogue = app.catalogue.load();
    let ended = match app.broker.backchannel_logout(&catalogue, provider, &token).await {
        Ok(ended) => ended,
        Err(LoginError::NoSuchProvider) => return Err(ErrorResponse::not_found()),
        Err(LoginError::Store(error)) => return Err(unavailable(info, &error)),
        // The provider may send the token again.
        Err(LoginError::Provider(ProviderError::Unavailable(why))) => {
            tracing::warn!(request_id = info.request_id, provider, why, "cannot verify a logout token");
            return Err(ErrorResponse::unavailable());
        }
        Err(error) => return refused(error.reason(), &error.to_string()),
    };
    ended_by_provider(app, info, provider, &ended);
    // "If the logout succeeded, the RP MUST respond with HTTP 200 OK"; no matching session is
    // success.
    Ok(HttpResponse::default())
}
