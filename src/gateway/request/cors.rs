//! Cross-origin requests of scripts (Fetch, section 3.2).

use crate::config::{Host, Route};
use crate::gateway::request::RequestInfo;
use crate::gateway::request::local_response::LocalResponse;
use crate::pages::{self, HttpResponse};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, SEC_WEBSOCKET_KEY, UPGRADE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pingora_proxy::Session;

/// The time in seconds for which browsers cache the response to a preflight; some accept at most
/// ten minutes.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Returns the response to a preflight, which has no credentials: it depends on the origin alone.
pub fn preflight(session: &Session, incoming: &RequestInfo, route: &Route) -> LocalResponse {
    let requested = &session.req_header().headers;
    let mut response = HttpResponse::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    if add_headers(headers, requested, route) {
        let same = |from: HeaderName, to: HeaderName| requested.get(from).map(|value| (to, value.clone()));
        headers.extend(same(ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_ALLOW_METHODS));
        headers.extend(same(ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_ALLOW_HEADERS));
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    pages::add_common_headers(response, &incoming.response_context(session)).into()
}

/// Returns whether a page of another origin, which may not act with the user's session, opens a
/// WebSocket. Browsers send no preflight for one, and the page can read the messages (RFC 6455,
/// section 10.2). In forward authentication `Upgrade` may be missing.
pub fn is_foreign_websocket(session: &Session, incoming: &RequestInfo, route: &Route) -> bool {
    let headers = &session.req_header().headers;
    if !headers.contains_key(UPGRADE) && !headers.contains_key(SEC_WEBSOCKET_KEY) {
        return false;
    }
    let is_own = |origin: &HeaderValue| {
        let authority = origin.to_str().ok().and_then(|origin| origin.strip_prefix("https://"));
        authority.and_then(Host::from_authority).is_some_and(|host| host == incoming.host)
    };
    let is_permitted = |origin: &HeaderValue| route.cors_credentials && is_listed(origin, route);
    headers.get_all(ORIGIN).iter().any(|origin| !is_own(origin) && !is_permitted(origin))
}

/// Permits the scripts of a listed origin to read a response, unless the app has set the permitted
/// origin.
pub fn add_headers_if_absent(headers: &mut HeaderMap, requested: &HeaderMap, route: &Route) {
    if !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        add_headers(headers, requested, route);
    }
}

/// Sets the headers, regardless of the app's own. Returns whether the origin is listed.
fn add_headers(headers: &mut HeaderMap, requested: &HeaderMap, route: &Route) -> bool {
    if route.cors_origins.is_empty() {
        return false;
    }
    // Fetch, section 3.2.5: a cache must not serve a response for one origin to another.
    if !headers.get_all(VARY).iter().any(|varies_by| varies_by == "Origin") {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
    let Some(origin) = requested.get(ORIGIN).filter(|origin| is_listed(origin, route)) else { return false };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    match route.cors_credentials {
        true => drop(headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"))),
        // The app did not intend its own header for this origin.
        false => drop(headers.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS)),
    }
    true
}

/// Returns whether the route lists this origin, in the same spelling.
fn is_listed(origin: &HeaderValue, route: &Route) -> bool {
    route.cors_origins.iter().any(|listed| listed.as_bytes() == origin.as_bytes())
}
