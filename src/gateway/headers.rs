//! Strip, then set: what a client says of itself never reaches the upstream, and what we say always
//! does.

use super::incoming::Incoming;
use super::table::Table;
use crate::access::{Assertion, Principal, sets_ours, strip};
use crate::catalogue::Route;
use crate::config::{HeaderTemplate, Piece, Upstream};
use http::header::{COOKIE, HOST, SET_COOKIE};
use http::{HeaderName, HeaderValue};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use std::borrow::Cow;
use std::collections::HashSet;

const OIDC_DATA: HeaderName = HeaderName::from_static("x-amzn-oidc-data");
const OIDC_IDENTITY: HeaderName = HeaderName::from_static("x-amzn-oidc-identity");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const HTTPS: HeaderValue = HeaderValue::from_static("https");

/// Names that are ours to set, whoever else sends them.
const OURS: [&str; 5] = ["forwarded", "x-real-ip", "x-request-id", "x-original-url", "x-rewrite-url"];
/// Beginnings of such names.
const OUR_PREFIXES: [&str; 3] = ["x-amzn-oidc-", "x-forwarded-", "x-narthex-"];

/// The names of all routes' configured headers, in the spelling that [`plain`] gives. What one route's
/// upstream trusts may be the upstream of another route too, so none of them is let through anywhere.
pub struct Reserved(HashSet<String>);

impl Reserved {
    /// The reserved names of these headers.
    pub fn new<'h>(headers: impl Iterator<Item = &'h HeaderTemplate>) -> Self {
        Self(headers.map(|header| plain(header.name.as_str()).into_owned()).collect())
    }

    /// Whether a client's header `name` would pass for one of ours.
    fn holds(&self, name: &str) -> bool {
        let name = plain(name);
        OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || OURS.contains(&&*name)
            || (!self.0.is_empty() && self.0.contains(&*name))
    }
}

/// Servers that hand headers on in their environment take every mark for the same one (RFC 3875,
/// section 4.1.18), so names that differ in marks alone are taken for the same.
fn plain(name: &str) -> Cow<'_, str> {
    let odd = |byte: u8| !(byte.is_ascii_alphanumeric() || byte == b'-');
    match name.bytes().any(odd) {
        false => Cow::Borrowed(name),
        true => name.bytes().map(|byte| if odd(byte) { '-' } else { char::from(byte) }).collect(),
    }
}

/// Takes everything out of `request` that only we may say, and our cookies.
pub fn strip_request(request: &mut RequestHeader, table: &Table) -> Result<()> {
    let posing: Vec<HeaderName> =
        request.headers.keys().filter(|name| table.reserved.holds(name.as_str())).cloned().collect();
    for name in &posing {
        request.remove_header(name);
    }
    if request.headers.contains_key(COOKIE) {
        match strip(request.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes)) {
            Some(others) => {
                let value = HeaderValue::try_from(others).map_err(|_| {
                    Error::explain(ErrorType::InvalidHTTPHeader, "a cookie is no header value")
                })?;
                request.insert_header(COOKIE, value)?;
            }
            None => drop(request.remove_header(&COOKIE)),
        }
    }
    Ok(())
}

/// Says in `request` who it speaks for and where it came from.
pub fn set_request(
    request: &mut RequestHeader,
    route: &Route,
    incoming: &Incoming,
    identity: Option<&(Principal, Assertion)>,
    server: Option<&Upstream>,
) -> Result<()> {
    request.insert_header(REQUEST_ID, incoming.request_id.as_str())?;
    request.insert_header(FORWARDED_PROTO, HTTPS)?;
    request.insert_header(FORWARDED_HOST, route.authority.clone())?;
    if let Some(client) = incoming.client {
        request.insert_header(FORWARDED_FOR, client.to_canonical().to_string())?;
    }
    // The host as we know it, not as the client spelt it: apps make links of it.
    match server {
        Some(server) if !route.config.preserve_host => request.insert_header(HOST, server.authority())?,
        _ => request.insert_header(HOST, route.authority.clone())?,
    }
    let Some((principal, assertion)) = identity else { return Ok(()) };
    request.insert_header(OIDC_DATA, assertion.data.clone())?;
    request.insert_header(OIDC_IDENTITY, assertion.identity.clone())?;
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
                // A name with a comma in it would pass for two.
                "groups" | "cognito:groups" => {
                    let groups: Vec<&str> =
                        user.groups.iter().map(String::as_str).filter(|g| !g.contains(',')).collect();
                    text.push_str(&groups.join(","));
                }
                // Whoever reads a plain header cannot see whether the address was verified.
                "email" if !user.email_verified() => return None,
                name => text.push_str(user.attributes.get(name)?),
            },
        }
    }
    Some(text)
}

/// Takes cookies of our names out of an upstream's answer: only we set them.
pub fn strip_response(response: &mut ResponseHeader) -> Result<()> {
    let ours = |value: &HeaderValue| sets_ours(value.as_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_reserved_in_every_spelling_that_a_server_may_take_for_it() {
        let header = HeaderTemplate { name: HeaderName::from_static("x-remote_user"), value: vec![] };
        let reserved = Reserved::new(std::iter::once(&header));
        for name in [
            "x-remote-user",
            "x_remote_user",
            "x.remote!user",
            "x-amzn-oidc-data",
            "x.amzn_oidc-anything",
            "x-forwarded-user",
            "x_forwarded_for",
            "forwarded",
            "x_real_ip",
            "x-narthex-anything",
        ] {
            assert!(reserved.holds(name), "{name}");
        }
        for name in ["x-remote-users", "remote-user", "cookie", "x-forwardedness", "accept"] {
            assert!(!reserved.holds(name), "{name}");
        }
    }
}
