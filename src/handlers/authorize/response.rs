//! Authorization responses (RFC 6749, section 4.1.2).

use super::client::SignInClient;
use super::step_up::is_sufficient;
use super::{page_url, pushed};
use crate::catalogue::Catalogue;
use crate::directory::{DirectoryError, ErrorKind};
use crate::handlers::{AppState, RequestData, unavailable};
use crate::model::{AuthorizationRequest, ResponseType, Session};
use crate::pages::ErrorResponse;
use crate::store::{StoreError, Tx};
use crate::token;
use crate::trigger::words_of_function;
use url::Url;

/// Returns the address of an authorization response. RFC 9207, section 2: every authorization
/// response, "including error responses", carries `iss`.
pub fn response_url(
    (response_type, redirect_uri): (ResponseType, &str),
    issuer: &str,
    pairs: &[(&str, &str)],
) -> Result<String, ErrorResponse> {
    let mut url = Url::parse(redirect_uri).map_err(|_| ErrorResponse::internal())?;
    match response_type {
        ResponseType::Code => drop(url.query_pairs_mut().extend_pairs(pairs).append_pair("iss", issuer)),
        // RFC 6749, section 4.2.2: "adding the following parameters to the fragment component of
        // the redirection URI". No server sees it.
        ResponseType::Token => {
            let mut fragment = url::form_urlencoded::Serializer::new(String::new());
            let fragment = fragment.extend_pairs(pairs).append_pair("iss", issuer).finish();
            url.set_fragment(Some(&fragment));
        }
    }
    Ok(url.into())
}

/// Returns the address at which a browser goes on after the sign-in of `session`: the client's with
/// a code or tokens, the page that asks for the user's consent, or the page of a device.
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
    // The sign-in that has just ended may have reached another level than the client needs.
    if !is_sufficient(request, session, app.clock.now()) {
        return Ok(page_url(catalogue, "/oauth2/authorize", Some(request), &[]));
    }
    if asks_consent(app, info, client, request, session).await? {
        return Ok(page_url(catalogue, "/consent", Some(request), &[]));
    }
    let granted = match request.response_type {
        ResponseType::Code => vec![("code", issue_code(app, info, request, session).await?)],
        ResponseType::Token => issue_tokens(app, info, client, request, session).await?,
    };
    let mut pairs: Vec<(&str, &str)> = granted.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if !request.state.is_empty() {
        pairs.push(("state", &request.state));
    }
    response_url((request.response_type, &request.redirect_uri), &client.issuer, &pairs)
}

/// Issues a code.
async fn issue_code(
    app: &AppState,
    info: &RequestData,
    request: &AuthorizationRequest,
    session: &Session,
) -> Result<String, ErrorResponse> {
    let (now, entropy) = (app.clock.now(), &*app.entropy);
    let code: Result<_, StoreError> = app
        .store
        .transaction(|tx| {
            Box::pin(async move {
                match is_first_use(tx, request).await? {
                    true => token::issue(tx, request, session, now, entropy).await.map(Some),
                    false => Ok(None),
                }
            })
        })
        .await;
    let code = code.map_err(|error| unavailable(info, &error))?;
    Ok(code.ok_or_else(ErrorResponse::attempt_lost)?.text())
}

/// Issues tokens (RFC 6749, section 4.2.2). "The authorization server MUST NOT issue a refresh
/// token."
async fn issue_tokens(
    app: &AppState,
    info: &RequestData,
    client: &SignInClient,
    request: &AuthorizationRequest,
    session: &Session,
) -> Result<Vec<(&'static str, String)>, ErrorResponse> {
    let is_first = app.store.transaction(|tx| Box::pin(is_first_use(tx, request))).await;
    if !is_first.map_err(|error| unavailable(info, &error))? {
        return Err(ErrorResponse::attempt_lost());
    }
    let sender = client.sender(info, None);
    let nonce = Some(&*request.nonce).filter(|nonce| !nonce.is_empty());
    let issued =
        app.directory.tokens.issue_for_session(sender, &client.issuer, session, &request.scope, nonce).await;
    let issued = issued.map_err(|error| match error.kind() {
        ErrorKind::Internal | ErrorKind::UnexpectedLambda | ErrorKind::InvalidLambdaResponse => {
            failed(info, &error)
        }
        ErrorKind::UserLambdaValidation => {
            ErrorResponse::forbidden().with_advice(words_of_function(error.message()).to_owned())
        }
        _ => ErrorResponse::forbidden(),
    })?;
    let is_openid = issued.scope.split(' ').any(|scope| scope == "openid");
    let mut pairs = vec![
        ("access_token", issued.tokens.access_token),
        ("token_type", "Bearer".to_owned()),
        ("expires_in", issued.tokens.expires_in.as_secs().to_string()),
        ("scope", issued.scope),
    ];
    if is_openid {
        pairs.insert(0, ("id_token", issued.tokens.id_token));
    }
    Ok(pairs)
}

/// Uses a pushed request up. Returns false if it was used before.
async fn is_first_use(tx: &mut Tx<'_>, request: &AuthorizationRequest) -> Result<bool, StoreError> {
    match pushed::hash_of(&request.request_uri) {
        Some(hash) => tx.use_pushed_request(&hash).await,
        None => Ok(request.request_uri.is_empty()),
    }
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
