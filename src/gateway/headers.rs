//! Strip, then set: what a client says of itself never reaches the upstream, and what we say always
//! does.

use super::incoming::Incoming;
use crate::access::{Assertion, OUR_COOKIES, Principal, strip};
use crate::catalogue::Route;
use crate::config::Piece;
use http::header::{COOKIE, HOST, SET_COOKIE};
use http::{HeaderName, HeaderValue};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};

const OIDC_DATA: HeaderName = HeaderName::from_static("x-amzn-oidc-data");
const OIDC_IDENTITY: HeaderName = HeaderName::from_static("x-amzn-oidc-identity");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names that are ours to set, whoever else sends them.
const OURS: [&str; 5] = ["forwarded", "x-real-ip", "x-request-id", "x-original-url", "x-rewrite-url"];
/// Beginnings of such names.
const OUR_PREFIXES: [&str; 3] = ["x-amzn-oidc-", "x-forwarded-", "x-narthex-"];

/// Whether a client's header `name` would pass for one of ours. Some servers read `_` as `-`, so both
/// are taken for the same.
fn poses(name: &str, route: &Route) -> bool {
    let plain;
    let name = match name.contains('_') {
        true => {
            plain = name.replace('_', "-");
            plain.as_str()
        }
        false => name,
    };
    OURS.contains(&name)
        || OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || route.config.headers.iter().any(|header| header.name.as_str().replace('_', "-") == name)
}

/// Takes everything out of `request` that only we may say, and our cookies.
pub fn strip_request(request: &mut RequestHeader, route: &Route) -> Result<()> {
    let posing: Vec<HeaderName> =
        request.headers.keys().filter(|name| poses(name.as_str(), route)).cloned().collect();
    for name in &posing {
        request.remove_header(name);
    }
    let ours = |value: &HeaderValue| memchr::memmem::find(value.as_bytes(), OUR_COOKIES.as_bytes()).is_some();
    if request.headers.get_all(COOKIE).iter().any(ours) {
        let kept: Vec<Option<HeaderValue>> =
            request.headers.get_all(COOKIE).iter().map(without_ours).collect();
        request.remove_header(&COOKIE);
        for value in kept.into_iter().flatten() {
            request.append_header(COOKIE, value)?;
        }
    }
    Ok(())
}

fn without_ours(value: &HeaderValue) -> Option<HeaderValue> {
    // A cookie header that is no text is dropped whole: ours could hide in it.
    let rest = strip(value.to_str().ok()?)?;
    HeaderValue::from_str(&rest).ok()
}

/// Says in `request` who it speaks for and where it came from.
pub fn set_request(
    request: &mut RequestHeader,
    route: &Route,
    incoming: &Incoming,
    identity: Option<&(Principal, Assertion)>,
    upstream_host: Option<&str>,
) -> Result<()> {
    request.insert_header(REQUEST_ID, incoming.visitor.request_id.as_str())?;
    request.insert_header(FORWARDED_PROTO, "https")?;
    request.insert_header(FORWARDED_HOST, &route.origin["https://".len()..])?;
    if let Some(client) = incoming.client {
        request.insert_header(FORWARDED_FOR, client.to_canonical().to_string())?;
    }
    if let Some(host) = upstream_host {
        request.insert_header(HOST, host)?;
    }
    let Some((principal, assertion)) = identity else { return Ok(()) };
    request.insert_header(OIDC_DATA, &assertion.data)?;
    request.insert_header(OIDC_IDENTITY, &assertion.identity)?;
    for header in &route.config.headers {
        let Some(value) = fill(&header.value, principal) else { continue };
        // A value that is no header value must fail the request: without it, the upstream would take
        // the person for nobody.
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| Error::explain(ErrorType::InternalError, "a claim is no header value"))?;
        request.insert_header(header.name.clone(), value)?;
    }
    Ok(())
}

/// A header's value with its claims filled in; `None` where one of them is absent.
fn fill(pieces: &[Piece], principal: &Principal) -> Option<String> {
    let user = principal.user();
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Claim(claim) => match claim.as_str() {
                "sub" => text.push_str(&user.id),
                "username" | "cognito:username" => text.push_str(&user.username),
                "groups" | "cognito:groups" => text.push_str(&user.groups.join(",")),
                name => text.push_str(user.attributes.get(name)?),
            },
        }
    }
    Some(text)
}

/// Takes cookies of our names out of an upstream's answer: only we set them.
pub fn strip_response(response: &mut ResponseHeader) -> Result<()> {
    let ours = |value: &HeaderValue| value.as_bytes().trim_ascii_start().starts_with(OUR_COOKIES.as_bytes());
    if response.headers.get_all(SET_COOKIE).iter().any(ours) {
        let kept: Vec<HeaderValue> =
            response.headers.get_all(SET_COOKIE).iter().filter(|value| !ours(value)).cloned().collect();
        response.remove_header(&SET_COOKIE);
        for value in kept {
            response.append_header(SET_COOKIE, value)?;
        }
    }
    Ok(())
}
