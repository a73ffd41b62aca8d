//! Sign-in of an app host: the redirect to the authorization endpoint, and the links that lead to
//! it. The gateway is an app client of its pool like any other.

use crate::authn::{APP_COOKIE, LOGIN_COOKIE, clear_cookie_value, cookie_value, set_cookie_value};
use crate::base::RandomToken;
use crate::broker::{ATTEMPT_COOKIE_LIFETIME, LoginAttempts};
use crate::config::{OnUnauthenticatedRequest, Route};
use crate::gateway::builtin::redirect_loops::RedirectLoopCounter;
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::request::{self, RequestInfo, cookies};
use crate::gateway::state::request_context::RequestContext;
use crate::handlers::{self, AuthorizationUrl, surplus_attempts};
use crate::pages::{self, ErrorResponse, HttpResponse, see_other, set_cookie};
use crate::token;
use serde::{Deserialize, Serialize};

/// The longest address that is remembered over a sign-in: it travels in a cookie.
const MAX_RETURN_PATH_LENGTH: usize = 1800;

/// What an app host remembers while its visitor signs in.
#[derive(Serialize, Deserialize)]
pub struct AppLogin {
    /// The path and query that the visitor wanted, on this host.
    pub return_to: String,
    /// The PKCE verifier.
    pub verifier: String,
}

/// Returns the context of the seal of this host's attempts.
pub fn seal_context(incoming: &RequestInfo) -> String {
    format!("app {}", incoming.host)
}

/// Answers a request that needs a session and has none: a browser is redirected to sign in and
/// back, a program gets an error.
pub fn sign_in(ctx: &RequestContext<'_>, target: &str, route: &Route) -> LocalResponse {
    let visitor = &ctx.response_context();
    let redirects = match ctx.incoming.on_unauthenticated.unwrap_or(route.on_unauthenticated_request) {
        OnUnauthenticatedRequest::Auto => ctx.incoming.may_redirect(visitor),
        OnUnauthenticatedRequest::Authenticate => true,
        OnUnauthenticatedRequest::Deny => false,
    };
    if !redirects {
        let failure = ErrorResponse::sign_in_required();
        // RFC 6750, section 3.1: the challenge for a request without a token has no error.
        let failure = match route.bearer {
            true => failure.with_challenge(&request::challenge(ctx.session, route.basic_password, "")),
            false => failure,
        };
        return ctx.refusal(failure, "nobody is signed in");
    }
    let answer = begin(ctx, target).unwrap_or_else(|failure| failure.into_response(visitor));
    pages::add_common_headers(answer, visitor).into()
}

fn begin(ctx: &RequestContext<'_>, target: &str) -> Result<HttpResponse, ErrorResponse> {
    let RequestContext { gateway, session, incoming, .. } = *ctx;
    let catalogue = ctx.catalogue();
    if RedirectLoopCounter::from_cookies(cookies(session), gateway.pool.clock.now()).is_loop() {
        return sign_in_loop(ctx);
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
fn sign_in_loop(ctx: &RequestContext<'_>) -> Result<HttpResponse, ErrorResponse> {
    let failure = match cookie_value(cookies(ctx.session), APP_COOKIE) {
        Some(_) => ErrorResponse::session_unknown(),
        None => ErrorResponse::cookie_lost(),
    };
    tracing::warn!(
        target: "audit",
        event = "sign_in_loop",
        request_id = ctx.incoming.request_id,
        reason = failure.title,
    );
    let mut answer = failure.into_response(&ctx.response_context());
    set_cookie(&mut answer, &RedirectLoopCounter::reset())?;
    Ok(answer)
}

/// A way to sign in, and back to `return_to` on this host: a link for public apps, and for proxies
/// to send a request to that must sign in first, whatever it was. `attempt` names an attempt that
/// came to nothing, and leads to what was wanted by it.
pub async fn sign_in_link(ctx: &RequestContext<'_>) -> Result<HttpResponse, LocalResponse> {
    let incoming = ctx.incoming;
    if !incoming.may_redirect(&ctx.response_context()) {
        return Err(ctx.failure(ErrorResponse::sign_in_required()));
    }
    // It comes last and may come as it is, since proxies cannot encode it: what follows is all its
    // own.
    let query = ctx.session.req_header().uri.query().unwrap_or_default();
    if let Some(id) = query.strip_prefix("attempt=") {
        return resume_return_path(ctx, id).await;
    }
    let requested = query.strip_prefix("return_to=").unwrap_or(incoming.site.start_page());
    let return_to = match requested.starts_with('/') {
        true => requested.to_owned(),
        false => handlers::form(&format!("return_to={requested}"))
            .and_then(|mut form| form.remove("return_to"))
            .unwrap_or_default(),
    };
    // It follows our own origin, so that it leads nowhere else; what is no path would change the
    // host.
    if !return_to.starts_with('/') || return_to.contains(|c: char| c.is_control() || !c.is_ascii()) {
        return Err(ctx.failure(ErrorResponse::bad_request()));
    }
    begin(ctx, &return_to).map_err(|failure| ctx.failure(failure))
}

/// Leads to what was wanted by an attempt that came to nothing: at once where a session exists by
/// now, else by a sign-in.
async fn resume_return_path(ctx: &RequestContext<'_>, id: &str) -> Result<HttpResponse, LocalResponse> {
    let stop = |failure: ErrorResponse| ctx.failure(failure);
    let return_to = return_path(ctx, id);
    let mut answer = match ctx.session_principal().await? {
        Some(_) => see_other(&format!("{}{return_to}", origin(ctx))),
        None => begin(ctx, &return_to),
    }
    .map_err(stop)?;
    if LoginAttempts::started_at(id).is_some() {
        set_cookie(&mut answer, &clear_cookie_value(&format!("{LOGIN_COOKIE}{id}"))).map_err(stop)?;
    }
    Ok(answer)
}

/// The path and query that the visitor wanted by the attempt `id`, however old; the start page
/// where it is unknown.
pub fn return_path(ctx: &RequestContext<'_>, id: &str) -> String {
    let attempts = &ctx.gateway.attempts;
    let login: Option<AppLogin> = cookie_value(cookies(ctx.session), &format!("{LOGIN_COOKIE}{id}"))
        .and_then(|sealed| attempts.open_expired(&seal_context(ctx.incoming), id, sealed));
    login.map_or_else(|| ctx.incoming.site.start_page().to_owned(), |login| login.return_to)
}

/// Returns the origin of the request's host.
pub fn origin(ctx: &RequestContext<'_>) -> String {
    ctx.catalogue().config.public_url.origin_of(&ctx.incoming.host)
}
