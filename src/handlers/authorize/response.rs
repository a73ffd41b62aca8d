//! Authorization responses (RFC 6749, section 4.1.2).

use super::client::SignInClient;
use super::{page_url, pushed};
use crate::catalogue::Catalogue;
use crate::directory::DirectoryError;
use crate::handlers::{AppState, RequestData, unavailable};
use crate::model::{AuthorizationRequest, Session};
use crate::pages::ErrorResponse;
use crate::store::StoreError;
use crate::token;
use url::Url;

/// Returns the address of an authorization response. RFC 9207, section 2: every authorization
/// response, "including error responses", carries `iss`.
pub fn response_url(
    redirect_uri: &str,
    issuer: &str,
    pairs: &[(&str, &str)],
) -> Result<String, ErrorResponse> {
    let mut url = Url::parse(redirect_uri).map_err(|_| ErrorResponse::internal())?;
    url.query_pairs_mut().extend_pairs(pairs).append_pair("iss", issuer);
    Ok(url.into())
}

/// Returns the address at which a browser goes on after the sign-in of `session`: the client's with
/// a code, the page that asks for the user's consent, or the page of a device.
///
/// # Errors
/// A pushed request was used before; the database fails.
pub async fn grant(
    app: &AppState,
    catalogue: &Catalogue,
    info: &RequestData,
    client: &SignInClient,
    request: &AuthorizationRequest,
    session: &Session,
) -> Result<String, ErrorResponse> {
    if !request.user_code.is_empty() {
        return Ok(page_url(catalogue, "/device", Some(request), &[]));
    }
    if asks_consent(app, info, client, request, session).await? {
        return Ok(page_url(catalogue, "/consent", Some(request), &[]));
    }
    let (now, entropy) = (app.clock.now(), &*app.entropy);
    let pushed = pushed::hash_of(&request.request_uri);
    let code: Result<_, StoreError> = app
        .store
        .transaction(|tx| {
            Box::pin(async move {
                let is_first = match &pushed {
                    Some(hash) => tx.use_pushed_request(hash).await?,
                    None => request.request_uri.is_empty(),
                };
                match is_first {
                    true => token::issue(tx, request, session, now, entropy).await.map(Some),
                    false => Ok(None),
                }
            })
        })
        .await;
    let code = code.map_err(|error| unavailable(info, &error))?;
    let code = code.ok_or_else(ErrorResponse::attempt_lost)?.text();
    let mut pairs = vec![("code", code.as_str())];
    if !request.state.is_empty() {
        pairs.push(("state", &request.state));
    }
    response_url(&request.redirect_uri, &client.issuer, &pairs)
}

/// Returns whether the user must be asked whether the client may have the scopes of a request.
///
/// # Errors
/// The database fails.
pub async fn asks_consent(
    app: &AppState,
    info: &RequestData,
    client: &SignInClient,
    request: &AuthorizationRequest,
    session: &Session,
) -> Result<bool, ErrorResponse> {
    if client.is_gateway || !client.of.client.settings.extensions.require_consent {
        return Ok(false);
    }
    if request.asks_consent {
        return Ok(true);
    }
    let granted = app.directory.deps.has_consent(&session.user_id, &request.client_id, &request.scope).await;
    Ok(!granted.map_err(|error| failed(info, &error))?)
}

/// Returns the error page for a failure of the directory.
pub fn failed(info: &RequestData, error: &DirectoryError) -> ErrorResponse {
    tracing::error!(request_id = info.request_id, %error, "the directory failed");
    ErrorResponse::unavailable()
}
