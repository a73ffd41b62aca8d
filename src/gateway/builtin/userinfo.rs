//! `/.narthex/userinfo`: describes the signed-in user to scripts of an app's own pages.

use crate::authn::{APP_COOKIE, SessionPrincipal, cookie_value};
use crate::base::Timestamp;
use crate::gateway::request::cookies;
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::state::credentials::scope_of;
use crate::gateway::state::request_context::{RequestContext, unavailable};
use crate::identity::Person;
use crate::pages::{self, ClientKind, ErrorResponse};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

/// The header that prevents other sites from embedding the response (Fetch, section 3.7). The
/// response has no CORS headers, so no other origin can read it.
const RESOURCE_POLICY: (HeaderName, HeaderValue) =
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));

/// Returns the session's user and its end as JSON; 401 without a session. The request does not
/// extend the session, because a page that polls must not keep it alive.
pub async fn answer(ctx: &RequestContext<'_>) -> LocalResponse {
    let mut visitor = ctx.response_context();
    visitor.client = ClientKind::Program;
    let sessions = &ctx.gateway.pool.sessions;
    let principal = match cookie_value(cookies(ctx.session), APP_COOKIE) {
        Some(cookie) => sessions.authenticate_without_touch(cookie, scope_of(ctx.incoming)).await,
        None => Ok(None),
    };
    match principal {
        Ok(Some(who)) => {
            let text = describe(ctx, &who).to_string();
            let answer = pages::add_common_headers(
                pages::with_body(StatusCode::OK, "application/json", text),
                &visitor,
            );
            LocalResponse::from(answer).map_headers(|headers| headers.extend([RESOURCE_POLICY]))
        }
        Ok(None) => ErrorResponse::sign_in_required().into_response(&visitor).into(),
        Err(error) => unavailable(&visitor, &error),
    }
}

fn describe(ctx: &RequestContext<'_>, who: &SessionPrincipal) -> Value {
    let catalogue = ctx.catalogue();
    let (user, session) = (who.user(), who.session());
    let idle_end = who.last_seen(ctx.gateway.pool.clock.moment()).plus(catalogue.config.session.idle);
    // Scripts get only groups that some route of this host passes to its app.
    let routes = || catalogue.routes_of(&ctx.incoming.host);
    let groups = Person::of(&catalogue.config, user, session).groups.visible;
    let groups = groups.into_iter().filter(|group| routes().any(|route| route.config.passes_group(group)));
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), json!(user.id));
    claims.insert("username".to_owned(), json!(user.username));
    if let Some(email) = user.email() {
        claims.insert("email".to_owned(), json!(email));
        claims.insert("email_verified".to_owned(), json!(user.email_verified()));
    }
    claims.extend(user.attributes.get("name").map(|name| ("name".to_owned(), json!(name))));
    claims.insert("groups".to_owned(), groups.map(|group| json!(group)).collect());
    claims.insert("session_expires_at".to_owned(), date(session.expires_at.min(idle_end)));
    claims.insert("session_ends_at".to_owned(), date(session.expires_at));
    Value::Object(claims)
}

/// Returns a NumericDate (RFC 7519, section 2), as in tokens.
fn date(at: Timestamp) -> Value {
    json!(at.seconds())
}
