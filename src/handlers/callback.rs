//! `/oauth2/idpresponse/{provider}`: the browser's return from a provider.

use super::{
    AppState, Handled, Reply, RequestData, Shared, authorize, form, metrics, session_principal, unavailable,
};
use crate::authn::{
    LOGIN_COOKIE, POOL_COOKIE, PROVIDER_COOKIE, RateLimiter, clear_cookie_value, cookie_value,
    rate_limit_key, set_cookie_value,
};
use crate::base::Duration;
use crate::broker::{CallbackInput, CompletedLogin, LoginAttempts, LoginError};
use crate::catalogue::Catalogue;
use crate::directory::ErrorKind;
use crate::model::CookieScope;
use crate::pages::{ErrorResponse, see_other, set_cookie};
use crate::provider::ProviderError;
use crate::store::Change;
use crate::trigger::words_of_function;
use axum::extract::{Path, State};
use std::net::IpAddr;

/// Lifetime of the cookie with the last used provider.
const LAST_PROVIDER_LIFETIME: Duration = Duration::from_secs(365 * 86400);

pub(super) async fn idpresponse(
    State(app): Shared,
    Path(provider): Path<String>,
    info: RequestData,
) -> Reply {
    Reply(finish(&app, &info, &provider, Step::Callback).await)
}

/// The parameters of a provider's form that are used; all parameters together could exceed the
/// maximum address length.
const FORM_PARAMETERS: [&str; 5] = ["code", "state", "error", "error_description", "iss"];
const MAX_REDIRECT_QUERY_BYTES: usize = 4096;

/// Converts the form of a form post to a GET of the same address (OAuth 2.0 Form Post Response
/// Mode). Browsers omit `SameSite=Lax` cookies from a cross-site form, and send them with the GET.
pub(super) async fn idpresponse_form(
    State(app): Shared,
    Path(provider): Path<String>,
    text: String,
) -> Reply {
    let catalogue = app.catalogue.load();
    let known = catalogue.config.providers.iter().find(|known| known.name == provider && known.form_post());
    let Some(known) = known else { return Reply(Err(ErrorResponse::not_found())) };
    let Some(brought) = form(&text) else { return Reply(Err(ErrorResponse::bad_request())) };
    let address = |names: &[&str]| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let brought = names.iter().filter_map(|name| Some((name, brought.get(*name)?)));
        query.extend_pairs(brought).finish()
    };
    let mut query = address(&[&FORM_PARAMETERS[..], &["user"]].concat());
    if query.len() > MAX_REDIRECT_QUERY_BYTES {
        // A display name that makes the address too long is dropped.
        query = address(&FORM_PARAMETERS);
    }
    if query.len() > MAX_REDIRECT_QUERY_BYTES {
        return Reply(Err(ErrorResponse::bad_request()));
    }
    Reply(see_other(&catalogue.config.public_url.join(&format!("{}?{query}", known.callback_path()))))
}

/// The step of a login.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// The return from the provider, with a response to validate.
    Callback,
    /// The continuation after validation of the provider's form.
    Resume,
}

/// Rejects clients with too many failures: each callback may cause a call to the provider.
pub(super) fn check_rate_limit(
    failures: &RateLimiter<IpAddr>,
    info: &RequestData,
    catalogue: &Catalogue,
    provider: &str,
) -> Result<(), ErrorResponse> {
    failures.check(info.client.map(rate_limit_key).as_ref()).map_err(|_| {
        metrics::login(provider_label(catalogue, provider), "too_many_failures");
        ErrorResponse::too_many_failures()
    })
}

/// Audits a refused login, counts it in `failures` by client address, and returns the error page.
pub(super) fn audit_refusal(
    info: &RequestData,
    provider: &str,
    error: LoginError,
    failures: &RateLimiter<IpAddr>,
) -> ErrorResponse {
    record_failure(failures, info, &error);
    // An unknown provider name is attacker-controlled and unbounded.
    if !matches!(error, LoginError::NoSuchProvider | LoginError::NoAttempt) {
        metrics::login(provider, error.reason());
    }
    tracing::warn!(
        target: "audit",
        event = "login_failed",
        request_id = info.request_id,
        client = info.client(),
        provider,
        reason = error.reason(),
        detail = %error,
    );
    error_page(info, error)
}

/// Counts a failure by client address, except failures without cost and refusals of accounts that
/// the provider has authenticated. Any page can make a browser cause those, and could thus lock out
/// all users at that address.
pub(super) fn record_failure(failures: &RateLimiter<IpAddr>, info: &RequestData, error: &LoginError) {
    let free = matches!(
        error,
        LoginError::NoSuchProvider
            | LoginError::NoAttempt
            | LoginError::Unsolicited
            | LoginError::OtherProvider
            | LoginError::Store(_)
            | LoginError::Trigger(_)
            // The provider has authenticated these accounts, so their refusal is not a guess.
            | LoginError::Unmappable(_)
            | LoginError::NotAllowed(_)
            | LoginError::Disabled(_)
            | LoginError::Provider(
                ProviderError::Unavailable(_) | ProviderError::Unreadable(_) | ProviderError::Overloaded
            )
    );
    if !free {
        failures.record(info.client.map(rate_limit_key));
    }
}

pub(super) async fn finish(app: &AppState, info: &RequestData, provider: &str, step: Step) -> Handled {
    let catalogue = app.catalogue.load();
    check_rate_limit(&app.limits.failed_sign_ins, info, &catalogue, provider)?;
    let refused = |error| audit_refusal(info, provider, error, &app.limits.failed_sign_ins);
    let parameters = info.parameters().ok_or_else(ErrorResponse::bad_request)?;
    // The state names the attempt; the attempt's cookie binds the login to this browser.
    let id = parameters.get("state").map(String::as_str).unwrap_or_default();
    let login = cookie_value(info.cookies(), &format!("{LOGIN_COOKIE}{id}"))
        .and_then(|sealed| app.broker.attempt(&catalogue, id, sealed));
    let Some(login) = login else {
        return lost_attempt(app, info, provider, id, LoginError::NoAttempt).await;
    };
    let again = login.restart_url(&catalogue);
    let other_account = authorize::other_account_url(&catalogue, login.request.as_ref(), provider);
    let earlier = session_principal(app, info).await?.map(|principal| principal.session().id.clone());

    let returned = CallbackInput {
        parameters: &parameters,
        id,
        login,
        browser: info.browser(),
        earlier: earlier.clone(),
    };
    let of = (&*catalogue, &*app.directory);
    let finished = match step {
        Step::Callback => app.broker.finish(of, provider, returned).await,
        Step::Resume => app.broker.resume_saml_login(of, provider, returned).await,
    };
    let finished = match finished {
        Ok(finished) => finished,
        Err(error @ (LoginError::NoAttempt | LoginError::Used)) => {
            return lost_attempt(app, info, provider, id, error).await;
        }
        Err(error @ (LoginError::NotAllowed(_) | LoginError::Disabled(_))) => {
            let advice = account_advice(&catalogue, provider, &error);
            let failure = refused(error).with_advice(advice);
            return Err(failure.with_action("Use another account", other_account));
        }
        Err(LoginError::Trigger(error)) if error.kind() == ErrorKind::UserLambdaValidation => {
            let advice = words_of_function(error.message()).to_owned();
            let failure = refused(LoginError::Trigger(error)).with_advice(advice);
            return Err(failure.with_action("Use another account", other_account));
        }
        Err(error) => return Err(refused(error).with_action("Try again", again)),
    };
    apply_login(app, info, &finished, earlier);
    audit_login(info, provider, &finished);
    let mut response = login_response(app, &catalogue, info, provider, &finished).await?;
    set_cookie(&mut response, &clear_cookie_value(&format!("{LOGIN_COOKIE}{id}")))?;
    Ok(response)
}

/// Evicts cached entries that a login has changed. An earlier session of the browser has ended.
fn apply_login(app: &AppState, info: &RequestData, finished: &CompletedLogin, earlier: Option<String>) {
    app.sessions.apply_changes(&[Change::User(finished.user.id.clone())]);
    if let Some(earlier) = earlier {
        if earlier != finished.session.id {
            audit_replaced_session(&info.request_id, &earlier);
        }
        app.sessions.apply_changes(&[Change::Session(earlier)]);
    }
}

/// Writes a login to the audit log.
fn audit_login(info: &RequestData, provider: &str, finished: &CompletedLogin) {
    if let Some(event) = finished.change {
        tracing::info!(target: "audit", event, request_id = info.request_id, provider, sub = finished.user.id);
    }
    metrics::login(provider, "success");
    tracing::info!(
        target: "audit",
        event = "login",
        request_id = info.request_id,
        client = info.client(),
        provider,
        sub = finished.user.id,
        username = finished.user.username,
        sid = finished.session.id,
    );
}

/// Returns the response to a login, which leads to the app and sets the cookies of the session and
/// of the provider.
async fn login_response(
    app: &AppState,
    catalogue: &Catalogue,
    info: &RequestData,
    provider: &str,
    finished: &CompletedLogin,
) -> Handled {
    let mut response = match &finished.request {
        Some(request) => {
            see_other(&authorize::resume(app, catalogue, info, request, &finished.session).await?)?
        }
        None => see_other(&catalogue.config.public_url.join("/"))?,
    };
    let cookie = app.sessions.cookie(&finished.token, CookieScope::Pool);
    let age = catalogue.config.session.cookie_age(finished.session.expires_at, app.clock.now());
    set_cookie(&mut response, &set_cookie_value(POOL_COOKIE, &cookie, age))?;
    set_cookie(&mut response, &set_cookie_value(PROVIDER_COOKIE, provider, Some(LAST_PROVIDER_LIFETIME)))?;
    Ok(response)
}

/// Responds to a callback of an attempt that has expired, was used or is unknown, for example after
/// Back, a reload, or a long delay. With a session it redirects to the app; without one it shows a
/// page with a link to the app.
async fn lost_attempt(
    app: &AppState,
    info: &RequestData,
    provider: &str,
    id: &str,
    error: LoginError,
) -> Handled {
    let catalogue = app.catalogue.load();
    let cookie = format!("{LOGIN_COOKIE}{id}");
    let expired = cookie_value(info.cookies(), &cookie)
        .and_then(|sealed| app.broker.expired_attempt(&catalogue, id, sealed))
        .map(|login| login.restart_url(&catalogue));
    // The state names the app even if the attempt's cookie is missing.
    let start_page = || {
        // A browser cannot be sent to a wildcard, and attempts belong to single hosts.
        let hosts = catalogue.routes().filter(|route| !route.pattern.wildcard);
        let routes = hosts.filter(|route| LoginAttempts::is_for(id, &route.host));
        let shortest = routes.min_by_key(|route| route.path.len());
        shortest.map(|route| format!("{}{}", route.origin, route.start_page()))
    };
    let way_back = expired.or_else(start_page).unwrap_or_else(|| catalogue.config.public_url.join("/"));
    if session_principal(app, info).await?.is_none() {
        let failure = audit_refusal(info, provider, error, &app.limits.failed_sign_ins);
        return Err(failure.with_action("Sign in again", way_back));
    }
    tracing::info!(
        request_id = info.request_id,
        provider,
        reason = error.reason(),
        "late or repeated callback; the browser has a session and continues"
    );
    let mut response = see_other(&way_back)?;
    // Anything other than an id would let the sender choose a cookie name.
    if LoginAttempts::started_at(id).is_some() {
        set_cookie(&mut response, &clear_cookie_value(&cookie))?;
    }
    Ok(response)
}

/// Returns the advice for an account that may not sign in: its name and the remedy.
fn account_advice(catalogue: &Catalogue, provider: &str, error: &LoginError) -> String {
    let known = catalogue.config.providers.iter().find(|known| known.name == provider);
    let at = known.map_or(provider, |known| &known.display_name);
    let account = match error {
        LoginError::NotAllowed(who) => format!("You signed in at {at} as {who}."),
        _ => format!("Your account at {at} is disabled here."),
    };
    format!(
        "{account} Use another account, or ask your administrator for access and give them the request ID below."
    )
}

/// Audits that a sign-in ended the browser's earlier session.
pub fn audit_replaced_session(request_id: &str, sid: &str) {
    tracing::info!(
        target: "audit",
        event = "session_ended",
        request_id,
        sid,
        reason = "another sign-in in its browser replaced it",
    );
}

/// Returns the provider's name for a metric; unknown names are attacker-controlled and unbounded.
fn provider_label<'n>(catalogue: &Catalogue, name: &'n str) -> &'n str {
    let known = catalogue.config.providers.iter().any(|provider| provider.name == name);
    if known { name } else { "" }
}

/// Returns the error page. The failed check is logged and not shown.
pub(super) fn error_page(info: &RequestData, error: LoginError) -> ErrorResponse {
    match error {
        LoginError::NoSuchProvider => ErrorResponse::not_found(),
        LoginError::NoAttempt | LoginError::Used => ErrorResponse::attempt_lost(),
        LoginError::Unsolicited => ErrorResponse::unsolicited(),
        LoginError::Provider(ProviderError::Unavailable(_)) => ErrorResponse::provider_down(),
        LoginError::Provider(ProviderError::Unreadable(_)) => ErrorResponse::provider_unreadable(),
        LoginError::Provider(ProviderError::Overloaded) => ErrorResponse::unavailable(),
        LoginError::Provider(ProviderError::Refused { .. }) => ErrorResponse::provider_refused(),
        LoginError::Trigger(error) if error.kind() != ErrorKind::UserLambdaValidation => {
            ErrorResponse::unavailable()
        }
        LoginError::NotAllowed(_) | LoginError::Disabled(_) | LoginError::Trigger(_) => {
            ErrorResponse::forbidden()
        }
        LoginError::OtherProvider | LoginError::Provider(_) | LoginError::Unmappable(_) => {
            ErrorResponse::sign_in_failed()
        }
        LoginError::Store(error) => unavailable(info, &error),
    }
}
