//! `/oauth2/authorize` (RFC 6749, section 4.1.1) and the provider selection page.

use super::{AppState, Handled, Reply, RequestData, Shared, session_principal, unavailable};
use crate::authn::{
    LOGIN_COOKIE, PROVIDER_COOKIE, clear_cookie_value, cookie_value, login_cookies,
    set_cookie_value_same_site,
};
use crate::base::Timestamp;
use crate::broker::{ATTEMPT_COOKIE_LIFETIME, ATTEMPT_LIFETIME, LoginAttempts, LoginError};
use crate::catalogue::Catalogue;
use crate::config::SameSite;
use crate::model::{AuthorizationRequest, Session};
use crate::pages::{
    EmailLookup, ErrorResponse, HttpResponse, ProviderChoice, SignInPage, browser_action, logo, see_other,
    set_cookie,
};
use crate::provider::{LoginHints, ProviderError};
use crate::store::StoreError;
use crate::token::{self, Grant};
use axum::extract::State;
use http::Method;
use url::Url;

/// Maximum number of attempts per browser: enough for several tabs, within 8 KB of headers.
const MAX_ATTEMPTS: usize = 6;

/// The parameters of an app host's authorization request.
pub struct AuthorizationUrl<'a> {
    /// The redirect URI.
    pub redirect_uri: &'a str,
    /// The state.
    pub state: &'a str,
    /// The PKCE challenge, S256.
    pub code_challenge: &'a str,
}

/// Returns the address of the gateway's authorization request to its own user pool.
pub fn authorization_url(catalogue: &Catalogue, request: &AuthorizationUrl<'_>) -> String {
    query_url(
        catalogue,
        "/oauth2/authorize",
        Some(&AuthorizationRequest {
            client_id: catalogue.gateway_client.clone(),
            redirect_uri: request.redirect_uri.to_owned(),
            state: request.state.to_owned(),
            code_challenge: request.code_challenge.to_owned(),
        }),
        None,
    )
}

fn query_url(
    catalogue: &Catalogue,
    path: &str,
    request: Option<&AuthorizationRequest>,
    provider: Option<&str>,
) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    if let Some(request) = request {
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &request.client_id)
            .append_pair("redirect_uri", &request.redirect_uri)
            .append_pair("scope", "openid")
            .append_pair("state", &request.state)
            .append_pair("code_challenge", &request.code_challenge)
            .append_pair("code_challenge_method", "S256");
    }
    if let Some(provider) = provider {
        query.append_pair("identity_provider", provider);
    }
    catalogue.config.public_url.join(&format!("{path}?{}", query.finish()))
}

/// The value of `prompt` with which Narthex's pages request another account.
const OTHER_ACCOUNT: &str = "select_account";

/// Returns the address of a sign-in with another account of `provider` that continues `request`.
pub(super) fn other_account_url(
    catalogue: &Catalogue,
    request: Option<&AuthorizationRequest>,
    provider: &str,
) -> String {
    let path = if request.is_some() { "/oauth2/authorize" } else { "/login" };
    format!("{}&prompt={OTHER_ACCOUNT}", query_url(catalogue, path, request, Some(provider)))
}

/// The reason for which an authorization request was refused.
enum AuthorizeError {
    /// RFC 6749, section 4.1.2.1: with a wrong client or redirect URI the server "MUST NOT
    /// automatically redirect the user-agent to the invalid redirection URI".
    Page(&'static str),
    /// Any other error is returned to the client as an error code.
    Client { redirect_uri: String, state: Option<String>, error: &'static str, description: &'static str },
}

/// An authorization request with its login parameters.
#[derive(Default)]
struct AuthorizeParams {
    /// The app's request; `None` for a sign-in to the user pool's own pages.
    request: Option<AuthorizationRequest>,
    /// The requested provider.
    provider: Option<String>,
    /// A hint about the user's identity (OpenID Connect Core 1.0, section 3.1.2.1).
    login_hint: Option<String>,
    /// Whether the provider must ask for an account.
    other_account: bool,
}

/// Maximum length of a login hint in bytes: an e-mail address has at most 254 characters (RFC 5321,
/// errata 1690).
const MAX_LOGIN_HINT_LENGTH: usize = 254;

fn read(
    catalogue: &Catalogue,
    info: &RequestData,
    needs_client: bool,
) -> Result<AuthorizeParams, AuthorizeError> {
    let mut form = info.parameters().ok_or(AuthorizeError::Page("a parameter comes twice"))?;
    let plain = |hint: &String| hint.len() <= MAX_LOGIN_HINT_LENGTH && !hint.chars().any(char::is_control);
    let login_hint = form.remove("login_hint").map(|hint| hint.trim().to_owned()).filter(plain);
    let provider = form.remove("identity_provider");
    let other_account = form.remove("prompt").is_some_and(|prompt| prompt == OTHER_ACCOUNT);
    if !needs_client && !form.contains_key("client_id") && !form.contains_key("redirect_uri") {
        return Ok(AuthorizeParams { request: None, provider, login_hint, other_account });
    }
    let client_id = form.remove("client_id").ok_or(AuthorizeError::Page("client_id is missing"))?;
    if client_id != catalogue.gateway_client {
        return Err(AuthorizeError::Page("client_id is of no client"));
    }
    let redirect_uri = form.remove("redirect_uri").ok_or(AuthorizeError::Page("redirect_uri is missing"))?;
    // RFC 9700, section 2.1: "authorization servers MUST utilize exact string matching".
    if catalogue.host_of_callback(&redirect_uri).is_none() {
        return Err(AuthorizeError::Page("redirect_uri is not one of the client's"));
    }
    let state = form.remove("state");
    let refuse = |error, description| AuthorizeError::Client {
        redirect_uri: redirect_uri.clone(),
        state: state.clone(),
        error,
        description,
    };
    if form.get("response_type").map(String::as_str) != Some("code") {
        return Err(refuse("unsupported_response_type", "response_type must be code"));
    }
    // RFC 9700, section 2.1.1: PKCE protects every client; `plain` protects none.
    if form.get("code_challenge_method").map(String::as_str) != Some("S256") {
        return Err(refuse("invalid_request", "code_challenge_method must be S256"));
    }
    let Some(code_challenge) = form.remove("code_challenge").filter(|challenge| challenge.len() == 43) else {
        return Err(refuse("invalid_request", "code_challenge must be 43 characters"));
    };
    let Some(state) = state.clone().filter(|state| state.len() <= 512) else {
        return Err(refuse("invalid_request", "state is missing or too long"));
    };
    let request = AuthorizationRequest { client_id, redirect_uri, state, code_challenge };
    Ok(AuthorizeParams { request: Some(request), provider, login_hint, other_account })
}

/// Redirects with the error to the client, or shows an error page if the redirect URI is not
/// trusted.
fn error_response(catalogue: &Catalogue, info: &RequestData, refusal: AuthorizeError) -> Handled {
    match refusal {
        AuthorizeError::Page(why) => {
            tracing::warn!(request_id = info.request_id, why, "an authorization request was refused");
            Err(ErrorResponse::bad_request())
        }
        AuthorizeError::Client { redirect_uri, state, error, description } => {
            tracing::warn!(
                request_id = info.request_id,
                why = description,
                "an authorization request was refused"
            );
            let mut pairs = vec![("error", error), ("error_description", description)];
            if let Some(state) = &state {
                pairs.push(("state", state));
            }
            see_other(&response_url(catalogue, &redirect_uri, &pairs)?)
        }
    }
}

/// Returns the address of an authorization response. RFC 9207, section 2: every authorization
/// response, "including error responses", carries `iss`.
fn response_url(
    catalogue: &Catalogue,
    redirect_uri: &str,
    pairs: &[(&str, &str)],
) -> Result<String, ErrorResponse> {
    let mut url = Url::parse(redirect_uri).map_err(|_| ErrorResponse::internal())?;
    url.query_pairs_mut().extend_pairs(pairs).append_pair("iss", &catalogue.config.public_url.to_string());
    Ok(url.into())
}

pub(super) async fn authorize(State(pool): Shared, info: RequestData) -> Reply {
    Reply(start(&pool, &info, true).await)
}

pub(super) async fn login(State(pool): Shared, info: RequestData) -> Reply {
    Reply(start(&pool, &info, false).await)
}

/// Starts a login. An authorization request without a provider, or any cross-site request, uses an
/// existing session at once. Otherwise the login uses the requested provider, the provider of the
/// e-mail address, or the only provider. If there is none of these, it shows the selection page.
async fn start(pool: &AppState, info: &RequestData, session_counts: bool) -> Handled {
    let catalogue = pool.catalogue.load();
    let params = match read(&catalogue, info, session_counts) {
        Ok(good) => good,
        Err(refusal) => return error_response(&catalogue, info, refusal),
    };
    // Any site can navigate a browser here; a cross-site request must not replace the signed-in
    // user.
    let is_foreign =
        info.header("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"));
    if (is_foreign || (session_counts && params.provider.is_none()))
        && let Some(principal) = session_principal(pool, info).await?
    {
        return match &params.request {
            Some(request) => grant(pool, &catalogue, info, request, principal.session()).await,
            None => see_other(&catalogue.config.public_url.join("/")),
        };
    }
    let providers = &catalogue.config.providers;
    let by_address = params
        .login_hint
        .as_ref()
        .and_then(|hint| providers.iter().find(|provider| provider.answers_for(hint)));
    let named = match (&params.provider, by_address, providers.as_slice()) {
        (Some(name), ..) => name.clone(),
        (None, Some(found), _) => found.name.clone(),
        (None, None, [only]) => only.name.clone(),
        (None, None, _) => return choose_provider_page(&catalogue, info, &params, !session_counts),
    };
    // A form of Narthex that names no provider must not redirect directly.
    let by_form = !session_counts && params.provider.is_none();
    let method = if by_form { Method::POST } else { Method::GET };
    to_provider(pool, &catalogue, info, &named, params, &method).await
}

/// Returns the provider selection page for the user pool's own pages.
pub(super) fn sign_in_page(catalogue: &Catalogue, info: &RequestData) -> Handled {
    choose_provider_page(catalogue, info, &AuthorizeParams::default(), false)
}

/// Returns the provider selection page; the last used provider comes first.
fn choose_provider_page(
    catalogue: &Catalogue,
    info: &RequestData,
    params: &AuthorizeParams,
    typed: bool,
) -> Handled {
    let last = cookie_value(info.cookies(), PROVIDER_COOKIE);
    let request = params.request.as_ref();
    let path = if request.is_some() { "/oauth2/authorize" } else { "/login" };
    let href = |name: &str| query_url(catalogue, path, request, Some(name));
    let mut choices: Vec<ProviderChoice> = catalogue
        .config
        .providers
        .iter()
        .map(|provider| ProviderChoice {
            name: provider.display_name.clone(),
            logo: provider.preset.and_then(|preset| logo(preset.name)),
            href: href(&provider.name),
            last_used: last == Some(&provider.name),
        })
        .collect();
    choices.sort_by_key(|choice| !choice.last_used);
    let login = query_url(catalogue, "/login", request, None);
    let login = Url::parse(&login).map_err(|_| ErrorResponse::internal())?;
    let finds = catalogue.config.providers.iter().any(|provider| !provider.domains.is_empty());
    SignInPage {
        destination: request
            .and_then(|request| catalogue.host_of_callback(&request.redirect_uri))
            .map_or_else(String::new, |host| host.to_string()),
        choices,
        email_lookup: finds.then(|| EmailLookup {
            action: catalogue.config.public_url.join("/login"),
            fields: login
                .query_pairs()
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
            unknown: typed && params.login_hint.is_some(),
            typed: params.login_hint.clone().unwrap_or_default(),
        }),
    }
    .answer()
}

async fn to_provider(
    pool: &AppState,
    catalogue: &Catalogue,
    info: &RequestData,
    name: &str,
    params: AuthorizeParams,
    method: &Method,
) -> Handled {
    let again = query_url(catalogue, "/login", params.request.as_ref(), None);
    let wish = LoginHints { login_hint: params.login_hint.as_deref(), other_account: params.other_account };
    let login_start = pool.broker.begin(catalogue, name, params.request, wish).await.map_err(|error| {
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
    let mut response = browser_action(&login_start.action, method)?;
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

/// Removes the oldest attempts, whose cookies would otherwise exceed header limits.
fn drop_oldest_attempts(info: &RequestData, response: &mut HttpResponse) -> Result<(), ErrorResponse> {
    for name in surplus_attempts(info.cookies()) {
        set_cookie(response, &clear_cookie_value(&name))?;
    }
    Ok(())
}

/// Returns the names of the oldest attempt cookies beyond the maximum.
pub fn surplus_attempts<'h>(cookies: impl IntoIterator<Item = &'h [u8]>) -> Vec<String> {
    let mut attempts: Vec<_> =
        login_cookies(cookies).into_iter().map(|(id, _)| (LoginAttempts::started_at(id), id)).collect();
    attempts.sort_unstable();
    let surplus = (attempts.len() + 1).saturating_sub(MAX_ATTEMPTS);
    attempts.into_iter().take(surplus).map(|(_, id)| format!("{LOGIN_COOKIE}{id}")).collect()
}

/// Returns the names of cookies of attempts that have expired at `now`.
pub fn expired_attempts<'h>(cookies: impl IntoIterator<Item = &'h [u8]>, now: Timestamp) -> Vec<String> {
    let expired =
        |id: &str| LoginAttempts::started_at(id).is_some_and(|at| now.since(at) >= ATTEMPT_LIFETIME);
    let attempts = login_cookies(cookies).into_iter().filter(|(id, _)| expired(id));
    attempts.map(|(id, _)| format!("{LOGIN_COOKIE}{id}")).collect()
}

/// Redirects the browser to the client with a code for `session`.
pub(super) async fn grant(
    pool: &AppState,
    catalogue: &Catalogue,
    info: &RequestData,
    request: &AuthorizationRequest,
    session: &Session,
) -> Handled {
    let (now, entropy) = (pool.clock.now(), &*pool.entropy);
    let code: Result<_, StoreError> = pool
        .store
        .transaction(|tx| {
            let grant = Grant { client_id: &request.client_id, redirect_uri: &request.redirect_uri };
            Box::pin(
                async move { token::issue(tx, grant, &request.code_challenge, session, now, entropy).await },
            )
        })
        .await;
    let code = code.map_err(|error| unavailable(info, &error))?;
    let pairs = [("code", code.text()), ("state", request.state.clone())];
    let pairs = pairs.each_ref().map(|(name, value)| (*name, value.as_str()));
    see_other(&response_url(catalogue, &request.redirect_uri, &pairs)?)
}
