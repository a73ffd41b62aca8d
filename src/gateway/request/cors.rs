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

/// How long browsers keep the answer to a preflight: some take no more than ten minutes.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The answer to a preflight, which has no credentials: what the file says of its origin, whoever it is.
pub fn preflight(session: &Session, incoming: &RequestInfo, route: &Route) -> LocalResponse {
    let asked = &session.req_header().headers;
    let mut answer = HttpResponse::default();
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    if add_headers(headers, asked, route) {
        let same = |from: HeaderName, to: HeaderName| asked.get(from).map(|value| (to, value.clone()));
        headers.extend(same(ACCESS_CONTROL_REQUEST_METHOD, ACCESS_CONTROL_ALLOW_METHODS));
        headers.extend(same(ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_ALLOW_HEADERS));
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    pages::add_common_headers(answer, &incoming.response_context(session)).into()
}

/// Whether a page of another origin opens a WebSocket, without leave to act with the user's session. Browsers ask no
/// server before that, and let the page read what comes (RFC 6455, section 10.2). Proxies that ask for decisions about
/// requests may leave out `Upgrade`.
pub fn is_foreign_websocket(session: &Session, incoming: &RequestInfo, route: &Route) -> bool {
    let headers = &session.req_header().headers;
    if !headers.contains_key(UPGRADE) && !headers.contains_key(SEC_WEBSOCKET_KEY) {
        return false;
    }
    let is_own = |origin: &HeaderValue| {
        let authority = origin.to_str().ok().and_then(|origin| origin.strip_prefix("https://"));
        authority.and_then(Host::from_authority).is_some_and(|host| host == incoming.host)
    };
    let is_listed = |origin: &HeaderValue| {
        route.cors_credentials && route.cors_origins.iter().any(|known| known.as_bytes() == origin.as_bytes())
    };
    headers.get_all(ORIGIN).iter().any(|origin| !is_own(origin) && !is_listed(origin))
}

/// Lets the scripts of an origin that the file names read an answer, where nobody has said who may.
pub fn add_headers_if_absent(headers: &mut HeaderMap, asked: &HeaderMap, route: &Route) {
    if !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
        add_headers(headers, asked, route);
    }
}

/// The same whatever was said; answers whether it is such an origin.
fn add_headers(headers: &mut HeaderMap, asked: &HeaderMap, route: &Route) -> bool {
    if route.cors_origins.is_empty() {
        return false;
    }
    // Fetch, section 3.2.5: what depends on the origin is no other origin's to be served from a cache.
    if !headers.get_all(VARY).iter().any(|told| told == "Origin") {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
    let named =
        |origin: &&HeaderValue| route.cors_origins.iter().any(|known| known.as_bytes() == origin.as_bytes());
    let Some(origin) = asked.get(ORIGIN).filter(named) else { return false };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    match route.cors_credentials {
        true => drop(headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"))),
        // The app's own, which it did not mean for this origin.
        false => drop(headers.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS)),
    }
    true
}
