//! Client authentication (RFC 6749, section 2.3) at the token, revocation and introspection
//! endpoints.

use super::client_assertion::{self, ASSERTION_TYPE};
use super::error::{EndpointError, OAuthError};
use super::{AppState, Form, Handled, RequestData, form, metrics};
use crate::authn::rate_limit_key;
use crate::base::Secret;
use crate::catalogue::{AppClient, Catalogue, Pool};
use crate::directory::{DirectoryError, PoolOfClient};
use crate::pages::{ErrorResponse, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONTENT_TYPE, PRAGMA};
use std::sync::Arc;

/// Maximum logged length of an unknown client id in characters.
const MAX_LOGGED_CLIENT_ID: usize = 128;

/// A request of an authenticated client.
pub(super) struct AuthenticatedClient<'a> {
    /// The client id.
    pub id: String,
    /// The client and its pool in the configuration; `None` for a client that was made by the API.
    pub declared: Option<(&'a Pool, &'a AppClient)>,
    /// Whether the client has neither a secret nor a key, so that its id proves nothing.
    pub is_public: bool,
    form: Form,
}

/// What a client presents: its id, and its credential unless it is public.
struct Presented {
    id: String,
    credential: Option<Credential>,
}

/// A client's credential.
enum Credential {
    Secret(String),
    Assertion(String),
}

impl<'a> AuthenticatedClient<'a> {
    /// Returns the request's form, which holds the client's credentials.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Returns a parameter of the request's form.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.form.get(name).map(String::as_str)
    }

    /// Returns a required parameter.
    ///
    /// # Errors
    /// `invalid_request`, if it is missing.
    pub fn required(&self, name: &str) -> Result<&str, OAuthError> {
        self.parameter(name).ok_or_else(|| OAuthError::invalid_request(format!("`{name}` is missing")))
    }

    /// Checks that the client has a secret or a key.
    ///
    /// # Errors
    /// `unauthorized_client`, for a public client.
    pub fn check_confidential(&self) -> Result<(), OAuthError> {
        match self.is_public {
            true => Err(OAuthError::new("unauthorized_client", "only a confidential client may do this")),
            false => Ok(()),
        }
    }

    /// Returns the client with its pool as the directory has it.
    ///
    /// # Errors
    /// `invalid_client` if it was deleted; the database fails.
    pub async fn in_directory(
        &self,
        app: &AppState,
        info: &RequestData,
    ) -> Result<Arc<PoolOfClient>, EndpointError> {
        let found = app.directory.pools.client(&self.id).await.map_err(|error| failed(info, &error))?;
        found.ok_or_else(|| invalid_client().into())
    }
}

/// Authenticates the client, then calls `handle`.
pub(super) async fn answer(
    app: &AppState,
    info: &RequestData,
    endpoint: &'static str,
    body: &[u8],
    handle: impl AsyncFnOnce(AuthenticatedClient<'_>) -> Result<HttpResponse, EndpointError>,
) -> Handled {
    let catalogue = app.catalogue.load();
    let answered = match authenticate_client(app, info, &catalogue, body).await {
        Ok(client) => handle(client).await,
        Err(error) => Err(error),
    };
    let (mut response, result) = match answered {
        Ok(response) => (response, "success"),
        Err(EndpointError::Error(error)) => (error.to_response(), error.code),
        Err(EndpointError::Failure(failure)) => {
            metrics::oauth(endpoint, failure.code);
            return Err(failure);
        }
    };
    metrics::oauth(endpoint, result);
    // RFC 6749, section 5.1; `Cache-Control: no-store` is set on all responses.
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    // Apps in browsers call these endpoints from their own origins. No cookie has an effect here.
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Ok(response)
}

/// Limits the requests that the database keeps for a client or, of a public client, for an address.
///
/// # Errors
/// There were too many.
pub(super) fn limit_stored_requests(
    app: &AppState,
    info: &RequestData,
    of: &AuthenticatedClient<'_>,
) -> Result<(), OAuthError> {
    let address = info.client.filter(|_| of.is_public).map(rate_limit_key);
    let checked = match &address {
        Some(address) => app.limits.public_requests.check(Some(address)),
        None => app.limits.stored_requests.check(Some(&of.id)),
    };
    if let Err(wait) = checked {
        let why = format!("too many requests: wait {} s", wait.as_secs().max(1));
        return Err(OAuthError { retry_after: Some(wait), ..OAuthError::invalid_request(why) });
    }
    match address {
        Some(address) => app.limits.public_requests.record(Some(address)),
        None => app.limits.stored_requests.record(Some(of.id.clone())),
    }
    Ok(())
}

fn failed(info: &RequestData, error: &DirectoryError) -> EndpointError {
    tracing::error!(request_id = info.request_id, %error, "cannot read an app client");
    ErrorResponse::unavailable().into()
}

/// Returns the parameters of a request's body.
fn read_form(info: &RequestData, body: &[u8]) -> Result<Form, OAuthError> {
    let encoding = info.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    let (media_type, _) = encoding.split_once(';').unwrap_or((encoding, ""));
    if !media_type.trim_end().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(OAuthError::invalid_request("the body must be application/x-www-form-urlencoded"));
    }
    let form = std::str::from_utf8(body).ok().and_then(form);
    let mut form =
        form.ok_or_else(|| OAuthError::invalid_request("a parameter comes twice, or is no text"))?;
    // RFC 6749, section 3.2: "Parameters sent without a value MUST be treated as if they were
    // omitted from the request."
    form.retain(|_, value| !value.is_empty());
    Ok(form)
}

/// Authenticates the app client of the request, which belongs to any user pool. A client of the
/// configuration needs no read of the database.
async fn authenticate_client<'a>(
    app: &AppState,
    info: &RequestData,
    catalogue: &'a Catalogue,
    body: &[u8],
) -> Result<AuthenticatedClient<'a>, EndpointError> {
    let form = read_form(info, body)?;
    let presented = client_credentials(info, &form)?;
    let refused = |id: &str, reason: &str| {
        tracing::warn!(
            target: "audit",
            event = "client_authentication_failed",
            request_id = info.request_id,
            client = info.client(),
            client_id = id.chars().take(MAX_LOGGED_CLIENT_ID).collect::<String>(),
            reason,
        );
    };
    let declared = presented.iter().find_map(|of| catalogue.client(&of.id));
    let declared = declared.map(|(pool, client)| (pool, &**client));
    let stored = match declared {
        Some(_) => None,
        None => stored_client(app, info, &presented).await?,
    };
    let known =
        declared.map(|(_, client)| client.id.as_str()).or(stored.as_ref().map(|of| of.client.id.as_str()));
    let Some(id) = known.map(str::to_owned) else {
        refused(presented.first().map_or("", |of| &of.id), "there is no such client");
        return Err(invalid_client().into());
    };
    // Section 2.3.1: "the authorization server MUST protect any endpoint utilizing it against brute
    // force attacks". By address and client, so that one client cannot lock out another.
    // A public client has no secret to guess: any site could make a browser use up its limit.
    let is_confidential = match (declared, &stored) {
        (Some((_, client)), _) => client.is_confidential(),
        (None, stored) => stored.as_ref().is_some_and(|of| !of.secrets.is_empty()),
    };
    let from = info.client.filter(|_| is_confidential).map(|address| (rate_limit_key(address), id.clone()));
    if let Err(wait) = app.limits.client_failures.check(from.as_ref()) {
        refused(&id, "too many failures");
        let why = format!("too many failures from this address: wait {} s", wait.as_secs().max(1));
        return Err(OAuthError { retry_after: Some(wait), ..OAuthError::new("invalid_client", why) }.into());
    }
    let known = (declared, stored.as_deref());
    if let Err(reason) = verify_credential(app, info, &id, known, &presented).await? {
        app.limits.client_failures.record(from);
        refused(&id, reason);
        return Err(invalid_client().into());
    }
    let is_public = presented.iter().all(|of| of.credential.is_none());
    Ok(AuthenticatedClient { id, declared, is_public, form })
}

/// Verifies what was presented of the client `id`, which the configuration declares or the database
/// has. A public client presents nothing.
///
/// # Errors
/// The outer error is of the database or of the client's keys. The inner error is the reason why
/// the client is refused.
async fn verify_credential(
    app: &AppState,
    info: &RequestData,
    id: &str,
    (declared, stored): (Option<(&Pool, &AppClient)>, Option<&PoolOfClient>),
    presented: &[Presented],
) -> Result<Result<(), &'static str>, EndpointError> {
    for of in presented.iter().filter(|of| of.id == id) {
        let secret = match (&of.credential, declared) {
            (Some(Credential::Assertion(text)), Some(client)) => {
                return client_assertion::verify(app, info, client, text).await;
            }
            (Some(Credential::Assertion(_)), None) => return Ok(Err("the client has no keys")),
            (Some(Credential::Secret(secret)), _) => Some(secret.as_str()),
            (None, _) => None,
        };
        let is_verified = match (declared, stored) {
            (Some((_, client)), _) => client.authenticate(secret),
            (None, Some(of)) => of.check_secret(secret.map(Secret::new).as_ref()).is_ok(),
            (None, None) => false,
        };
        if is_verified {
            return Ok(Ok(()));
        }
    }
    Ok(Err("the secret is wrong"))
}

/// Returns a presented client that was made by the API.
async fn stored_client(
    app: &AppState,
    info: &RequestData,
    presented: &[Presented],
) -> Result<Option<Arc<PoolOfClient>>, EndpointError> {
    for of in presented {
        if let Some(found) = app.directory.pools.client(&of.id).await.map_err(|error| failed(info, &error))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn invalid_client() -> OAuthError {
    OAuthError::new("invalid_client", "there is no such client, or its credentials are not valid")
}

/// Returns the request's client id and credential, in each possible decoding.
fn client_credentials(info: &RequestData, form: &Form) -> Result<Vec<Presented>, OAuthError> {
    let parameter = |name: &str| form.get(name).cloned();
    // Section 2.3: "The client MUST NOT use more than one authentication method in each request."
    if info.count(&AUTHORIZATION) > 1 {
        return Err(OAuthError::invalid_request("there is more than one Authorization header"));
    }
    if let Some(assertion) = form.get("client_assertion") {
        return asserted(info, form, assertion).map(|presented| vec![presented]);
    }
    let malformed = || OAuthError::new("invalid_client", "the Authorization header is not HTTP Basic's");
    if info.count(&AUTHORIZATION) == 1 && info.header(AUTHORIZATION.as_str()).is_none() {
        return Err(malformed());
    }
    let Some(header) = info.header(AUTHORIZATION.as_str()) else {
        return match (parameter("client_id"), parameter("client_secret")) {
            (Some(id), secret) => Ok(vec![Presented { id, credential: secret.map(Credential::Secret) }]),
            (None, _) => Err(OAuthError::new(
                "invalid_client",
                "prove who you are: by HTTP Basic, by client_id and client_secret in the body, or by client_assertion",
            )),
        };
    };
    if form.contains_key("client_secret") {
        return Err(OAuthError::invalid_request(
            "the client's secret comes twice: in a header and in the body",
        ));
    }
    let (scheme, credentials) = header.split_once(' ').ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(malformed());
    }
    let plain = STANDARD.decode(credentials.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let plain = plain.ok_or_else(malformed)?;
    let (id, secret) = plain.split_once(':').ok_or_else(malformed)?;
    // Section 2.3.1 requires both "encoded using the "application/x-www-form-urlencoded" encoding
    // algorithm" first; many clients omit that, and random secrets may contain `+` or `/`.
    // A public client may send an empty password (RFC 6749, section 2.3.1).
    let secret = Some(secret).filter(|secret| !secret.is_empty());
    let of =
        |id: String, secret: Option<String>| Presented { id, credential: secret.map(Credential::Secret) };
    let mut presented = vec![of(id.to_owned(), secret.map(str::to_owned))];
    if plain.contains(['%', '+']) {
        presented.push(of(form_decoded(id), secret.map(form_decoded)));
    }
    if parameter("client_id").is_some_and(|client_id| presented.iter().all(|of| of.id != client_id)) {
        return Err(OAuthError::invalid_request("`client_id` and the Authorization header name two clients"));
    }
    Ok(presented)
}

/// Returns the client that an assertion in the body names (RFC 7521, section 4.2).
fn asserted(info: &RequestData, form: &Form, assertion: &str) -> Result<Presented, OAuthError> {
    // RFC 6749, section 2.3: "The client MUST NOT use more than one authentication method in each
    // request."
    if info.count(&AUTHORIZATION) > 0 || form.contains_key("client_secret") {
        return Err(OAuthError::invalid_request("the client authenticates by an assertion and a secret"));
    }
    if form.get("client_assertion_type").is_none_or(|kind| kind != ASSERTION_TYPE) {
        return Err(OAuthError::new(
            "invalid_client",
            format!("client_assertion_type must be {ASSERTION_TYPE}"),
        ));
    }
    let id = client_assertion::named_client(assertion)
        .ok_or_else(|| OAuthError::new("invalid_client", "client_assertion is not a JWT with `sub`"))?;
    // RFC 7521, section 4.2: a `client_id` must "identify the same client".
    if form.get("client_id").is_some_and(|client_id| *client_id != id) {
        return Err(OAuthError::invalid_request("`client_id` and `client_assertion` name two clients"));
    }
    Ok(Presented { id, credential: Some(Credential::Assertion(assertion.to_owned())) })
}

/// Decodes a whole text with the form encoding; `&` and `=` are ordinary characters.
fn form_decoded(text: &str) -> String {
    let name = text.replace('&', "%26").replace('=', "%3D");
    let decoded = url::form_urlencoded::parse(name.as_bytes());
    decoded.map(|(name, _)| name.into_owned()).next().unwrap_or_default()
}
