//! What Narthex answers on an app's own host: the way out to sign in, the callback that brings the
//! session, and sign-out. The gateway is an app client of its pool like any other; only the code is
//! redeemed in process.

use crate::authn::{
    APP_COOKIE, GUEST_COOKIE, LOGIN_COOKIE, clear_cookie_value, cookie_value, rate_limit_key,
    set_cookie_value, set_cookie_value_same_site,
};
use crate::base::{RandomToken, Timestamp};
use crate::broker::{ATTEMPT_COOKIE_LIFETIME, EndedSession, LoginAttempts};
use crate::catalogue::{Catalogue, IdentityPool};
use crate::config::{OnUnauthenticatedRequest, Route};
use crate::gateway::builtin::redirect_loops::RedirectLoopCounter;
use crate::gateway::builtin::userinfo;
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::request::{self, RequestInfo, cookies};
use crate::gateway::state::gateway::{Gateway, scope_of, unavailable};
use crate::handlers::{self, AuthorizationUrl, Form, expired_attempts, surplus_attempts};
use crate::identity::{MergeOutcome, merge_guest};
use crate::model::SessionCookie;
use crate::pages::{self, ErrorResponse, HttpResponse, SignOutPage, browser_action, see_other, set_cookie};
use crate::store::{Change, StoreError};
use crate::token::{self, CodeError, Grant};
use http::Method;
use pingora_proxy::Session;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The longest address that is remembered over a sign-in: it travels in a cookie.
const MAX_RETURN_PATH_LENGTH: usize = 1800;

/// What an app host remembers while its visitor signs in.
#[derive(Serialize, Deserialize)]
struct AppLogin {
    /// The path and query that the visitor wanted, on this host.
    return_to: String,
    /// The PKCE verifier.
    verifier: String,
}

fn seal_context(incoming: &RequestInfo) -> String {
    format!("app {}", incoming.host)
}

/// Answers a request that needs a session and has none: a browser is redirected to sign in and back,
/// a program gets an error.
pub fn sign_in(
    gateway: &Gateway,
    catalogue: &Catalogue,
    session: &Session,
    incoming: &RequestInfo,
    target: &str,
    route: &Route,
) -> LocalResponse {
    let visitor = &incoming.response_context(session);
    let redirects = match incoming.on_unauthenticated.unwrap_or(route.on_unauthenticated_request) {
        OnUnauthenticatedRequest::Auto => incoming.may_redirect(visitor),
        OnUnauthenticatedRequest::Authenticate => true,
        OnUnauthenticatedRequest::Deny => false,
    };
    if !redirects {
        incoming.audit_refusal("nobody is signed in");
        let failure = ErrorResponse::sign_in_required();
        // RFC 6750, section 3.1: the challenge for a request without a token has no error.
        let failure = match route.bearer {
            true => failure.with_challenge(&request::challenge(session, route.basic_password, "")),
            false => failure,
        };
        return failure.into_response(&incoming.response_context(session)).into();
    }
    let answer = begin(gateway, catalogue, session, incoming, target);
    pages::add_common_headers(
        answer.unwrap_or_else(|failure| failure.into_response(&incoming.response_context(session))),
        &incoming.response_context(session),
    )
    .into()
}

fn begin(
    gateway: &Gateway,
    catalogue: &Catalogue,
    session: &Session,
    incoming: &RequestInfo,
    target: &str,
) -> Result<HttpResponse, ErrorResponse> {
    if RedirectLoopCounter::from_cookies(cookies(session), gateway.pool.clock.now()).is_loop() {
        return sign_in_loop(session, incoming);
    }
    let return_to = match target.len() <= MAX_RETURN_PATH_LENGTH {
        true => target,
        false => Some(request::path_part(target))
            .filter(|path| path.len() <= MAX_RETURN_PATH_LENGTH)
            .unwrap_or(incoming.site.start_page()),
    };
    let verifier = RandomToken::random(&*gateway.pool.entropy).text();
    let id = gateway.attempts.new_id(incoming.host.as_str());
    let location = handlers::authorization_url(
        catalogue,
        &AuthorizationUrl {
            redirect_uri: &catalogue.callback_of(&incoming.host),
            state: &id,
            code_challenge: &token::challenge(&verifier),
        },
    );
    let login = AppLogin { return_to: return_to.to_owned(), verifier };
    let sealed = gateway.attempts.seal(&seal_context(incoming), &id, &login);
    let mut answer = see_other(&location)?;
    set_cookie(
        &mut answer,
        &set_cookie_value(&format!("{LOGIN_COOKIE}{id}"), &sealed, Some(ATTEMPT_COOKIE_LIFETIME)),
    )?;
    for name in surplus_attempts(cookies(session)) {
        set_cookie(&mut answer, &clear_cookie_value(&name))?;
    }
    Ok(answer)
}

/// The browser has landed again and again, and is not signed in: to send it on would never end.
fn sign_in_loop(session: &Session, incoming: &RequestInfo) -> Result<HttpResponse, ErrorResponse> {
    let failure = match cookie_value(cookies(session), APP_COOKIE) {
        Some(_) => ErrorResponse::session_unknown(),
        None => ErrorResponse::cookie_lost(),
    };
    tracing::warn!(
        target: "audit",
        event = "sign_in_loop",
        request_id = incoming.request_id,
        reason = failure.title,
    );
    let mut answer = failure.into_response(&incoming.response_context(session));
    set_cookie(&mut answer, &RedirectLoopCounter::reset())?;
    Ok(answer)
}

/// Answers below `/.narthex/`.
pub async fn answer(
    gateway: &Gateway,
    session: &Session,
    catalogue: &Catalogue,
    incoming: &RequestInfo,
    name: &str,
) -> LocalResponse {
    let method = &session.req_header().method;
    let answer = match (name, method) {
        ("style.css", &Method::GET | &Method::HEAD) => Ok(pages::style()),
        ("favicon.svg", &Method::GET | &Method::HEAD) => Ok(pages::icon()),
        // On the pages' own origin, so that no app's script can read or press what is there.
        ("sessions", &Method::GET) => see_other(&catalogue.config.public_url.join("/sessions"))
            .map_err(|failure| failure.into_response(&incoming.response_context(session)).into()),
        ("userinfo", &Method::GET | &Method::HEAD) => {
            return userinfo::answer(gateway, session, catalogue, incoming).await;
        }
        ("sign-in", _) => sign_in_link(gateway, session, catalogue, incoming).await,
        ("callback", &Method::GET) => callback(gateway, session, catalogue, incoming).await,
        ("sign-out", &Method::GET | &Method::POST) => sign_out(gateway, session, catalogue, incoming).await,
        _ => Err(LocalResponse::from(
            ErrorResponse::not_found().into_response(&incoming.response_context(session)),
        )),
    };
    match answer {
        Ok(answer) => pages::add_common_headers(answer, &incoming.response_context(session)).into(),
        Err(stop) => stop,
    }
}

/// A way to sign in, and back to `return_to` on this host: a link for public apps, and for proxies to send
/// a request to that must sign in first, whatever it was. `attempt` names an attempt that came to nothing, and leads to what
/// was wanted by it.
async fn sign_in_link(
    gateway: &Gateway,
    session: &Session,
    catalogue: &Catalogue,
    incoming: &RequestInfo,
) -> Result<HttpResponse, LocalResponse> {
    let stop = |failure: ErrorResponse| {
        LocalResponse::from(failure.into_response(&incoming.response_context(session)))
    };
    let visitor = &incoming.response_context(session);
    if !incoming.may_redirect(visitor) {
        return Err(stop(ErrorResponse::sign_in_required()));
    }
    // It comes last and may come as it is, since proxies cannot encode it: what follows is all its own.
    let query = session.req_header().uri.query().unwrap_or_default();
    if let Some(id) = query.strip_prefix("attempt=") {
        return resume_return_path(gateway, session, catalogue, incoming, id).await;
    }
    let requested = query.strip_prefix("return_to=").unwrap_or(incoming.site.start_page());
    let return_to = match requested.starts_with('/') {
        true => requested.to_owned(),
        false => handlers::form(&format!("return_to={requested}"))
            .and_then(|mut form| form.remove("return_to"))
            .unwrap_or_default(),
    };
    // It follows our own origin, so that it leads nowhere else; what is no path would change the host.
    if !return_to.starts_with('/') || return_to.contains(|c: char| c.is_control() || !c.is_ascii()) {
        return Err(stop(ErrorResponse::bad_request()));
    }
    begin(gateway, catalogue, session, incoming, &return_to).map_err(stop)
}

/// Leads to what was wanted by an attempt that came to nothing: at once where a session exists by now, else by a sign-in.
async fn resume_return_path(
    gateway: &Gateway,
    session: &Session,
    catalogue: &Catalogue,
    incoming: &RequestInfo,
    id: &str,
) -> Result<HttpResponse, LocalResponse> {
    let stop = |failure: ErrorResponse| {
        LocalResponse::from(failure.into_response(&incoming.response_context(session)))
    };
    let return_to = return_path(gateway, session, incoming, id);
    let mut answer = match gateway.session_principal(session, incoming).await? {
        Some(_) => {
            let origin = catalogue.config.public_url.origin_of(&incoming.host);
            see_other(&format!("{origin}{return_to}"))
        }
        None => begin(gateway, catalogue, session, incoming, &return_to),
    }
    .map_err(stop)?;
    if LoginAttempts::started_at(id).is_some() {
        set_cookie(&mut answer, &clear_cookie_value(&format!("{LOGIN_COOKIE}{id}"))).map_err(stop)?;
    }
    Ok(answer)
}

/// The path and query that the visitor wanted by the attempt `id`, however old; the start page where it is unknown.
fn return_path(gateway: &Gateway, session: &Session, incoming: &RequestInfo, id: &str) -> String {
    let login: Option<AppLogin> = cookie_value(cookies(session), &format!("{LOGIN_COOKIE}{id}"))
        .and_then(|sealed| gateway.attempts.open_expired(&seal_context(incoming), id, sealed));
    login.map_or_else(|| incoming.site.start_page().to_owned(), |login| login.return_to)
}

/// Redeems the code and sets the session's cookie on this host.
async fn callback(
    gateway: &Gateway,
    session: &Session,
    catalogue: &Catalogue,
    incoming: &RequestInfo,
) -> Result<HttpResponse, LocalResponse> {
    let origin = catalogue.config.public_url.origin_of(&incoming.host);
    let stop = |failure: ErrorResponse| {
        LocalResponse::from(failure.into_response(&incoming.response_context(session)))
    };
    let refuse_at = |failure: ErrorResponse, why: &str, return_to: &str| {
        tracing::warn!(request_id = incoming.request_id, why, "a callback was refused");
        stop(failure.with_action("Try again", format!("{origin}{return_to}")))
    };
    let form = parameters(session).ok_or_else(|| {
        refuse_at(ErrorResponse::bad_request(), "a parameter comes twice", incoming.site.start_page())
    })?;
    let get = |name: &str| form.get(name).map(String::as_str);
    let id = get("state").unwrap_or_default();
    let return_to = return_path(gateway, session, incoming, id);
    let refuse = |failure: ErrorResponse, why: &str| refuse_at(failure, why, &return_to);
    let cookie = format!("{LOGIN_COOKIE}{id}");
    let login: Option<AppLogin> = cookie_value(cookies(session), &cookie)
        .and_then(|sealed| gateway.attempts.open(&seal_context(incoming), id, sealed));
    let Some(login) = login else {
        // After Back or a reload: a browser that is signed in goes on.
        if gateway.session_principal(session, incoming).await?.is_some() {
            return see_other(&format!("{origin}{return_to}")).map_err(stop);
        }
        return Err(refuse(ErrorResponse::attempt_lost(), "the browser carries no such attempt"));
    };
    // RFC 9207, section 2.4: the response must be of the server that the browser was sent to.
    if get("iss") != Some(&catalogue.config.public_url.to_string()) {
        return Err(refuse(ErrorResponse::sign_in_failed(), "iss is not the pool's"));
    }
    let Some(code) = get("code").and_then(RandomToken::parse) else {
        return Err(refuse(ErrorResponse::sign_in_failed(), get("error").unwrap_or("there is no code")));
    };

    let failures = &gateway.pool.failed_sign_ins;
    if failures.check(incoming.client.map(rate_limit_key).as_ref()).is_err() {
        return Err(stop(ErrorResponse::too_many_failures()));
    }
    let guest = cookie_value(cookies(session), GUEST_COOKIE);
    let guests = guest.map_or_else(Vec::new, |cookie| guest_identities(gateway, catalogue, incoming, cookie));
    let failed = |error: StoreError| unavailable(&incoming.response_context(session), &error);
    let earlier = match cookie_value(cookies(session), APP_COOKIE) {
        Some(cookie) => gateway
            .pool
            .sessions
            .authenticate_without_touch(cookie, scope_of(incoming))
            .await
            .map_err(failed)?,
        None => None,
    };
    let earlier = earlier.as_ref().map(|earlier| earlier.session().id.as_str());
    let redeemed =
        redeem(gateway, catalogue, incoming, &code, &login, &guests, earlier).await.map_err(failed)?;
    let mut answer = see_other(&format!("{origin}{}", login.return_to)).map_err(stop)?;
    match redeemed {
        Ok(Some((token, expires_at))) => {
            let value = gateway.pool.sessions.cookie(&token, scope_of(incoming));
            let age = catalogue.config.session.cookie_age(expires_at, gateway.pool.clock.now());
            let cookie_of_session =
                set_cookie_value_same_site(APP_COOKIE, &value, age, catalogue.same_site(&incoming.host));
            set_cookie(&mut answer, &cookie_of_session).map_err(stop)?;
        }
        Ok(None) => {}
        // The browser that asked for the code delivers the response twice, or signed in anew meanwhile: it gets
        // nothing by this one, and goes on to where its present session, if it has one, is found. It counts all the
        // same: each costs the store a transaction.
        Err(why @ (CodeError::Duplicate | CodeError::SessionEnded)) => {
            failures.record(incoming.client.map(rate_limit_key));
            tracing::info!(request_id = incoming.request_id, ?why, "a callback brought no session");
        }
        Err(error) => {
            failures.record(incoming.client.map(rate_limit_key));
            return Err(refuse(ErrorResponse::attempt_lost(), &format!("the code: {error:?}")));
        }
    }
    let now = gateway.pool.clock.now();
    let landings = RedirectLoopCounter::from_cookies(cookies(session), now).increment(now);
    set_cookie(&mut answer, &landings).map_err(stop)?;
    set_cookie(&mut answer, &clear_cookie_value(&cookie)).map_err(stop)?;
    // What came to nothing need not go along with each request of the app.
    for name in expired_attempts(cookies(session), now) {
        set_cookie(&mut answer, &clear_cookie_value(&name)).map_err(stop)?;
    }
    if guest.is_some() {
        set_cookie(&mut answer, &clear_cookie_value(GUEST_COOKIE)).map_err(stop)?;
    }
    Ok(answer)
}

/// The identities of a guest's cookie on this host, each with its identity pool.
fn guest_identities<'c>(
    gateway: &Gateway,
    catalogue: &'c Catalogue,
    incoming: &RequestInfo,
    cookie: &str,
) -> Vec<(&'c IdentityPool, String)> {
    let here = |pool: &&Arc<IdentityPool>| {
        let judged = catalogue.routes_of(&incoming.host);
        judged.filter_map(|route| route.rule.judged()).any(|judged| Arc::ptr_eq(&judged.identity_pool, pool))
    };
    let region = &catalogue.config.region;
    let identity = |pool: &'c Arc<IdentityPool>| {
        Some((&**pool, gateway.guests.identity_of_cookie(cookie, &incoming.host, pool, region)?))
    };
    catalogue.identity_pools.iter().filter(here).filter_map(identity).collect()
}

/// Uses the code up, and adds this host's cookie to the session in the same transaction: either both
/// count, or neither. The same applies to the guest identity of the browser.
///
/// Returns the cookie's token with the session's end; none where the browser has a cookie of this session already. The session `earlier`, of which it has one
/// otherwise, ends.
async fn redeem(
    gateway: &Gateway,
    catalogue: &Catalogue,
    incoming: &RequestInfo,
    code: &RandomToken,
    login: &AppLogin,
    guests: &[(&IdentityPool, String)],
    earlier: Option<&str>,
) -> Result<Result<Option<(RandomToken, Timestamp)>, CodeError>, StoreError> {
    let pool = &gateway.pool;
    let (now, entropy, token) = (pool.clock.now(), &*pool.entropy, RandomToken::random(&*pool.entropy));
    let redirect_uri = catalogue.callback_of(&incoming.host);
    let grant = Grant { client_id: &catalogue.pool.gateway_client, redirect_uri: &redirect_uri };
    // Anybody can come here with a code of their own making: that must not stand in writers' way.
    if !pool.store.code_exists(&code.hash()).await? {
        return Ok(Err(CodeError::Unknown));
    }
    let redeemed = pool
        .store
        .transaction(|tx| {
            let token = &token;
            Box::pin(async move {
                let session = match token::redeem(tx, code, grant, &login.verifier, now, entropy).await? {
                    Ok(session) => session,
                    Err(error) => return Ok(Err(error)),
                };
                if let Some(earlier) = earlier.filter(|earlier| *earlier != session.id) {
                    tx.end_session(earlier, entropy).await?;
                }
                if earlier != Some(&session.id) {
                    tx.add_session_cookie(&SessionCookie {
                        hash: token.hash(),
                        session_id: session.id.clone(),
                        scope: scope_of(incoming).owned(),
                        created_at: now,
                    })
                    .await?;
                }
                let mut merged = Vec::new();
                for (pool, guest) in guests {
                    merged.push(merge_guest(tx, pool, guest, &session.user_id, now).await?);
                }
                Ok(Ok((session, merged)))
            })
        })
        .await?;
    if let Ok((session, merged)) = &redeemed {
        if let Some(earlier) = earlier.filter(|earlier| *earlier != session.id) {
            pool.sessions.apply_changes(&[Change::Session(earlier.to_owned())]);
            handlers::audit_replaced_session(&incoming.request_id, earlier);
        }
        for ((_, guest), merged) in guests.iter().zip(merged) {
            gateway.guests.evict(guest).await;
            let into = match merged {
                MergeOutcome::Promoted => guest,
                MergeOutcome::Merged(id) => id,
                MergeOutcome::AlreadyOwned => continue,
            };
            tracing::info!(
                target: "audit",
                event = "guest_merged",
                request_id = incoming.request_id,
                guest,
                identity_id = into,
                sub = session.user_id,
            );
        }
    }
    Ok(redeemed.map(|(session, _)| (earlier != Some(&session.id)).then_some((token, session.expires_at))))
}

/// Ends the session. A form of our own page, or a link of the app's own, does it at once; whatever
/// may come from elsewhere is asked about first.
async fn sign_out(
    gateway: &Gateway,
    session: &Session,
    catalogue: &Catalogue,
    incoming: &RequestInfo,
) -> Result<HttpResponse, LocalResponse> {
    let stop = |failure: ErrorResponse| {
        LocalResponse::from(failure.into_response(&incoming.response_context(session)))
    };
    let origin = catalogue.config.public_url.origin_of(&incoming.host);
    let header = &session.req_header().headers;
    let site = header.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
    let mode = header.get("sec-fetch-mode").map(http::HeaderValue::as_bytes);
    let dest = header.get("sec-fetch-dest").map(http::HeaderValue::as_bytes);
    let own = match (&session.req_header().method, site) {
        // An image in somebody's text must not sign every reader out: only going there counts.
        // Nor must a frame in it.
        (&Method::GET, Some(b"same-origin")) => mode == Some(b"navigate") && dest == Some(b"document"),
        (_, Some(b"same-origin")) => true,
        (&Method::POST, None) => header.get("origin").is_some_and(|o| o.as_bytes() == origin.as_bytes()),
        _ => false,
    };
    let mut ended = None;
    let cannot = |error: StoreError| {
        tracing::error!(request_id = incoming.request_id, %error, "cannot end a session: database error");
        let again = format!("{origin}/.narthex/sign-out");
        stop(ErrorResponse::sign_out_unavailable().with_action("Try again", again))
    };
    let principal = match cookie_value(cookies(session), APP_COOKIE) {
        Some(cookie) => {
            let sessions = &gateway.pool.sessions;
            sessions.authenticate(cookie, scope_of(incoming), incoming.received).await.map_err(cannot)?
        }
        None => None,
    };
    if let Some(principal) = principal {
        if !own {
            if session.req_header().method == Method::POST {
                return Err(stop(ErrorResponse::bad_request()));
            }
            let page = SignOutPage {
                name: principal.user().display_name().to_owned(),
                action: "/.narthex/sign-out".into(),
                stay: incoming.site.start_page().to_owned(),
            };
            return page.answer().map_err(stop);
        }
        ended = end(gateway, incoming, &principal.session().id).await.map_err(cannot)?;
    }
    let host = incoming.host.as_str();
    let next = handlers::after_sign_out(&gateway.pool, ended.as_ref(), host).await.map_err(stop)?;
    let mut answer = browser_action(&next, &session.req_header().method).map_err(stop)?;
    set_cookie(&mut answer, &clear_cookie_value(APP_COOKIE)).map_err(stop)?;
    Ok(answer)
}

async fn end(
    gateway: &Gateway,
    incoming: &RequestInfo,
    sid: &str,
) -> Result<Option<EndedSession>, StoreError> {
    let client = incoming.client.map_or_else(String::new, |ip| ip.to_string());
    handlers::end_session(&gateway.pool, &incoming.request_id, &client, sid).await
}

/// The query's parameters; `None` where one comes twice.
fn parameters(session: &Session) -> Option<Form> {
    let query = session.req_header().uri.query().unwrap_or_default();
    handlers::form(query)
}
