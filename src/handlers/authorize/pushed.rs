//! `/oauth2/par`: authorization requests that a client sends to the server itself (RFC 9126). The
//! browser brings only a reference to them.

use super::client::{SignInClient, app_client};
use super::request::{AuthorizeError, SignInRequest};
use crate::base::{Duration, RandomToken, Timestamp};
use crate::handlers::client::{self, AuthenticatedClient, limit_stored_requests};
use crate::handlers::error::{EndpointError, OAuthError};
use crate::handlers::{AppState, Form, Reply, RequestData, Shared, dpop, form, unavailable};
use crate::model::PushedRequest;
use crate::pages::{ErrorResponse, HttpResponse, with_body};
use crate::store::{Store, StoreError};
use axum::body::Bytes;
use axum::extract::State;
use http::{Method, StatusCode};

/// The form of a `request_uri` of a pushed request (RFC 9126, section 2.2).
const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";
/// The time within which a browser must open a pushed request.
const LIFETIME: Duration = Duration::from_secs(600);
/// The time within which a user must complete the sign-in that began with a pushed request: the
/// code of a sign-up may come late.
const SIGN_IN_LIFETIME: Duration = Duration::from_secs(86_400);
/// Maximum length of the parameters in bytes, form-encoded.
const MAX_PARAMETERS_LENGTH: usize = 8192;
/// The parameters of authorization requests. Others are not stored.
const PARAMETERS: [&str; 19] = [
    "response_type",
    "response_mode",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    DPOP_JKT,
    "prompt",
    "max_age",
    "login_hint",
    "identity_provider",
    "idp_identifier",
    "lang",
    "ui_locales",
    // Not supported: the request is refused.
    "request",
    "registration",
    "user_code",
];
const DPOP_JKT: &str = "dpop_jkt";
/// The parameters that pages add to a request: the user's own choices.
const USER_CHOICES: [&str; 4] = ["identity_provider", "login_hint", "prompt", "lang"];

/// Answers a pushed authorization request.
pub async fn push(State(app): Shared, info: RequestData, body: Bytes) -> Reply {
    let push = async |request: AuthenticatedClient<'_>| push_request(&app, &info, &request).await;
    Reply(client::answer(&app, &info, "par", &body, push).await)
}

async fn push_request(
    app: &AppState,
    info: &RequestData,
    sender: &AuthenticatedClient<'_>,
) -> Result<HttpResponse, EndpointError> {
    let mut form = sender.form().clone();
    // Section 2.1: "The request_uri authorization request parameter is one exception, and it MUST
    // NOT be provided."
    if form.contains_key("request_uri") {
        return Err(OAuthError::invalid_request("`request_uri` may not be pushed").into());
    }
    form.retain(|name, _| PARAMETERS.contains(&name.as_str()));
    form.insert("client_id".to_owned(), sender.id.clone());
    bind_to_proof(app, info, &mut form).await?;
    let parameters = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form).finish();
    if parameters.len() > MAX_PARAMETERS_LENGTH {
        return Err(ErrorResponse::too_large().into());
    }
    // Section 2.3: 429 for a client that sends too many requests.
    limit_stored_requests(app, info, sender)?;
    let catalogue = app.catalogue.load();
    let client = app_client(app, &catalogue, &sender.id).await.map_err(|error| {
        tracing::error!(request_id = info.request_id, %error, "cannot read an app client");
        ErrorResponse::unavailable()
    })?;
    let client = client.ok_or_else(|| OAuthError::new("unauthorized_client", "the client is the gateway"))?;
    // Section 2.1: the server must "Validate the pushed request as it would an authorization
    // request sent to the authorization endpoint."
    if let Err(error) = SignInRequest::of_client(&catalogue, client, form) {
        return Err(match error {
            AuthorizeError::Page(why) => OAuthError::invalid_request(why).into(),
            AuthorizeError::Client(of) => OAuthError::new(of.error, of.description).into(),
            AuthorizeError::Failure(failure) => failure.into(),
        });
    }
    let uri = store(app, &sender.id, parameters).await.map_err(|error| unavailable(info, &error))?;
    let text = serde_json::json!({ "request_uri": uri, "expires_in": LIFETIME.as_secs() });
    Ok(with_body(StatusCode::CREATED, "application/json", text.to_string()))
}

/// Binds the code to the key that the client proves. RFC 9449, section 10.1: the server checks the
/// proof, and "uses the JWK Thumbprint [...] in the DPoP proof as if it had been received as a
/// dpop_jkt parameter".
async fn bind_to_proof(app: &AppState, info: &RequestData, form: &mut Form) -> Result<(), EndpointError> {
    let Some(proof) = dpop::proof(app, info, &Method::POST, "/oauth2/par", None)? else { return Ok(()) };
    dpop::use_once(app, info, &proof).await?;
    match form.insert(DPOP_JKT.to_owned(), proof.thumbprint.clone()) {
        Some(other) if other != proof.thumbprint => {
            Err(OAuthError::invalid_request("`dpop_jkt` is of another key than the DPoP proof").into())
        }
        _ => Ok(()),
    }
}

/// Stores a request. Returns its `request_uri`.
async fn store(app: &AppState, client_id: &str, parameters: String) -> Result<String, StoreError> {
    let (now, token) = (app.clock.now(), RandomToken::random(&*app.entropy));
    let request = &PushedRequest {
        hash: token.hash(),
        client_id: client_id.to_owned(),
        parameters,
        created_at: now,
        is_started: false,
        is_used: false,
        expires_at: now.plus(LIFETIME),
    };
    app.store.transaction(|tx| Box::pin(async move { tx.add_pushed_request(request).await })).await?;
    Ok(format!("{PREFIX}{}", token.text()))
}

/// Returns whether the text is the `request_uri` of a pushed request.
pub fn is_pushed(request_uri: &str) -> bool {
    request_uri.starts_with(PREFIX)
}

/// Returns the hash of the random part of a `request_uri`.
pub fn hash_of(request_uri: &str) -> Option<[u8; 32]> {
    Some(RandomToken::parse(request_uri.strip_prefix(PREFIX)?)?.hash())
}

/// Returns the parameters of the pushed request that `form` names, and when it was pushed; or
/// `form` itself.
///
/// # Errors
/// The request is unknown, has expired, was used, or is another client's; the database fails.
pub async fn resolve(
    app: &AppState,
    info: &RequestData,
    client: &SignInClient,
    mut form: Form,
) -> Result<(Form, Option<Timestamp>), AuthorizeError> {
    let Some(uri) = form.remove("request_uri") else { return Ok((form, None)) };
    if !is_pushed(&uri) {
        form.insert("request_uri".to_owned(), uri);
        return Ok((form, None));
    }
    let failed = |error: StoreError| AuthorizeError::Failure(unavailable(info, &error));
    let found = find(&app.store, &uri, &client.of.client.id, app.clock.now()).await.map_err(failed)?;
    let request = found.ok_or_else(|| AuthorizeError::Failure(ErrorResponse::attempt_lost()))?;
    if !request.is_started {
        let (of, hash, until) = (&app.store, &request.hash, app.clock.now().plus(SIGN_IN_LIFETIME));
        of.transaction(|tx| Box::pin(async move { tx.start_pushed_request(hash, until).await }))
            .await
            .map_err(failed)?;
    }
    Ok((merged(&request.parameters, &form, uri), Some(request.created_at)))
}

async fn find(
    store: &Store,
    uri: &str,
    client_id: &str,
    now: Timestamp,
) -> Result<Option<PushedRequest>, StoreError> {
    let Some(hash) = hash_of(uri) else { return Ok(None) };
    let is_valid = |of: &PushedRequest| {
        // Section 4: "Authorization servers SHOULD treat request_uri values as one-time use but MAY
        // allow for duplicate requests due to a user reloading/refreshing their user agent."
        of.client_id == client_id && !of.is_used && now < of.expires_at
    };
    Ok(store.pushed_request(&hash).await?.filter(is_valid))
}

/// Returns the pushed parameters with the user's own choices. RFC 9101, section 6.3: the server
/// "MUST only use the parameters in the Request Object even if the same parameter is provided in
/// the query parameter".
fn merged(pushed: &str, brought: &Form, uri: String) -> Form {
    let mut parameters = form(pushed).unwrap_or_default();
    for name in USER_CHOICES {
        if let (false, Some(value)) = (parameters.contains_key(name), brought.get(name)) {
            parameters.insert(name.to_owned(), value.clone());
        }
    }
    parameters.insert("request_uri".to_owned(), uri);
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_counts_and_the_user_may_choose_the_rest() {
        let brought =
            form("scope=admin&redirect_uri=https%3A%2F%2Fe.example&lang=de&prompt=none&login_hint=ada")
                .unwrap();
        let merged = merged("client_id=spa&scope=openid&prompt=login", &brought, "urn:x".to_owned());
        let expected =
            form("client_id=spa&scope=openid&prompt=login&lang=de&login_hint=ada&request_uri=urn:x");
        assert_eq!(Some(merged), expected);
    }
}
