//! Authorization responses (RFC 6749, section 4.1.2).

use super::pushed;
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

/// Issues a code for `session`, and returns the address with which the browser takes it to the
/// client.
///
/// # Errors
/// A pushed request was used before; the database fails.
pub async fn grant(
    app: &AppState,
    info: &RequestData,
    issuer: &str,
    request: &AuthorizationRequest,
    session: &Session,
) -> Result<String, ErrorResponse> {
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
    response_url(&request.redirect_uri, issuer, &pairs)
}
