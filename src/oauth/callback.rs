//! `/oauth2/idpresponse/{provider}`: what a browser brings back from a provider.

use super::{Handled, Pool, Reply, RequestInfo, Shared, authorize, form, metrics, signed_in, unavailable};
use crate::access::{LOGIN_COOKIE, POOL_COOKIE, PROVIDER_COOKIE, Throttle, clear, find, network, set};
use crate::base::Duration;
use crate::broker::{Attempts, LoginError, Returned};
use crate::catalogue::Catalogue;
use crate::hosted::{Failure, see_other, set_cookie};
use crate::model::CookieScope;
use crate::provider::ProviderError;
use crate::store::Change;
use axum::extract::{Path, State};
use std::net::IpAddr;

/// How long a browser remembers by which provider it signed in.
const REMEMBER: Duration = Duration::from_secs(365 * 86400);

pub(super) async fn idpresponse(
    State(pool): Shared,
    Path(provider): Path<String>,
    info: RequestInfo,
) -> Reply {
    Reply(finish(&pool, &info, &provider, Step::Callback).await)
}

/// What a provider's form may bring of use; with more than this no address would be taken.
const NEEDED: [&str; 5] = ["code", "state", "error", "error_description", "iss"];
const LARGEST_BROUGHT: usize = 4096;

/// OAuth 2.0 Form Post Response Mode: what came by a form comes again as an address. The form is another
/// site's, from which browsers keep our cookies; a GET they let have them.
pub(super) async fn idpresponse_form(
    State(pool): Shared,
    Path(provider): Path<String>,
    text: String,
) -> Reply {
    let catalogue = pool.current.load();
    let known = catalogue.config.providers.iter().find(|known| known.name == provider && known.form_post());
    let Some(known) = known else { return Reply(Err(Failure::not_found())) };
    let Some(brought) = form(&text) else { return Reply(Err(Failure::bad_request())) };
    let address = |names: &[&str]| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let brought = names.iter().filter_map(|name| Some((name, brought.get(*name)?)));
        query.extend_pairs(brought).finish()
    };
    let mut query = address(&[&NEEDED[..], &["user"]].concat());
    if query.len() > LARGEST_BROUGHT {
        // A long name is not worth a login.
        query = address(&NEEDED);
    }
    if query.len() > LARGEST_BROUGHT {
        return Reply(Err(Failure::bad_request()));
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
pub(super) fn not_too_often(
    failures: &Throttle<IpAddr>,
    info: &RequestInfo,
    catalogue: &Catalogue,
    provider: &str,
) -> Result<(), Failure> {
    failures.allows(info.client.map(network).as_ref()).map_err(|_| {
        metrics::login(provider_label(catalogue, provider), "too_many_failures");
        Failure::too_many_failures()
    })
}

/// Writes to the audit log why a login was refused, and returns the page. It counts in `failures`, by
/// the client's address.
pub(super) fn refused(
    info: &RequestInfo,
    provider: &str,
    error: LoginError,
    failures: &Throttle<IpAddr>,
) -> Failure {
    count_failure(failures, info, &error);
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
    failure(info, error)
}

/// Counts a failure against the client's address, unless it cost the provider and us nothing: any page could have a
/// browser cause those, and lock out all users behind that address.
pub(super) fn count_failure(failures: &Throttle<IpAddr>, info: &RequestInfo, error: &LoginError) {
    let free = matches!(
        error,
        LoginError::NoSuchProvider
            | LoginError::NoAttempt
            | LoginError::Unsolicited
            | LoginError::OtherProvider
            | LoginError::Store(_)
            | LoginError::Provider(
                ProviderError::Unavailable(_) | ProviderError::Unreadable(_) | ProviderError::Overloaded
            )
    );
    if !free {
        failures.count(info.client.map(network));
    }
}

pub(super) async fn finish(pool: &Pool, info: &RequestInfo, provider: &str, step: Step) -> Handled {
    let catalogue = pool.current.load();
    not_too_often(&pool.failures, info, &catalogue, provider)?;
    let refused = |error| refused(info, provider, error, &pool.failures);
    let parameters = info.parameters().ok_or_else(Failure::bad_request)?;
    // The state names the attempt; that this browser carries it is what binds the login to it.
    let id = parameters.get("state").map(String::as_str).unwrap_or_default();
    let login = find(info.cookies(), &format!("{LOGIN_COOKIE}{id}"))
        .and_then(|sealed| pool.broker.attempt(&catalogue, id, sealed));
    let Some(login) = login else { return lost(pool, info, provider, id, LoginError::NoAttempt).await };
    let again = login.again(&catalogue);
    let other_account = authorize::other_account_url(&catalogue, login.request.as_ref(), provider);
    let earlier = signed_in(pool, info).await?.map(|principal| principal.session().id.clone());

    let returned =
        Returned { parameters: &parameters, id, login, browser: info.browser(), earlier: earlier.clone() };
    let finished = match step {
        Step::Callback => pool.broker.finish(&catalogue, provider, returned).await,
        Step::Resume => pool.broker.resume(&catalogue, provider, returned).await,
    };
    let finished = match finished {
        Ok(finished) => finished,
        Err(error @ (LoginError::NoAttempt | LoginError::Used)) => {
            return lost(pool, info, provider, id, error).await;
        }
        Err(error @ (LoginError::NotAllowed(_) | LoginError::Disabled(_))) => {
            let advice = account_advice(&catalogue, provider, &error);
            let failure = refused(error).with_advice(advice);
            return Err(failure.with_action("Use another account", other_account));
        }
        Err(error) => return Err(refused(error).with_action("Try again", again)),
    };
    pool.sessions.hear(&[Change::User(finished.user.id.clone())]);
    if let Some(earlier) = earlier {
        if earlier != finished.session.id {
            replaced(&info.request_id, &earlier);
        }
        pool.sessions.hear(&[Change::Session(earlier)]);
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
    set_cookie(&mut answer, &set(POOL_COOKIE, &cookie, age))?;
    set_cookie(&mut answer, &set(PROVIDER_COOKIE, provider, Some(REMEMBER)))?;
    set_cookie(&mut answer, &clear(&format!("{LOGIN_COOKIE}{id}")))?;
    Ok(answer)
}

/// Answers a callback of an attempt that has expired, was used or is unknown: after Back, a reload, or a night on the
/// provider's page. A browser with a session goes on to the app; without one the page has the way back.
async fn lost(pool: &Pool, info: &RequestInfo, provider: &str, id: &str, error: LoginError) -> Handled {
    let catalogue = pool.current.load();
    let cookie = format!("{LOGIN_COOKIE}{id}");
    let expired = find(info.cookies(), &cookie)
        .and_then(|sealed| pool.broker.expired_attempt(&catalogue, id, sealed))
        .map(|login| login.again(&catalogue));
    // Without its cookie the state still names the app.
    let app = || {
        let routes = catalogue.routes().filter(|route| Attempts::is_for(id, &route.host));
        let shortest = routes.min_by_key(|route| route.path.len());
        shortest.map(|route| format!("{}{}", route.origin, route.start_page()))
    };
    let way_back = expired.or_else(app).unwrap_or_else(|| catalogue.config.public_url.join("/"));
    if signed_in(pool, info).await?.is_none() {
        let failure = refused(info, provider, error, &pool.failures);
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
    if Attempts::begun_at(id).is_some() {
        set_cookie(&mut answer, &clear(&cookie))?;
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
pub fn replaced(request_id: &str, sid: &str) {
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
pub(super) fn failure(info: &RequestInfo, error: LoginError) -> Failure {
    match error {
        LoginError::NoSuchProvider => Failure::not_found(),
        LoginError::NoAttempt | LoginError::Used => Failure::attempt_lost(),
        LoginError::Unsolicited => Failure::unsolicited(),
        LoginError::Provider(ProviderError::Unavailable(_)) => Failure::provider_down(),
        LoginError::Provider(ProviderError::Unreadable(_)) => Failure::provider_unreadable(),
        LoginError::Provider(ProviderError::Overloaded) => Failure::unavailable(),
        LoginError::Provider(ProviderError::Refused { .. }) => Failure::provider_refused(),
        LoginError::NotAllowed(_) | LoginError::Disabled(_) => Failure::forbidden(),
        LoginError::OtherProvider | LoginError::Provider(_) | LoginError::Unmappable(_) => {
            Failure::sign_in_failed()
        }
        LoginError::Store(error) => unavailable(info, &error),
    }
}
