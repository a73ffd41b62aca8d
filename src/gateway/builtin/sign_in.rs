//! Sign-in on an app host: the redirect to the authorization endpoint, and the links to it. The
//! gateway is an app client of its pool like any other.

use crate::authn::{APP_COOKIE, LOGIN_COOKIE, clear_cookie_value, cookie_value, set_cookie_value};
use crate::base::RandomToken;
use crate::broker::{ATTEMPT_COOKIE_LIFETIME, LoginAttempts};
use crate::config::{OnUnauthenticatedRequest, Route, SecondFactorRule};
use crate::gateway::builtin::redirect_loops::RedirectLoopCounter;
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::request::{self, RequestInfo, cookies};
use crate::gateway::state::request_context::RequestContext;
use crate::handlers::{self, AuthorizationUrl, surplus_attempts};
use crate::pages::{self, ErrorResponse, HttpResponse, see_other, set_cookie};
use crate::token;
use serde::{Deserialize, Serialize};

/// The maximum length in bytes of the address to which a sign-in returns; a cookie stores it.
const MAX_RETURN_PATH_LENGTH: usize = 1800;

/// The state of a sign-in on an app host.
#[derive(Serialize, Deserialize)]
pub struct AppLogin {
    /// The requested path and query on this host.
    pub return_to: String,
    /// The PKCE verifier.
    pub verifier: String,
}

/// Returns the context with which this host's attempts are sealed.
pub fn seal_context(incoming: &RequestInfo) -> String {
    format!("app {}", incoming.host)
}

/// Responds to a request that needs a session and has none. A browser is redirected to sign in and
/// back; a program gets an error.
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
    let answer =
        begin(ctx, target, route.second_factor).unwrap_or_else(|failure| failure.into_response(visitor));
    pages::add_common_headers(answer, visitor).into()
}

fn begin(
    ctx: &RequestContext<'_>,
    target: &str,
    second_factor: Option<SecondFactorRule>,
) -> Result<HttpResponse, ErrorResponse> {
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
            second_factor,
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

/// Returns an error page to a browser that is in a sign-in loop, because another redirect would
/// continue the loop.
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

/// Starts a sign-in that returns to `return_to` on this host. Public apps link here, and proxies
/// redirect requests here that need a sign-in. `attempt` is the id of an unsuccessful attempt,
/// whose destination is then used.
pub async fn sign_in_link(ctx: &RequestContext<'_>) -> Result<HttpResponse, LocalResponse> {
    let incoming = ctx.incoming;
    if !incoming.may_redirect(&ctx.response_context()) {
        return Err(ctx.failure(ErrorResponse::sign_in_required()));
    }
    // Proxies cannot encode the address, so it may be unencoded. It is therefore the last
    // parameter, and includes the rest of the query.
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
    // The address is appended to this host's origin, so that it leads to no other host. A value
    // that is not a path could change the host.
    if !return_to.starts_with('/') || return_to.contains(|c: char| c.is_control() || !c.is_ascii()) {
        return Err(ctx.failure(ErrorResponse::bad_request()));
    }
    begin(ctx, &return_to, None).map_err(|failure| ctx.failure(failure))
}

/// Redirects to the destination of an unsuccessful attempt: directly if a session now exists,
/// otherwise through a sign-in.
async fn resume_return_path(ctx: &RequestContext<'_>, id: &str) -> Result<HttpResponse, LocalResponse> {
    let stop = |failure: ErrorResponse| ctx.failure(failure);
    let return_to = return_path(ctx, id);
    let mut answer = match ctx.session_principal().await? {
        Some(_) => see_other(&format!("{}{return_to}", origin(ctx))),
        None => begin(ctx, &return_to, None),
    }
    .map_err(stop)?;
    if LoginAttempts::started_at(id).is_some() {
        set_cookie(&mut answer, &clear_cookie_value(&format!("{LOGIN_COOKIE}{id}"))).map_err(stop)?;
    }
    Ok(answer)
}

/// Returns the requested path and query of the attempt `id`, even if it has expired; the start page
/// if it is unknown.
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
