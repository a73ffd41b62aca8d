//! `/oauth2/idpresponse/{provider}`: what a browser brings back from a provider.

use super::{
    AppState, Handled, Reply, RequestData, Shared, authorize, form, metrics, session_principal, unavailable,
};
use crate::authn::{
    LOGIN_COOKIE, POOL_COOKIE, PROVIDER_COOKIE, RateLimiter, clear_cookie_value, cookie_value,
    rate_limit_key, set_cookie_value,
};
use crate::base::Duration;
use crate::broker::{CallbackInput, LoginAttempts, LoginError};
use crate::catalogue::Catalogue;
use crate::model::CookieScope;
use crate::pages::{ErrorResponse, see_other, set_cookie};
use crate::provider::ProviderError;
use crate::store::Change;
use axum::extract::{Path, State};
use std::net::IpAddr;

/// How long a browser remembers by which provider it signed in.
const LAST_PROVIDER_LIFETIME: Duration = Duration::from_secs(365 * 86400);

pub(super) async fn idpresponse(
    State(pool): Shared,
    Path(provider): Path<String>,
    info: RequestData,
) -> Reply {
    Reply(finish(&pool, &info, &provider, Step::Callback).await)
}

/// What a provider's form may bring of use; with more than this no address would be taken.
const FORM_PARAMETERS: [&str; 5] = ["code", "state", "error", "error_description", "iss"];
const MAX_REDIRECT_QUERY_BYTES: usize = 4096;

/// OAuth 2.0 Form Post Response Mode: what came by a form comes again as an address. The form is another
/// site's, from which browsers keep our cookies; a GET they let have them.
pub(super) async fn idpresponse_form(
    State(pool): Shared,
    Path(provider): Path<String>,
    text: String,
) -> Reply {
    let catalogue = pool.catalogue.load();
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
        // A long name is not worth a login.
        query = address(&FORM_PARAMETERS);
    }
    if query.len() > MAX_REDIRECT_QUERY_BYTES {
        return Reply(Err(ErrorResponse::bad_request()));
    }
    Reply(see_other(&catalogue.config.public_url.join(&format!("{}?{query}", known.callback_path()))))
}

/// Which of the steps of a login a browser takes.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// It comes from the provider, with what is to be judged.
    Callback,
    /// It comes from ourselves, after a form of the provider's was judged.
    Resume,
}

/// Each callback may cost the provider a call: nobody is to wear it out through us.
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

/// Writes to the audit log why a login was refused, and returns the page. It counts in `failures`, by
/// the client's address.
pub(super) fn audit_refusal(
    info: &RequestData,
    provider: &str,
    error: LoginError,
    failures: &RateLimiter<IpAddr>,
) -> ErrorResponse {
    record_failure(failures, info, &error);
    // A name that is no provider's is the visitor's own word, of which there is no end.
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

/// Counts a failure against the client's address, unless it cost the provider and us nothing, or the provider vouched for
/// the account: any page could have a browser cause those, and lock out all users behind that address.
pub(super) fn record_failure(failures: &RateLimiter<IpAddr>, info: &RequestData, error: &LoginError) {
    let free = matches!(
        error,
        LoginError::NoSuchProvider
            | LoginError::NoAttempt
            | LoginError::Unsolicited
            | LoginError::OtherProvider
            | LoginError::Store(_)
            // The provider vouched for these: a refused account guesses nothing.
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

pub(super) async fn finish(pool: &AppState, info: &RequestData, provider: &str, step: Step) -> Handled {
    let catalogue = pool.catalogue.load();
    check_rate_limit(&pool.failed_sign_ins, info, &catalogue, provider)?;
    let refused = |error| audit_refusal(info, provider, error, &pool.failed_sign_ins);
    let parameters = info.parameters().ok_or_else(ErrorResponse::bad_request)?;
    // The state names the attempt; that this browser carries it is what binds the login to it.
    let id = parameters.get("state").map(String::as_str).unwrap_or_default();
    let login = cookie_value(info.cookies(), &format!("{LOGIN_COOKIE}{id}"))
        .and_then(|sealed| pool.broker.attempt(&catalogue, id, sealed));
    let Some(login) = login else {
        return lost_attempt(pool, info, provider, id, LoginError::NoAttempt).await;
    };
    let again = login.restart_url(&catalogue);
    let other_account = authorize::other_account_url(&catalogue, login.request.as_ref(), provider);
    let earlier = session_principal(pool, info).await?.map(|principal| principal.session().id.clone());

    let returned = CallbackInput {
        parameters: &parameters,
        id,
        login,
        browser: info.browser(),
        earlier: earlier.clone(),
    };
    let finished = match step {
        Step::Callback => pool.broker.finish(&catalogue, provider, returned).await,
        Step::Resume => pool.broker.resume_saml_login(&catalogue, provider, returned).await,
    };
    let finished = match finished {
        Ok(finished) => finished,
        Err(error @ (LoginError::NoAttempt | LoginError::Used)) => {
            return lost_attempt(pool, info, provider, id, error).await;
        }
        Err(error @ (LoginError::NotAllowed(_) | LoginError::Disabled(_))) => {
            let advice = account_advice(&catalogue, provider, &error);
            let failure = refused(error).with_advice(advice);
            return Err(failure.with_action("Use another account", other_account));
        }
        Err(error) => return Err(refused(error).with_action("Try again", again)),
    };
    pool.sessions.apply_changes(&[Change::User(finished.user.id.clone())]);
    if let Some(earlier) = earlier {
        if earlier != finished.session.id {
            audit_replaced_session(&info.request_id, &earlier);
        }
        pool.sessions.apply_changes(&[Change::Session(earlier)]);
    }
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

    let mut answer = match &finished.request {
        Some(request) => authorize::grant(pool, &catalogue, info, request, &finished.session).await?,
        None => see_other(&catalogue.config.public_url.join("/"))?,
    };
    let cookie = pool.sessions.cookie(&finished.token, CookieScope::Pool);
    let age = catalogue.config.session.cookie_age(finished.session.expires_at, pool.clock.now());
    set_cookie(&mut answer, &set_cookie_value(POOL_COOKIE, &cookie, age))?;
    set_cookie(&mut answer, &set_cookie_value(PROVIDER_COOKIE, provider, Some(LAST_PROVIDER_LIFETIME)))?;
    set_cookie(&mut answer, &clear_cookie_value(&format!("{LOGIN_COOKIE}{id}")))?;
    Ok(answer)
}

/// Answers a callback of an attempt that has expired, was used or is unknown: after Back, a reload, or a night on the
/// provider's page. A browser with a session goes on to the app; without one the page has the way back.
async fn lost_attempt(
    pool: &AppState,
    info: &RequestData,
    provider: &str,
    id: &str,
    error: LoginError,
) -> Handled {
    let catalogue = pool.catalogue.load();
    let cookie = format!("{LOGIN_COOKIE}{id}");
    let expired = cookie_value(info.cookies(), &cookie)
        .and_then(|sealed| pool.broker.expired_attempt(&catalogue, id, sealed))
        .map(|login| login.restart_url(&catalogue));
    // Without its cookie the state still names the app.
    let app = || {
        // A wildcard is no host that a browser can go to, and attempts are made for hosts.
        let hosts = catalogue.routes().filter(|route| !route.pattern.wildcard);
        let routes = hosts.filter(|route| LoginAttempts::is_for(id, &route.host));
        let shortest = routes.min_by_key(|route| route.path.len());
        shortest.map(|route| format!("{}{}", route.origin, route.start_page()))
    };
    let way_back = expired.or_else(app).unwrap_or_else(|| catalogue.config.public_url.join("/"));
    if session_principal(pool, info).await?.is_none() {
        let failure = audit_refusal(info, provider, error, &pool.failed_sign_ins);
        return Err(failure.with_action("Sign in again", way_back));
    }
    tracing::info!(
        request_id = info.request_id,
        provider,
        reason = error.reason(),
        "a callback came late or again; its browser has a session and goes on"
    );
    let mut answer = see_other(&way_back)?;
    // Anything else than an id would write a cookie of the sender's choice.
    if LoginAttempts::started_at(id).is_some() {
        set_cookie(&mut answer, &clear_cookie_value(&cookie))?;
    }
    Ok(answer)
}

/// What a person reads whose account may not sign in: which one it is, and what to do.
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

/// Records in the audit log that a sign-in ended the earlier session of its browser.
pub fn audit_replaced_session(request_id: &str, sid: &str) {
    tracing::info!(
        target: "audit",
        event = "session_ended",
        request_id,
        sid,
        reason = "another sign-in in its browser replaced it",
    );
}

/// The name for a metric: one that is no provider's is the visitor's own word, of which there is no end.
fn provider_label<'n>(catalogue: &Catalogue, name: &'n str) -> &'n str {
    let known = catalogue.config.providers.iter().any(|provider| provider.name == name);
    if known { name } else { "" }
}

/// What the person is told. The log has the check that failed; the page does not.
pub(super) fn error_page(info: &RequestData, error: LoginError) -> ErrorResponse {
    match error {
        LoginError::NoSuchProvider => ErrorResponse::not_found(),
        LoginError::NoAttempt | LoginError::Used => ErrorResponse::attempt_lost(),
        LoginError::Unsolicited => ErrorResponse::unsolicited(),
        LoginError::Provider(ProviderError::Unavailable(_)) => ErrorResponse::provider_down(),
        LoginError::Provider(ProviderError::Unreadable(_)) => ErrorResponse::provider_unreadable(),
        LoginError::Provider(ProviderError::Overloaded) => ErrorResponse::unavailable(),
        LoginError::Provider(ProviderError::Refused { .. }) => ErrorResponse::provider_refused(),
        LoginError::NotAllowed(_) | LoginError::Disabled(_) => ErrorResponse::forbidden(),
        LoginError::OtherProvider | LoginError::Provider(_) | LoginError::Unmappable(_) => {
            ErrorResponse::sign_in_failed()
        }
        LoginError::Store(error) => unavailable(info, &error),
    }
}
