//! What Narthex answers on an app's own host: the way out to sign in, the callback that brings the
//! session, and sign-out. The gateway is an app client of its pool like any other; only the code is
//! redeemed in process.

use crate::access::{APP_COOKIE, GUEST_COOKIE, LOGIN_COOKIE, clear, find, network, set, set_for};
use crate::base::{Timestamp, Token};
use crate::broker::{ATTEMPT_COOKIE_LIFETIME, Attempts, Ended};
use crate::catalogue::{Catalogue, IdentityPool};
use crate::config::{OnUnauthenticatedRequest, Route};
use crate::gateway::builtin::redirect_loops::Landings;
use crate::gateway::builtin::userinfo;
use crate::gateway::request::local_response::Stop;
use crate::gateway::request::{self, Incoming, cookies};
use crate::gateway::state::gateway::{Gateway, scope_of, unavailable};
use crate::hosted::{self, Answer, Failure, SignOutPage, onward, see_other, set_cookie};
use crate::identity::{Merged, merge_guest};
use crate::model::SessionCookie;
use crate::oauth::{self, AuthorizationUrl, Form, expired_attempts, surplus_attempts};
use crate::store::{Change, StoreError};
use crate::token::{self, CodeError, Grant};
use http::Method;
use pingora_proxy::Session;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The longest address that is remembered over a sign-in: it travels in a cookie.
const LONGEST_RETURN: usize = 1800;

/// What an app host remembers while its visitor signs in.
#[derive(Serialize, Deserialize)]
struct AppLogin {
    /// The path and query that the visitor wanted, on this host.
    return_to: String,
    /// The PKCE verifier.
    verifier: String,
}

fn place(incoming: &Incoming) -> String {
    format!("app {}", incoming.host)
}

/// Nobody is signed in where somebody must be: a browser is sent to sign in and back, a program is
/// told.
pub fn sign_in(
    gateway: &Gateway,
    catalogue: &Catalogue,
    session: &Session,
    incoming: &Incoming,
    target: &str,
    route: &Route,
) -> Stop {
    let visitor = &incoming.visitor(session);
    let redirects = match incoming.on_unauthenticated.unwrap_or(route.on_unauthenticated_request) {
        OnUnauthenticatedRequest::Auto => incoming.may_redirect(visitor),
        OnUnauthenticatedRequest::Authenticate => true,
        OnUnauthenticatedRequest::Deny => false,
    };
    if !redirects {
        incoming.refused("nobody is signed in");
        let failure = Failure::sign_in_required();
        // RFC 6750, section 3.1: a request without a token is told of no error.
        let failure = match route.bearer {
            true => failure.with_challenge(&request::challenge(session, route.basic_password, "")),
            false => failure,
        };
        return failure.answer(&incoming.visitor(session)).into();
    }
    let answer = begin(gateway, catalogue, session, incoming, target);
    hosted::finish(
        answer.unwrap_or_else(|failure| failure.answer(&incoming.visitor(session))),
        &incoming.visitor(session),
    )
    .into()
}

fn begin(
    gateway: &Gateway,
    catalogue: &Catalogue,
    session: &Session,
    incoming: &Incoming,
    target: &str,
) -> Result<Answer, Failure> {
    if Landings::of(cookies(session), gateway.pool.clock.now()).are_a_loop() {
        return sign_in_loop(session, incoming);
    }
    let return_to = match target.len() <= LONGEST_RETURN {
        true => target,
        false => Some(request::path_part(target))
            .filter(|path| path.len() <= LONGEST_RETURN)
            .unwrap_or(incoming.site.start_page()),
    };
    let verifier = Token::random(&*gateway.pool.entropy).text();
    let id = gateway.attempts.new_id(incoming.host.as_str());
    let location = oauth::authorization_url(
        catalogue,
        &AuthorizationUrl {
            redirect_uri: &catalogue.callback_of(&incoming.host),
            state: &id,
            code_challenge: &token::challenge(&verifier),
        },
    );
    let login = AppLogin { return_to: return_to.to_owned(), verifier };
    let sealed = gateway.attempts.seal(&place(incoming), &id, &login);
    let mut answer = see_other(&location)?;
    set_cookie(&mut answer, &set(&format!("{LOGIN_COOKIE}{id}"), &sealed, Some(ATTEMPT_COOKIE_LIFETIME)))?;
    for name in surplus_attempts(cookies(session)) {
        set_cookie(&mut answer, &clear(&name))?;
    }
    Ok(answer)
}

/// The browser has landed again and again, and is not signed in: to send it on would never end.
fn sign_in_loop(session: &Session, incoming: &Incoming) -> Result<Answer, Failure> {
    let failure = match find(cookies(session), APP_COOKIE) {
        Some(_) => Failure::session_unknown(),
        None => Failure::cookie_lost(),
    };
    tracing::warn!(
        target: "audit",
        event = "sign_in_loop",
        request_id = incoming.request_id,
        reason = failure.title,
    );
    let mut answer = failure.answer(&incoming.visitor(session));
    set_cookie(&mut answer, &Landings::begin_anew())?;
    Ok(answer)
}

/// Answers below `/.narthex/`.
pub async fn answer(
    gateway: &Gateway,
    session: &Session,
    catalogue: &Catalogue,
    incoming: &Incoming,
    name: &str,
) -> Stop {
    let method = &session.req_header().method;
    let answer = match (name, method) {
        ("style.css", &Method::GET | &Method::HEAD) => Ok(hosted::style()),
        ("favicon.svg", &Method::GET | &Method::HEAD) => Ok(hosted::icon()),
        // On the pages' own origin, so that no app's script can read or press what is there.
        ("sessions", &Method::GET) => see_other(&catalogue.config.public_url.join("/sessions"))
            .map_err(|failure| failure.answer(&incoming.visitor(session)).into()),
        ("userinfo", &Method::GET | &Method::HEAD) => {
            return userinfo::answer(gateway, session, catalogue, incoming).await;
        }
        ("sign-in", _) => go_and_sign_in(gateway, session, catalogue, incoming).await,
        ("callback", &Method::GET) => callback(gateway, session, catalogue, incoming).await,
        ("sign-out", &Method::GET | &Method::POST) => sign_out(gateway, session, catalogue, incoming).await,
        _ => Err(Stop::from(Failure::not_found().answer(&incoming.visitor(session)))),
    };
    match answer {
        Ok(answer) => hosted::finish(answer, &incoming.visitor(session)).into(),
        Err(stop) => stop,
    }
}

/// A way to sign in, and back to `return_to` on this host: a link for public apps, and for proxies to send
/// a request to that must sign in first, whatever it was. `attempt` names an attempt that came to nothing, and leads to what
/// was wanted by it.
async fn go_and_sign_in(
    gateway: &Gateway,
    session: &Session,
    catalogue: &Catalogue,
    incoming: &Incoming,
) -> Result<Answer, Stop> {
    let stop = |failure: Failure| Stop::from(failure.answer(&incoming.visitor(session)));
    let visitor = &incoming.visitor(session);
    if !incoming.may_redirect(visitor) {
        return Err(stop(Failure::sign_in_required()));
    }
    // It comes last and may come as it is, since proxies cannot encode it: what follows is all its own.
    let query = session.req_header().uri.query().unwrap_or_default();
    if let Some(id) = query.strip_prefix("attempt=") {
        return go_back(gateway, session, catalogue, incoming, id).await;
    }
    let told = query.strip_prefix("return_to=").unwrap_or(incoming.site.start_page());
    let return_to = match told.starts_with('/') {
        true => told.to_owned(),
        false => oauth::form(&format!("return_to={told}"))
            .and_then(|mut form| form.remove("return_to"))
            .unwrap_or_default(),
    };
    // It follows our own origin, so that it leads nowhere else; what is no path would change the host.
    if !return_to.starts_with('/') || return_to.contains(|c: char| c.is_control() || !c.is_ascii()) {
        return Err(stop(Failure::bad_request()));
    }
    begin(gateway, catalogue, session, incoming, &return_to).map_err(stop)
}

/// Leads to what was wanted by an attempt that came to nothing: at once where a session exists by now, else by a sign-in.
async fn go_back(
    gateway: &Gateway,
    session: &Session,
    catalogue: &Catalogue,
    incoming: &Incoming,
    id: &str,
) -> Result<Answer, Stop> {
    let stop = |failure: Failure| Stop::from(failure.answer(&incoming.visitor(session)));
    let return_to = wanted(gateway, session, incoming, id);
    let mut answer = match gateway.signed_in(session, incoming).await? {
        Some(_) => {
            let origin = catalogue.config.public_url.origin_of(&incoming.host);
            see_other(&format!("{origin}{return_to}"))
        }
        None => begin(gateway, catalogue, session, incoming, &return_to),
    }
    .map_err(stop)?;
    if Attempts::begun_at(id).is_some() {
        set_cookie(&mut answer, &clear(&format!("{LOGIN_COOKIE}{id}"))).map_err(stop)?;
    }
    Ok(answer)
}

/// The path and query that the visitor wanted by the attempt `id`, however old; the start page where it is unknown.
fn wanted(gateway: &Gateway, session: &Session, incoming: &Incoming, id: &str) -> String {
    let login: Option<AppLogin> = find(cookies(session), &format!("{LOGIN_COOKIE}{id}"))
        .and_then(|sealed| gateway.attempts.open_expired(&place(incoming), id, sealed));
    login.map_or_else(|| incoming.site.start_page().to_owned(), |login| login.return_to)
}

/// Redeems the code and sets the session's cookie on this host.
async fn callback(
    gateway: &Gateway,
    session: &Session,
    catalogue: &Catalogue,
    incoming: &Incoming,
) -> Result<Answer, Stop> {
    let origin = catalogue.config.public_url.origin_of(&incoming.host);
    let stop = |failure: Failure| Stop::from(failure.answer(&incoming.visitor(session)));
    let refuse_at = |failure: Failure, why: &str, return_to: &str| {
        tracing::warn!(request_id = incoming.request_id, why, "a callback was refused");
        stop(failure.with_action("Try again", format!("{origin}{return_to}")))
    };
    let form = parameters(session).ok_or_else(|| {
        refuse_at(Failure::bad_request(), "a parameter comes twice", incoming.site.start_page())
    })?;
    let get = |name: &str| form.get(name).map(String::as_str);
    let id = get("state").unwrap_or_default();
    let return_to = wanted(gateway, session, incoming, id);
    let refuse = |failure: Failure, why: &str| refuse_at(failure, why, &return_to);
    let cookie = format!("{LOGIN_COOKIE}{id}");
    let login: Option<AppLogin> = find(cookies(session), &cookie)
        .and_then(|sealed| gateway.attempts.open(&place(incoming), id, sealed));
    let Some(login) = login else {
        // After Back or a reload: a browser that is signed in goes on.
        if gateway.signed_in(session, incoming).await?.is_some() {
            return see_other(&format!("{origin}{return_to}")).map_err(stop);
        }
        return Err(refuse(Failure::attempt_lost(), "the browser carries no such attempt"));
    };
    // RFC 9207, section 2.4: the response must be of the server that the browser was sent to.
    if get("iss") != Some(&catalogue.config.public_url.to_string()) {
        return Err(refuse(Failure::sign_in_failed(), "iss is not the pool's"));
    }
    let Some(code) = get("code").and_then(Token::parse) else {
        return Err(refuse(Failure::sign_in_failed(), get("error").unwrap_or("there is no code")));
    };

    let failures = &gateway.pool.failures;
    if failures.allows(incoming.client.map(network).as_ref()).is_err() {
        return Err(stop(Failure::too_many_failures()));
    }
    let guest = find(cookies(session), GUEST_COOKIE);
    let guests = guest.map_or_else(Vec::new, |cookie| guests_of(gateway, catalogue, incoming, cookie));
    let failed = |error: StoreError| unavailable(&incoming.visitor(session), &error);
    let earlier = match find(cookies(session), APP_COOKIE) {
        Some(cookie) => gateway.pool.sessions.still(cookie, scope_of(incoming)).await.map_err(failed)?,
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
            let cookie_of_session = set_for(APP_COOKIE, &value, age, catalogue.same_site(&incoming.host));
            set_cookie(&mut answer, &cookie_of_session).map_err(stop)?;
        }
        Ok(None) => {}
        // The browser that asked for the code delivers the response twice, or signed in anew meanwhile: it gets
        // nothing by this one, and goes on to where its present session, if it has one, is found. It counts all the
        // same: each costs the store a transaction.
        Err(why @ (CodeError::Duplicate | CodeError::SessionEnded)) => {
            failures.count(incoming.client.map(network));
            tracing::info!(request_id = incoming.request_id, ?why, "a callback brought no session");
        }
        Err(error) => {
            failures.count(incoming.client.map(network));
            return Err(refuse(Failure::attempt_lost(), &format!("the code: {error:?}")));
        }
    }
    let now = gateway.pool.clock.now();
    let landings = Landings::of(cookies(session), now).and_one_more(now);
    set_cookie(&mut answer, &landings).map_err(stop)?;
    set_cookie(&mut answer, &clear(&cookie)).map_err(stop)?;
    // What came to nothing need not go along with each request of the app.
    for name in expired_attempts(cookies(session), now) {
        set_cookie(&mut answer, &clear(&name)).map_err(stop)?;
    }
    if guest.is_some() {
        set_cookie(&mut answer, &clear(GUEST_COOKIE)).map_err(stop)?;
    }
    Ok(answer)
}

/// The identities that a guest's cookie stands for on this host, each with its identity pool.
fn guests_of<'c>(
    gateway: &Gateway,
    catalogue: &'c Catalogue,
    incoming: &Incoming,
    cookie: &str,
) -> Vec<(&'c IdentityPool, String)> {
    let here = |pool: &&Arc<IdentityPool>| {
        let judged = catalogue.routes_of(&incoming.host);
        judged.filter_map(|route| route.rule.judged()).any(|judged| Arc::ptr_eq(&judged.identity_pool, pool))
    };
    let region = &catalogue.config.region;
    let identity = |pool: &'c Arc<IdentityPool>| {
        Some((&**pool, gateway.guests.identity(cookie, &incoming.host, pool, region)?))
    };
    catalogue.identity_pools.iter().filter(here).filter_map(identity).collect()
}

/// Uses the code up, and adds this host's cookie to the session in the same transaction: either both
/// count, or neither. So it is with what becomes of whom the browser was a guest as.
///
/// Returns the cookie's token with the session's end; none where the browser has a cookie of this session already. The session `earlier`, of which it has one
/// otherwise, ends.
async fn redeem(
    gateway: &Gateway,
    catalogue: &Catalogue,
    incoming: &Incoming,
    code: &Token,
    login: &AppLogin,
    guests: &[(&IdentityPool, String)],
    earlier: Option<&str>,
) -> Result<Result<Option<(Token, Timestamp)>, CodeError>, StoreError> {
    let pool = &gateway.pool;
    let (now, entropy, token) = (pool.clock.now(), &*pool.entropy, Token::random(&*pool.entropy));
    let redirect_uri = catalogue.callback_of(&incoming.host);
    let grant = Grant { client_id: &catalogue.pool.gateway_client, redirect_uri: &redirect_uri };
    // Anybody can come here with a code of their own making: that must not stand in writers' way.
    if !pool.store.knows_code(&code.hash()).await? {
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
            pool.sessions.hear(&[Change::Session(earlier.to_owned())]);
            oauth::replaced(&incoming.request_id, earlier);
        }
        for ((_, guest), merged) in guests.iter().zip(merged) {
            gateway.guests.forget(guest).await;
            let into = match merged {
                Merged::Promoted => guest,
                Merged::Into(id) => id,
                Merged::Nothing => continue,
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
    incoming: &Incoming,
) -> Result<Answer, Stop> {
    let stop = |failure: Failure| Stop::from(failure.answer(&incoming.visitor(session)));
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
        stop(Failure::sign_out_unavailable().with_action("Try again", again))
    };
    let principal = match find(cookies(session), APP_COOKIE) {
        Some(cookie) => {
            let sessions = &gateway.pool.sessions;
            sessions.principal(cookie, scope_of(incoming), incoming.received).await.map_err(cannot)?
        }
        None => None,
    };
    if let Some(principal) = principal {
        if !own {
            if session.req_header().method == Method::POST {
                return Err(stop(Failure::bad_request()));
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
    let next = oauth::after_sign_out(&gateway.pool, ended.as_ref(), host).await.map_err(stop)?;
    let mut answer = onward(&next, &session.req_header().method).map_err(stop)?;
    set_cookie(&mut answer, &clear(APP_COOKIE)).map_err(stop)?;
    Ok(answer)
}

async fn end(gateway: &Gateway, incoming: &Incoming, sid: &str) -> Result<Option<Ended>, StoreError> {
    let client = incoming.client.map_or_else(String::new, |ip| ip.to_string());
    oauth::end_session(&gateway.pool, &incoming.request_id, &client, sid).await
}

/// The query's parameters; `None` where one comes twice.
fn parameters(session: &Session) -> Option<Form> {
    let query = session.req_header().uri.query().unwrap_or_default();
    oauth::form(query)
}
