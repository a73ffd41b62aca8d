//! Sign-out on an app host.

use crate::authn::{APP_COOKIE, clear_cookie_value, cookie_value};
use crate::broker::EndedSession;
use crate::gateway::builtin::sign_in::origin;
use crate::gateway::request::cookies;
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::state::credentials::scope_of;
use crate::gateway::state::request_context::RequestContext;
use crate::handlers;
use crate::pages::{Brand, ErrorResponse, HttpResponse, SignOutPage, browser_action, set_cookie};
use crate::store::StoreError;
use http::Method;

/// Ends the session. A form of Narthex's own page, or a link of the app's own pages, ends it at
/// once. A link that may be from elsewhere requires a confirmation.
pub async fn answer(ctx: &RequestContext<'_>) -> Result<HttpResponse, LocalResponse> {
    let stop = |failure: ErrorResponse| ctx.failure(failure);
    let cannot = |error: StoreError| unavailable(ctx, &error);
    let incoming = ctx.incoming;
    let method = &ctx.session.req_header().method;
    let principal = match cookie_value(cookies(ctx.session), APP_COOKIE) {
        Some(cookie) => {
            let sessions = &ctx.gateway.pool.sessions;
            sessions.authenticate(cookie, scope_of(incoming), incoming.received).await.map_err(cannot)?
        }
        None => None,
    };
    let mut ended = None;
    if let Some(principal) = principal {
        if !is_intended(ctx) {
            if method == Method::POST {
                return Err(stop(ErrorResponse::bad_request()));
            }
            let page = SignOutPage {
                t: ctx.response_context().texts,
                brand: Brand::standard(),
                name: principal.user().display_name().to_owned(),
                action: "/.narthex/sign-out".into(),
                stay: incoming.site.start_page().to_owned(),
            };
            return page.answer().map_err(stop);
        }
        ended = end(ctx, &principal.session().id).await.map_err(cannot)?;
    }
    let host = incoming.host.as_str();
    let next = handlers::after_sign_out(&ctx.gateway.pool, ended.as_ref(), host).await.map_err(stop)?;
    let mut answer = browser_action(&next, method, ctx.response_context().texts).map_err(stop)?;
    set_cookie(&mut answer, &clear_cookie_value(APP_COOKIE)).map_err(stop)?;
    Ok(answer)
}

/// Returns whether a page of this host sends the request, which shows the user's intention.
fn is_intended(ctx: &RequestContext<'_>) -> bool {
    let header = &ctx.session.req_header().headers;
    let site = header.get("sec-fetch-site").map(http::HeaderValue::as_bytes);
    let mode = header.get("sec-fetch-mode").map(http::HeaderValue::as_bytes);
    let dest = header.get("sec-fetch-dest").map(http::HeaderValue::as_bytes);
    match (&ctx.session.req_header().method, site) {
        // Only a navigation of the whole page may end the session. An image or a frame in a user's
        // text must not sign out its readers.
        (&Method::GET, Some(b"same-origin")) => mode == Some(b"navigate") && dest == Some(b"document"),
        (_, Some(b"same-origin")) => true,
        (&Method::POST, None) => header.get("origin").is_some_and(|o| o.as_bytes() == origin(ctx).as_bytes()),
        _ => false,
    }
}

fn unavailable(ctx: &RequestContext<'_>, error: &StoreError) -> LocalResponse {
    tracing::error!(request_id = ctx.incoming.request_id, %error, "cannot end a session: database error");
    let again = format!("{}/.narthex/sign-out", origin(ctx));
    ctx.failure(ErrorResponse::sign_out_unavailable().with_action("Try again", again))
}

async fn end(ctx: &RequestContext<'_>, sid: &str) -> Result<Option<EndedSession>, StoreError> {
    let client = ctx.incoming.client.map_or_else(String::new, |ip| ip.to_string());
    handlers::end_session(&ctx.gateway.pool, &ctx.incoming.request_id, &client, sid).await
}
