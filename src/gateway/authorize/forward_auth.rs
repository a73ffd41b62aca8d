//! Forward authentication: another proxy requests a decision about each request of its apps (nginx
//! `auth_request`, Traefik's ForwardAuth, Caddy's `forward_auth`, HAProxy). The response is the one
//! that the request would get here: 2xx with the headers of the identity, a redirect, or an error.

use crate::catalogue::Route;
use crate::config::{Host, OnUnauthenticatedRequest};
use crate::gateway::authorize::{self, Authorized, RouteMatch, RouteRequest};
use crate::gateway::request::RequestInfo;
use crate::gateway::request::headers;
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::state::request_context::RequestContext;
use crate::gateway::state::routes::Target;
use crate::pages::{self, ErrorResponse, HttpResponse};
use http::{HeaderName, Method};
use pingora_proxy::Session;

/// The path of subrequests.
const ENDPOINT: &str = "/.narthex/forward-auth";
/// The query by which a proxy that cannot forward redirects gets a 401 instead.
const DENY_PARAMETER: &str = "on_unauthenticated_request=deny";

const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Headers in which some proxies repeat the target, with or without scheme and host. The app may
/// get a client's value there, and some frameworks use that value as the target.
const TARGET_HEADERS: [&str; 6] = [
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-request-uri",
    "x-envoy-original-path",
    "x-waws-unencoded-url",
];

/// Returns whether this is a subrequest of a trusted proxy. Only these may name another request's
/// client.
pub fn is_forward_auth_request(session: &Session, incoming: &RequestInfo) -> bool {
    incoming.from_trusted_proxy && session.req_header().uri.path() == ENDPOINT
}

/// Returns the response to a subrequest.
pub async fn answer(ctx: &RequestContext<'_>) -> LocalResponse {
    authorize_subrequest(ctx).await.unwrap_or_else(|stop| stop)
}

async fn authorize_subrequest(ctx: &RequestContext<'_>) -> Result<LocalResponse, LocalResponse> {
    let (target, judged) = forwarded_request(ctx)?;
    let ctx = &RequestContext { incoming: &judged, ..*ctx };
    let RouteMatch { target: place, path } = authorize::match_route(ctx, target)?;
    let Target::Route(entry) = place else {
        return Err(ctx.failure(ErrorResponse::not_found()));
    };
    if !entry.route.config.forward_auth {
        return Err(ctx.failure(ErrorResponse::not_found()));
    }
    let wanted = RouteRequest { entry: &entry, path: &path, target };
    let passed = authorize::authorize(ctx, wanted).await?;
    permission(ctx, &entry.route, &passed)
}

/// Returns the original request as the proxy describes it: its path and query, and its other
/// properties.
fn forwarded_request<'a>(ctx: &RequestContext<'a>) -> Result<(&'a str, RequestInfo), LocalResponse> {
    let (session, incoming) = (ctx.session, ctx.incoming);
    let refuse = |why: &str| ctx.refusal(ErrorResponse::bad_request(), why);
    // Every such proxy overwrites these headers. Clients could set other headers, and thus choose
    // the evaluated request.
    let forwarded = |name: &HeaderName| {
        let mut values = session.req_header().headers.get_all(name).iter();
        match (values.next().map(|value| value.to_str()), values.next()) {
            (Some(Ok(value)), None) => Ok(value),
            _ => Err(refuse(&format!("the proxy must say {name}, once"))),
        }
    };
    let host = Host::from_authority(forwarded(&FORWARDED_HOST)?).ok_or_else(|| refuse("the host is none"))?;
    let method: Method = forwarded(&FORWARDED_METHOD)?.parse().map_err(|_| refuse("the method is none"))?;
    let target = forwarded(&FORWARDED_URI)?;
    if target.contains('#') {
        return Err(refuse("the target has a fragment"));
    }
    let copies = TARGET_HEADERS.iter().flat_map(|name| session.req_header().headers.get_all(*name));
    if copies.map(|copy| path_and_query(copy.as_bytes())).any(|copy| copy != target.as_bytes()) {
        // nginx passes on no refusals except 401 and 403.
        return Err(ctx.refusal(ErrorResponse::access_denied(), "a header repeats the target, and differs"));
    }
    // Browsers send session cookies over TLS only, so a redirect to the sign-in page would loop.
    if !forwarded(&FORWARDED_PROTO)?.eq_ignore_ascii_case("https") {
        return Err(refuse("the visitor does not speak https with the proxy"));
    }
    let deny = session.req_header().uri.query() == Some(DENY_PARAMETER);
    let names = session.req_header().headers.keys();
    if let Some(name) = names.map(|name| name.as_str()).find(|name| ctx.table.reserved.is_lookalike(name)) {
        return Err(refuse(&format!("`{name}` would pass for a header of ours behind the proxy")));
    }
    let unauthenticated = deny.then_some(OnUnauthenticatedRequest::Deny);
    Ok((target, incoming.for_forward_auth(ctx.table.site(&host), host, method, unauthenticated)))
}

/// Returns the response that permits the request, with the headers of its identity.
fn permission(
    ctx: &RequestContext<'_>,
    route: &Route,
    passed: &Authorized,
) -> Result<LocalResponse, LocalResponse> {
    let mut response = HttpResponse::default();
    let set = headers::set_identity(
        response.headers_mut(),
        route,
        passed.identity.as_ref(),
        ctx.catalogue(),
        ctx.incoming.received.wall,
    );
    set.map_err(|error| {
        let request_id = &ctx.incoming.request_id;
        tracing::error!(request_id, %error, "the headers of the identity could not be set");
        ctx.failure(ErrorResponse::internal())
    })?;
    if let Some(cookie) = &passed.guest_cookie {
        pages::set_cookie(&mut response, cookie).map_err(|failure| ctx.failure(failure))?;
    }
    Ok(pages::add_common_headers(response, &ctx.response_context()).into())
}

/// Returns the part of an address after scheme and host.
fn path_and_query(address: &[u8]) -> &[u8] {
    let Some(authority) =
        memchr::memmem::find(address, b"://").filter(|at| memchr::memchr(b'/', &address[..*at]).is_none())
    else {
        return address;
    };
    let rest = &address[authority + 3..];
    &rest[memchr::memchr(b'/', rest).unwrap_or(rest.len())..]
}
