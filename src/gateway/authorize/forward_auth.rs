//! Another proxy stands before the apps, and asks about each request of theirs: nginx `auth_request`,
//! Traefik's ForwardAuth, Caddy's `forward_auth`, HAProxy. The answer is the same that the request
//! would get here: 2xx with the identity's headers, or what else the visitor is to be told.

use crate::config::{Host, OnUnauthenticatedRequest};
use crate::gateway::authorize::{self, ForRoute, Placed};
use crate::gateway::request::Incoming;
use crate::gateway::request::headers;
use crate::gateway::request::local_response::Stop;
use crate::gateway::state::gateway::Gateway;
use crate::gateway::state::routes::{Place, Table};
use crate::hosted::{self, Answer, Failure};
use http::{HeaderName, Method};
use pingora_proxy::Session;

/// Where proxies ask.
const ADDRESS: &str = "/.narthex/forward-auth";
/// Asking so, a proxy that cannot hand a redirect on is told 401 instead.
const DENY: &str = "on_unauthenticated_request=deny";

const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Headers in which some proxies repeat the target, with scheme and host or without. The app behind the proxy may be sent
/// what the client wrote there, and some frameworks serve that instead.
const TARGET_COPIES: [&str; 6] = [
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-request-uri",
    "x-envoy-original-path",
    "x-waws-unencoded-url",
];

/// Whether this is a proxy that asks. Only those that the file trusts may: they say whose request it is.
pub fn asks(session: &Session, incoming: &Incoming) -> bool {
    incoming.behind && session.req_header().uri.path() == ADDRESS
}

/// The answer to a proxy that asks.
pub async fn answer(gateway: &Gateway, session: &Session, table: &Table, incoming: &Incoming) -> Stop {
    judged(gateway, session, table, incoming).await.unwrap_or_else(|stop| stop)
}

async fn judged(
    gateway: &Gateway,
    session: &Session,
    table: &Table,
    incoming: &Incoming,
) -> Result<Stop, Stop> {
    let refuse = |why: &str| {
        incoming.refused(why);
        Stop::from(Failure::bad_request().answer(&incoming.visitor(session)))
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
    let copies = TARGET_COPIES.iter().flat_map(|name| session.req_header().headers.get_all(*name));
    if copies.map(|copy| path_and_query(copy.as_bytes())).any(|copy| copy != target.as_bytes()) {
        incoming.refused("a header repeats the target, and differs");
        // nginx knows no other refusal than 401 and 403.
        return Err(Failure::access_denied().answer(&incoming.visitor(session)).into());
    }
    // Cookies of ours are never sent without TLS: asking would only go round in circles.
    if !told(&FORWARDED_PROTO)?.eq_ignore_ascii_case("https") {
        return Err(refuse("the visitor does not speak https with the proxy"));
    }
    let deny = session.req_header().uri.query() == Some(DENY);
    let names = session.req_header().headers.keys();
    if let Some(name) = names.map(|name| name.as_str()).find(|name| table.reserved.in_disguise(name)) {
        return Err(refuse(&format!("`{name}` would pass for a header of ours behind the proxy")));
    }
    let unauthenticated = deny.then_some(OnUnauthenticatedRequest::Deny);
    let asked = incoming.asking_for(table.site(&host), host, method, unauthenticated);
    let Placed { place, path } = authorize::place(table, session, &asked, target)?;
    let Place::Route(entry) = place else {
        return Err(Failure::not_found().answer(&asked.visitor(session)).into());
    };
    if !entry.route.config.forward_auth {
        return Err(Failure::not_found().answer(&asked.visitor(session)).into());
    }
    let wanted = ForRoute { entry: &entry, path: &path, target };
    let passed = authorize::pass(gateway, session, table, &asked, wanted).await?;

    let mut answer = Answer::default();
    let told = headers::set_identity(
        answer.headers_mut(),
        &entry.route,
        passed.identity.as_ref(),
        &table.catalogue,
        asked.received.wall,
    );
    told.map_err(|error| {
        tracing::error!(request_id = asked.request_id, %error, "the identity cannot be told");
        Stop::from(Failure::internal().answer(&asked.visitor(session)))
    })?;
    if let Some(cookie) = &passed.guest_cookie {
        hosted::set_cookie(&mut answer, cookie)
            .map_err(|failure| Stop::from(failure.answer(&asked.visitor(session))))?;
    }
    Ok(hosted::finish(answer, &asked.visitor(session)).into())
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
