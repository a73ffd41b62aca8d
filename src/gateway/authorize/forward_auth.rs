//! Another proxy stands before the apps, and asks about each request of theirs: nginx `auth_request`,
//! Traefik's ForwardAuth, Caddy's `forward_auth`, HAProxy. The answer is the same that the request
//! would get here: 2xx with the identity's headers, or what else the visitor is to be told.

use crate::config::{Host, OnUnauthenticatedRequest};
use crate::gateway::authorize::{self, RouteMatch, RouteRequest};
use crate::gateway::request::RequestInfo;
use crate::gateway::request::headers;
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::state::gateway::Gateway;
use crate::gateway::state::routes::{RouteTable, Target};
use crate::pages::{self, ErrorResponse, HttpResponse};
use http::{HeaderName, Method};
use pingora_proxy::Session;

/// Where proxies ask.
const ENDPOINT: &str = "/.narthex/forward-auth";
/// Asking so, a proxy that cannot hand a redirect on is told 401 instead.
const DENY_PARAMETER: &str = "on_unauthenticated_request=deny";

const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Headers in which some proxies repeat the target, with scheme and host or without. The app behind the proxy may be sent
/// what the client wrote there, and some frameworks serve that instead.
const TARGET_HEADERS: [&str; 6] = [
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-request-uri",
    "x-envoy-original-path",
    "x-waws-unencoded-url",
];

/// Whether this is a proxy that asks. Only those that the file trusts may: they say whose request it is.
pub fn is_forward_auth_request(session: &Session, incoming: &RequestInfo) -> bool {
    incoming.from_trusted_proxy && session.req_header().uri.path() == ENDPOINT
}

/// The answer to a proxy that asks.
pub async fn answer(
    gateway: &Gateway,
    session: &Session,
    table: &RouteTable,
    incoming: &RequestInfo,
) -> LocalResponse {
    authorize_subrequest(gateway, session, table, incoming).await.unwrap_or_else(|stop| stop)
}

async fn authorize_subrequest(
    gateway: &Gateway,
    session: &Session,
    table: &RouteTable,
    incoming: &RequestInfo,
) -> Result<LocalResponse, LocalResponse> {
    let refuse = |why: &str| {
        incoming.audit_refusal(why);
        LocalResponse::from(ErrorResponse::bad_request().into_response(&incoming.response_context(session)))
    };
    // The one set of names that every such proxy sets anew: were others taken too, whoever can send
    // them through the proxy would say what is judged.
    let told = |name: &HeaderName| {
        let mut values = session.req_header().headers.get_all(name).iter();
        match (values.next().map(|value| value.to_str()), values.next()) {
            (Some(Ok(value)), None) => Ok(value),
            _ => Err(refuse(&format!("the proxy must say {name}, once"))),
        }
    };
    let host = Host::from_authority(told(&FORWARDED_HOST)?).ok_or_else(|| refuse("the host is none"))?;
    let method: Method = told(&FORWARDED_METHOD)?.parse().map_err(|_| refuse("the method is none"))?;
    let target = told(&FORWARDED_URI)?;
    if target.contains('#') {
        return Err(refuse("the target has a fragment"));
    }
    let copies = TARGET_HEADERS.iter().flat_map(|name| session.req_header().headers.get_all(*name));
    if copies.map(|copy| path_and_query(copy.as_bytes())).any(|copy| copy != target.as_bytes()) {
        incoming.audit_refusal("a header repeats the target, and differs");
        // nginx knows no other refusal than 401 and 403.
        return Err(ErrorResponse::access_denied().into_response(&incoming.response_context(session)).into());
    }
    // Cookies of ours are never sent without TLS: asking would only go round in circles.
    if !told(&FORWARDED_PROTO)?.eq_ignore_ascii_case("https") {
        return Err(refuse("the visitor does not speak https with the proxy"));
    }
    let deny = session.req_header().uri.query() == Some(DENY_PARAMETER);
    let names = session.req_header().headers.keys();
    if let Some(name) = names.map(|name| name.as_str()).find(|name| table.reserved.is_lookalike(name)) {
        return Err(refuse(&format!("`{name}` would pass for a header of ours behind the proxy")));
    }
    let unauthenticated = deny.then_some(OnUnauthenticatedRequest::Deny);
    let asked = incoming.for_forward_auth(table.site(&host), host, method, unauthenticated);
    let RouteMatch { target: place, path } = authorize::match_route(table, session, &asked, target)?;
    let Target::Route(entry) = place else {
        return Err(ErrorResponse::not_found().into_response(&asked.response_context(session)).into());
    };
    if !entry.route.config.forward_auth {
        return Err(ErrorResponse::not_found().into_response(&asked.response_context(session)).into());
    }
    let wanted = RouteRequest { entry: &entry, path: &path, target };
    let passed = authorize::authorize(gateway, session, table, &asked, wanted).await?;

    let mut answer = HttpResponse::default();
    let told = headers::set_identity(
        answer.headers_mut(),
        &entry.route,
        passed.identity.as_ref(),
        &table.catalogue,
        asked.received.wall,
    );
    told.map_err(|error| {
        tracing::error!(request_id = asked.request_id, %error, "the identity cannot be told");
        LocalResponse::from(ErrorResponse::internal().into_response(&asked.response_context(session)))
    })?;
    if let Some(cookie) = &passed.guest_cookie {
        pages::set_cookie(&mut answer, cookie).map_err(|failure| {
            LocalResponse::from(failure.into_response(&asked.response_context(session)))
        })?;
    }
    Ok(pages::add_common_headers(answer, &asked.response_context(session)).into())
}

/// Returns what follows scheme and host in an address.
fn path_and_query(address: &[u8]) -> &[u8] {
    let Some(authority) =
        memchr::memmem::find(address, b"://").filter(|at| memchr::memchr(b'/', &address[..*at]).is_none())
    else {
        return address;
    };
    let rest = &address[authority + 3..];
    &rest[memchr::memchr(b'/', rest).unwrap_or(rest.len())..]
}
