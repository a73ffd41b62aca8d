//! The callback of an app host, which redeems the code of a sign-in in process and sets the
//! session's cookie.

use crate::authn::{
    APP_COOKIE, GUEST_COOKIE, LOGIN_COOKIE, clear_cookie_value, cookie_value, rate_limit_key,
    set_cookie_value_same_site,
};
use crate::base::{RandomToken, Timestamp};
use crate::catalogue::IdentityPool;
use crate::gateway::builtin::redirect_loops::RedirectLoopCounter;
use crate::gateway::builtin::sign_in::{AppLogin, origin, return_path, seal_context};
use crate::gateway::request::cookies;
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::state::credentials::scope_of;
use crate::gateway::state::request_context::RequestContext;
use crate::handlers::{self, Form, expired_attempts};
use crate::identity::{MergeOutcome, merge_guest};
use crate::model::{Session, SessionCookie};
use crate::pages::{ErrorResponse, HttpResponse, see_other, set_cookie};
use crate::store::{Change, StoreError};
use crate::token::{self, CodeError, Grant};
use std::sync::Arc;

/// Redeems the code and sets the session's cookie on this host.
///
/// # Errors
/// An error page.
pub async fn answer(ctx: &RequestContext<'_>) -> Result<HttpResponse, LocalResponse> {
    let stop = |failure: ErrorResponse| ctx.failure(failure);
    let (gateway, session, incoming) = (ctx.gateway, ctx.session, ctx.incoming);
    let form = parameters(ctx).ok_or_else(|| {
        let start_page = incoming.site.start_page();
        refuse(ctx, ErrorResponse::bad_request(), "a parameter comes twice", start_page)
    })?;
    let id = form.get("state").map(String::as_str).unwrap_or_default();
    let return_to = return_path(ctx, id);
    let cookie = format!("{LOGIN_COOKIE}{id}");
    let login: Option<AppLogin> = cookie_value(cookies(session), &cookie)
        .and_then(|sealed| gateway.attempts.open(&seal_context(incoming), id, sealed));
    let Some(login) = login else {
        // This happens after Back or a reload. A browser with a session is redirected to its
        // destination.
        if ctx.session_principal().await?.is_some() {
            return see_other(&format!("{}{return_to}", origin(ctx))).map_err(stop);
        }
        let reason = "the browser carries no such attempt";
        return Err(refuse(ctx, ErrorResponse::attempt_lost(), reason, &return_to));
    };
    let code = authorization_code(ctx, &form)
        .map_err(|why| refuse(ctx, ErrorResponse::sign_in_failed(), why, &return_to))?;

    let failures = &gateway.pool.limits.failed_sign_ins;
    if failures.check(incoming.client.map(rate_limit_key).as_ref()).is_err() {
        return Err(stop(ErrorResponse::too_many_failures()));
    }
    let guest = cookie_value(cookies(session), GUEST_COOKIE);
    let guests = guest.map_or_else(Vec::new, |cookie| guest_identities(ctx, cookie));
    let redeemed = redeem(ctx, &code, &login, &guests).await.map_err(|error| ctx.unavailable(&error))?;
    let mut answer = see_other(&format!("{}{}", origin(ctx), login.return_to)).map_err(stop)?;
    match redeemed {
        Ok(Some((token, expires_at))) => {
            let cookie_of_session = session_cookie(ctx, &token, expires_at);
            set_cookie(&mut answer, &cookie_of_session).map_err(stop)?;
        }
        Ok(None) => {}
        // The browser has delivered the response twice, or has signed in again in the meantime.
        // This response gives it no session, and the redirect leads to a page where an existing
        // session remains valid. The failure is recorded, because each attempt costs a database
        // transaction.
        Err(why @ (CodeError::Duplicate | CodeError::SessionEnded)) => {
            failures.record(incoming.client.map(rate_limit_key));
            tracing::info!(request_id = incoming.request_id, ?why, "a callback brought no session");
        }
        Err(error) => {
            failures.record(incoming.client.map(rate_limit_key));
            let reason = format!("the code: {error:?}");
            return Err(refuse(ctx, ErrorResponse::attempt_lost(), &reason, &return_to));
        }
    }
    set_attempt_cookies(ctx, &mut answer, &cookie).map_err(stop)?;
    if guest.is_some() {
        set_cookie(&mut answer, &clear_cookie_value(GUEST_COOKIE)).map_err(stop)?;
    }
    Ok(answer)
}

/// Returns the query's parameters; `None` if one is repeated.
fn parameters(ctx: &RequestContext<'_>) -> Option<Form> {
    let query = ctx.session.req_header().uri.query().unwrap_or_default();
    handlers::form(query)
}

/// Logs the reason for which a callback is refused, and returns the error page. The page links to
/// `return_to`.
fn refuse(ctx: &RequestContext<'_>, failure: ErrorResponse, why: &str, return_to: &str) -> LocalResponse {
    tracing::warn!(request_id = ctx.incoming.request_id, why, "a callback was refused");
    ctx.failure(failure.with_action("Try again", format!("{}{return_to}", origin(ctx))))
}

/// Returns the code of the user pool's response.
///
/// # Errors
/// The reason for which there is no code.
fn authorization_code<'f>(ctx: &RequestContext<'_>, form: &'f Form) -> Result<RandomToken, &'f str> {
    let get = |name: &str| form.get(name).map(String::as_str);
    // RFC 9207, section 2.4: the response must be from the server to which the browser was sent.
    if get("iss") != Some(&ctx.catalogue().config.public_url.to_string()) {
        return Err("iss is not the pool's");
    }
    get("code").and_then(RandomToken::parse).ok_or_else(|| get("error").unwrap_or("there is no code"))
}

/// Returns the `Set-Cookie` value of a new session's cookie.
fn session_cookie(ctx: &RequestContext<'_>, token: &RandomToken, expires_at: Timestamp) -> String {
    let (pool, catalogue) = (&ctx.gateway.pool, ctx.catalogue());
    let value = pool.sessions.cookie(token, scope_of(ctx.incoming));
    let age = catalogue.config.session.cookie_age(expires_at, pool.clock.now());
    set_cookie_value_same_site(APP_COOKIE, &value, age, catalogue.same_site(&ctx.incoming.host))
}

/// Increments the counter of sign-ins, and removes the cookies of the attempt (`cookie`) and of
/// expired attempts.
fn set_attempt_cookies(
    ctx: &RequestContext<'_>,
    answer: &mut HttpResponse,
    cookie: &str,
) -> Result<(), ErrorResponse> {
    let now = ctx.gateway.pool.clock.now();
    let landings = RedirectLoopCounter::from_cookies(cookies(ctx.session), now).increment(now);
    set_cookie(answer, &landings)?;
    set_cookie(answer, &clear_cookie_value(cookie))?;
    // Otherwise the browser would send the cookies of expired attempts with each request of the
    // app.
    for name in expired_attempts(cookies(ctx.session), now) {
        set_cookie(answer, &clear_cookie_value(&name))?;
    }
    Ok(())
}

/// Returns the identities of a guest's cookie on this host, each with its identity pool.
fn guest_identities<'c>(ctx: &RequestContext<'c>, cookie: &str) -> Vec<(&'c IdentityPool, String)> {
    let (catalogue, incoming) = (ctx.catalogue(), ctx.incoming);
    let here = |pool: &&Arc<IdentityPool>| {
        let judged = catalogue.routes_of(&incoming.host);
        judged.filter_map(|route| route.rule.judged()).any(|judged| Arc::ptr_eq(&judged.identity_pool, pool))
    };
    let region = &catalogue.config.region;
    let identity = |pool: &'c Arc<IdentityPool>| {
        Some((&**pool, ctx.gateway.guests.identity_of_cookie(cookie, &incoming.host, pool, region)?))
    };
    catalogue.identity_pools.iter().filter(here).filter_map(identity).collect()
}

/// Redeems the code and adds this host's cookie to the session. The same transaction assigns the
/// guest identities of the browser to the user.
///
/// Returns the cookie's token and the session's end; `None` if the browser already has a cookie of
/// this session. Ends an earlier session of the browser.
async fn redeem(
    ctx: &RequestContext<'_>,
    code: &RandomToken,
    login: &AppLogin,
    guests: &[(&IdentityPool, String)],
) -> Result<Result<Option<(RandomToken, Timestamp)>, CodeError>, StoreError> {
    let (pool, incoming) = (&ctx.gateway.pool, ctx.incoming);
    let earlier = match cookie_value(cookies(ctx.session), APP_COOKIE) {
        Some(cookie) => pool.sessions.authenticate_without_touch(cookie, scope_of(incoming)).await?,
        None => None,
    };
    let earlier = earlier.as_ref().map(|earlier| earlier.session().id.as_str());
    let (now, entropy, token) = (pool.clock.now(), &*pool.entropy, RandomToken::random(&*pool.entropy));
    let redirect_uri = ctx.catalogue().callback_of(&incoming.host);
    let client_id = &ctx.catalogue().gateway_client;
    let grant = Grant { client_id, redirect_uri: &redirect_uri, proof: None };
    // Any client can send an invented code. A read rejects it, so that it does not block writers.
    if !pool.store.code_exists(&code.hash()).await? {
        return Ok(Err(CodeError::Unknown));
    }
    let redeemed = pool
        .store
        .transaction(|tx| {
            let token = &token;
            Box::pin(async move {
                let session = match token::redeem(tx, code, grant, &login.verifier, now, entropy).await? {
                    Ok(redeemed) => redeemed.session,
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
    let (session, merged) = match redeemed {
        Ok(redeemed) => redeemed,
        Err(error) => return Ok(Err(error)),
    };
    if let Some(earlier) = earlier.filter(|earlier| *earlier != session.id) {
        pool.sessions.apply_changes(&[Change::Session(earlier.to_owned())]);
        handlers::audit_replaced_session(&incoming.request_id, earlier);
    }
    evict_merged_guests(ctx, &session, guests.iter().map(|(_, guest)| guest.as_str()).zip(&merged)).await;
    Ok(Ok((earlier != Some(&session.id)).then_some((token, session.expires_at))))
}

/// Evicts guests whose identities were assigned to the session's user from the cache, and writes
/// the assignments to the audit log.
async fn evict_merged_guests(
    ctx: &RequestContext<'_>,
    session: &Session,
    merged: impl Iterator<Item = (&str, &MergeOutcome)>,
) {
    for (guest, outcome) in merged {
        ctx.gateway.guests.evict(guest).await;
        let into = match outcome {
            MergeOutcome::Promoted => guest,
            MergeOutcome::Merged(id) => id,
            MergeOutcome::AlreadyOwned => continue,
        };
        tracing::info!(
            target: "audit",
            event = "guest_merged",
            request_id = ctx.incoming.request_id,
            guest,
            identity_id = into,
            sub = session.user_id,
        );
    }
}
