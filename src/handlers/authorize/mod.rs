//! `/oauth2/authorize` (RFC 6749, section 4.1.1) and `/login`: a sign-in begins.

mod attempts;
mod client;
mod consent;
mod device;
mod pushed;
mod request;
mod response;
mod step_up;

pub use attempts::{expired_attempts, surplus_attempts};
pub use client::{SignInClient, client_by_id, own_client};
pub use consent::{consent, consent_form, scope_descriptions};
pub use device::{device, device_authorization, device_decision, device_form};
pub use pushed::push;
pub use request::SignInRequest;
pub use response::{failed, grant};

use super::hosted::{SignInForm, sign_in_page};
use super::{AppState, Handled, Reply, RequestData, Shared, form_as_query, session_principal};
use crate::authn::{LOGIN_COOKIE, SessionPrincipal, set_cookie_value_same_site};
use crate::broker::{ATTEMPT_COOKIE_LIFETIME, LoginError};
use crate::catalogue::Catalogue;
use crate::config::{SameSite, SecondFactorRule};
use crate::model::{AcrLevel, AuthorizationRequest, Session};
use crate::pages::{ErrorResponse, browser_action, see_other, set_cookie};
use crate::provider::{LoginHints, ProviderError};
use attempts::drop_oldest_attempts;
use axum::extract::State;
use http::Method;
use step_up::NextStep;

/// The parameters of an app host's authorization request.
pub struct AuthorizationUrl<'a> {
    /// The redirect URI.
    pub redirect_uri: &'a str,
    /// The state.
    pub state: &'a str,
    /// The PKCE challenge, S256.
    pub code_challenge: &'a str,
    /// The second factor that the route requires.
    pub second_factor: Option<SecondFactorRule>,
}

/// Returns the address of the gateway's authorization request to the sign-in host.
pub fn authorization_url(catalogue: &Catalogue, request: &AuthorizationUrl<'_>) -> String {
    let request = AuthorizationRequest {
        client_id: catalogue.gateway_client.clone(),
        redirect_uri: request.redirect_uri.to_owned(),
        state: request.state.to_owned(),
        code_challenge: request.code_challenge.to_owned(),
        levels: request.second_factor.map(|_| AcrLevel::Three).into_iter().collect(),
        factor_age: request.second_factor.and_then(|rule| rule.max_age).map(|age| age.as_secs()),
        ..AuthorizationRequest::default()
    };
    page_url(catalogue, "/oauth2/authorize", Some(&request), &[])
}

/// Returns the address of a page of the sign-in host that continues `request`.
pub(super) fn page_url(
    catalogue: &Catalogue,
    path: &str,
    request: Option<&AuthorizationRequest>,
    more: &[(&str, &str)],
) -> String {
    let mut pairs = request.map(request_parameters).unwrap_or_default();
    for (name, value) in more.iter().copied() {
        // A parameter may come once: the values of `prompt` are a list.
        match pairs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => *values = format!("{values} {value}"),
            None => pairs.push((name, value.to_owned())),
        }
    }
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let separator = if query.is_empty() { "" } else { "?" };
    catalogue.config.public_url.join(&format!("{path}{separator}{query}"))
}

/// Returns the parameters of a request.
pub(super) fn request_parameters(request: &AuthorizationRequest) -> Vec<(&'static str, String)> {
    let of_client = ("client_id", request.client_id.clone());
    let consent = request.asks_consent.then_some(("prompt", CONSENT.to_owned()));
    if !request.user_code.is_empty() {
        return vec![of_client, ("user_code", request.user_code.clone())];
    }
    if !request.request_uri.is_empty() {
        let pushed = ("request_uri", request.request_uri.clone());
        return [of_client, pushed].into_iter().chain(consent).collect();
    }
    let scope = if request.scope.is_empty() { "openid" } else { &request.scope };
    let mut pairs = vec![
        ("response_type", request.response_type.name().to_owned()),
        of_client,
        ("redirect_uri", request.redirect_uri.clone()),
        ("scope", scope.to_owned()),
    ];
    let challenge = &request.code_challenge;
    let method = if challenge.is_empty() { "" } else { "S256" };
    let levels: Vec<_> = request.levels.iter().map(|level| level.name()).collect();
    let optional = [
        ("state", request.state.clone()),
        ("code_challenge", challenge.clone()),
        ("code_challenge_method", method.to_owned()),
        ("nonce", request.nonce.clone()),
        ("dpop_jkt", request.dpop_jkt.clone()),
        ("acr_values", levels.join(" ")),
        (FACTOR_AGE, request.factor_age.map_or_else(String::new, |age| age.to_string())),
    ];
    pairs.extend(optional.into_iter().filter(|(_, value)| !value.is_empty()));
    pairs.extend(consent);
    pairs
}

/// The parameter of the gateway's requests with the greatest age of a second factor, in seconds.
const FACTOR_AGE: &str = "factor_age";

/// The value of `prompt` with which Narthex's pages request another account.
const OTHER_ACCOUNT: &str = "select_account";
/// The value of `prompt` with which a client has the user asked for consent again.
const CONSENT: &str = "consent";

/// Returns the address of a sign-in with another account of `provider` that continues `request`.
pub(super) fn other_account_url(
    catalogue: &Catalogue,
    request: Option<&AuthorizationRequest>,
    provider: &str,
) -> String {
    let path = if request.is_some() { "/oauth2/authorize" } else { "/login" };
    page_url(catalogue, path, request, &[("identity_provider", provider), ("prompt", OTHER_ACCOUNT)])
}

pub(super) async fn authorize(State(app): Shared, info: RequestData) -> Reply {
    Reply(start(&app, &info, true).await)
}

/// Answers a request that comes as a form. OpenID Connect Core 1.0, section 3.1.2.1: servers "MUST
/// support the use of the HTTP GET and POST methods".
pub(super) async fn authorize_form(State(app): Shared, text: String) -> Reply {
    Reply(form_as_query(&app, "/oauth2/authorize", &text))
}

pub(super) async fn login(State(app): Shared, info: RequestData) -> Reply {
    Reply(start(&app, &info, false).await)
}

/// Starts a login. An authorization request without a provider, or any cross-site request, uses an
/// existing session at once. Otherwise the login uses the requested provider, the provider of the
/// e-mail address, or the only provider. If there is none of these, it shows the sign-in page.
async fn start(app: &AppState, info: &RequestData, is_endpoint: bool) -> Handled {
    let catalogue = app.catalogue.load();
    let read = SignInRequest::read(app, &catalogue, info, is_endpoint).await;
    let request = match read {
        Ok(request) => request,
        Err(refusal) => return refusal.into_response(info),
    };
    if may_use_session(info, &request, is_endpoint)
        && let Some(principal) = usable_session(app, info, &request).await?
    {
        if request.prompt.none
            && let Some(of) = &request.request
            && response::asks_consent(app, info, &request.client, of, principal.session()).await?
        {
            return request.error("consent_required", "the user must be asked").into_response(info);
        }
        return match step_up::next_step(app, info, Box::new(request), principal.session()).await? {
            NextStep::Continue(request) => {
                see_other(&continuation(app, &catalogue, info, &request, &principal).await?)
            }
            NextStep::Respond(response) => response,
        };
    }
    if request.prompt.none {
        let why = "the user is not signed in";
        return request.error("login_required", why).into_response(info);
    }
    let client = &request.client;
    let by_address = request.login_hint.as_ref().and_then(|hint| client.provider_of(&catalogue, hint));
    let named = match (&request.provider, by_address, client.providers.as_slice()) {
        (Some(name), ..) if client.is_gateway || client.offers(name) => Some(name.clone()),
        (None, Some(found), _) => Some(found),
        (None, None, [only]) if !client.has_passwords => Some(only.clone()),
        _ => None,
    };
    match named.filter(|name| name != crate::config::LOCAL_PROVIDER) {
        Some(provider) => {
            // A form of Narthex that names no provider must not redirect directly.
            let by_form = !is_endpoint && request.provider.is_none();
            let method = if by_form { Method::POST } else { Method::GET };
            to_provider(app, &catalogue, info, &provider, request, &method).await
        }
        None => {
            let typed = request.login_hint.clone().unwrap_or_default();
            let unknown_address = !is_endpoint && !client.has_passwords && !typed.is_empty();
            let form = SignInForm { name: &typed, unknown_address, ..SignInForm::default() };
            sign_in_page(&catalogue, info, &request, form)
        }
    }
}

/// Returns the sign-in page for the sign-in host's own pages.
pub(super) async fn own_sign_in_page(app: &AppState, catalogue: &Catalogue, info: &RequestData) -> Handled {
    match SignInRequest::read(app, catalogue, info, false).await {
        Ok(request) => sign_in_page(catalogue, info, &request, SignInForm::default()),
        Err(refusal) => refusal.into_response(info),
    }
}

/// Returns whether a session that exists may answer the request. Any site can navigate a browser
/// here: a cross-site request must not replace the signed-in user, unless an app client asks for
/// another sign-in, in which the user takes part.
fn may_use_session(info: &RequestData, request: &SignInRequest, is_endpoint: bool) -> bool {
    let is_foreign =
        info.header("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    let asks_again = request.prompt.login || request.prompt.select_account;
    match request.client.is_gateway {
        true => is_foreign || (is_endpoint && request.provider.is_none()),
        false => !asks_again && (is_foreign || (is_endpoint && request.provider.is_none())),
    }
}

/// Returns the browser's session if it signs its user in to the client, and is as recent as the
/// client asks.
async fn usable_session(
    app: &AppState,
    info: &RequestData,
    request: &SignInRequest,
) -> Result<Option<SessionPrincipal>, ErrorResponse> {
    let Some(principal) = session_principal(app, info).await? else { return Ok(None) };
    let session = principal.session();
    let authenticated_at = session.auth_time.unwrap_or(session.created_at);
    let age = app.clock.now().since(authenticated_at).as_secs();
    // OpenID Connect Core 1.0, section 3.1.2.1: "If the elapsed time is greater than this value,
    // the OP MUST attempt to actively re-authenticate the End-User."
    // Later pages of a pushed request still have its parameters: the user may have signed in since.
    let since_pushed = request.pushed_at.map(|pushed_at| authenticated_at >= pushed_at);
    let is_recent = request.max_age.is_none_or(|max_age| age <= max_age || since_pushed == Some(true));
    let is_new = !request.prompt.login || since_pushed != Some(false);
    Ok((request.client.accepts(session) && is_recent && is_new).then_some(principal))
}

/// Returns the address at which a browser with a session goes on.
async fn continuation(
    app: &AppState,
    catalogue: &Catalogue,
    info: &RequestData,
    request: &SignInRequest,
    principal: &SessionPrincipal,
) -> Result<String, ErrorResponse> {
    match &request.request {
        Some(of) => grant(app, catalogue, info, &request.client, of, principal.session()).await,
        None => Ok(catalogue.config.public_url.join("/")),
    }
}

/// Returns the address at which a browser goes on after a sign-in at a provider, which took a
/// while.
///
/// # Errors
/// The client is gone, or does not accept the session any more; the database fails.
pub(super) async fn resume(
    app: &AppState,
    catalogue: &Catalogue,
    info: &RequestData,
    request: &AuthorizationRequest,
    session: &Session,
) -> Result<String, ErrorResponse> {
    let client = match request.client_id == catalogue.gateway_client {
        true => client::gateway(app, catalogue).await.map(Some),
        false => client::app_client(app, catalogue, &request.client_id).await,
    };
    let client = client.map_err(|error| {
        tracing::error!(request_id = info.request_id, %error, "cannot read an app client");
        ErrorResponse::unavailable()
    })?;
    match client.filter(|client| client.accepts(session)) {
        Some(client) => grant(app, catalogue, info, &client, request, session).await,
        None => Err(ErrorResponse::forbidden()),
    }
}

/// Sends the browser to a provider.
pub(super) async fn to_provider(
    app: &AppState,
    catalogue: &Catalogue,
    info: &RequestData,
    name: &str,
    request: SignInRequest,
    method: &Method,
) -> Handled {
    let again = page_url(catalogue, "/login", request.request.as_ref(), &[]);
    let other_account = request.prompt.select_account || request.prompt.login;
    let wish = LoginHints { login_hint: request.login_hint.as_deref(), other_account };
    let login_start = app.broker.begin(catalogue, name, request.request, wish).await.map_err(|error| {
        tracing::warn!(request_id = info.request_id, provider = name, %error, "failed to begin a login");
        match error {
            LoginError::Provider(ProviderError::Unavailable(_)) => {
                ErrorResponse::provider_down().with_action("Try again", again)
            }
            LoginError::Provider(ProviderError::Unreadable(_)) => {
                ErrorResponse::provider_unreadable().with_action("Try again", again)
            }
            _ => ErrorResponse::bad_request(),
        }
    })?;
    let mut response = browser_action(&login_start.action, method, info.texts())?;
    // A provider's form post is a cross-site request.
    let same_site = if login_start.by_form { SameSite::None } else { SameSite::Lax };
    let name = format!("{LOGIN_COOKIE}{}", login_start.id);
    set_cookie(
        &mut response,
        &set_cookie_value_same_site(&name, &login_start.sealed, Some(ATTEMPT_COOKIE_LIFETIME), same_site),
    )?;
    drop_oldest_attempts(info, &mut response)?;
    Ok(response)
}
