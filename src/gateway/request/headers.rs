//! Rewriting of request and response headers. Headers that only Narthex may set are first removed
//! from a client's request, then set.

use crate::authn::{Assertion, Principal, SessionPrincipal, sets_own_cookie, without_own_cookies};
use crate::base::Timestamp;
use crate::catalogue::{Catalogue, Route};
use crate::config::{
    HeaderTemplate, HeaderText, NameFilter, Piece, RESERVED, Upstream, meaning_of, normalize_name,
};
use crate::gateway::request::names::{
    FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PREFIX, FORWARDED_PROTO, OIDC_ACCESS_TOKEN, OIDC_DATA,
    OIDC_IDENTITY, REQUEST_ID,
};
use crate::gateway::request::{self, RequestInfo};
use crate::identity::Person;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, InvalidHeaderValue, SET_COOKIE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::HashSet;
use std::net::IpAddr;

const HTTPS: HeaderValue = HeaderValue::from_static("https");

/// The headers that clients may not send: those of [`meaning_of`], and those that a route sets.
/// They are reserved on all routes, because the upstream that trusts one route's headers may also
/// serve another route.
pub struct ReservedHeaders {
    /// The headers that routes set, normalized by [`normalize_name`].
    of_routes: HashSet<String>,
    filter: NameFilter,
}

impl ReservedHeaders {
    /// Returns the reserved names, including those of `headers`. `Authorization` is not reserved:
    /// its credentials are verifiable, and apps of other routes need them.
    pub fn new<'h>(headers: impl Iterator<Item = &'h HeaderTemplate>) -> Self {
        let headers = headers.filter(|header| header.name != AUTHORIZATION);
        let of_routes: HashSet<String> =
            headers.map(|header| normalize_name(header.name.as_str()).into_owned()).collect();
        let filter = of_routes.iter().fold(RESERVED, |filter, name| filter.with(name));
        Self { of_routes, filter }
    }

    /// Returns whether an upstream could read a client's header `name` as a reserved one.
    fn contains(&self, name: &str) -> bool {
        if !self.filter.may_contain(name) {
            return false;
        }
        let name = normalize_name(name);
        meaning_of(&name).is_some() || self.of_routes.contains(&*name)
    }
}

impl ReservedHeaders {
    /// Returns whether a client's header `name` equals a reserved one only after normalization. A
    /// server that replaces headers by their exact name does not replace such a header.
    pub fn is_lookalike(&self, name: &str) -> bool {
        matches!(normalize_name(name), Cow::Owned(_)) && self.contains(name)
    }
}

/// Changes the head of a request before it is sent to the upstream.
///
/// pingora keeps a second table with the spelling of each name, so its own methods apply each
/// change twice. Names have no case (RFC 9110, section 5.1), so this function drops that table.
pub fn rewrite_request(
    request: &mut RequestHeader,
    change: impl FnOnce(&mut http::request::Parts) -> Result<()>,
) -> Result<()> {
    let nothing = http::Request::new(()).into_parts().0;
    let ends_stream = request.send_end_stream();
    let mut parts = http::request::Parts::from(std::mem::replace(request, nothing.into()));
    change(&mut parts)?;
    *request = parts.into();
    if let Some(ends_stream) = ends_stream {
        request.set_send_end_stream(ends_stream);
    }
    Ok(())
}

/// Removes reserved headers and Narthex's own cookies from a request.
///
/// # Errors
/// The other cookies are not a valid header value.
pub fn strip_request(headers: &mut HeaderMap, reserved: &ReservedHeaders) -> Result<()> {
    let posing: Vec<HeaderName> =
        headers.keys().filter(|name| reserved.contains(name.as_str())).cloned().collect();
    for name in posing {
        headers.remove(name);
    }
    if headers.contains_key(COOKIE) {
        match without_own_cookies(headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes)) {
            Some(others) => {
                let value = HeaderValue::try_from(others).map_err(|_| {
                    Error::explain(ErrorType::InvalidHTTPHeader, "a cookie is no header value")
                })?;
                headers.insert(COOKIE, value);
            }
            None => drop(headers.remove(COOKIE)),
        }
    }
    Ok(())
}

/// Sets the host, the request id and the forwarded headers of a request.
///
/// # Errors
/// A value is not a valid header value.
pub fn set_request(
    headers: &mut HeaderMap,
    route: &Route,
    incoming: &RequestInfo,
    server: Option<&Upstream>,
) -> Result<()> {
    let no_value = |what: &'static str| Error::explain(ErrorType::InternalError, what);
    // The host is sent in its configured spelling, not the client's, because apps use it in links.
    let host = match server {
        Some(server) if !route.config.preserve_host => HeaderValue::try_from(server.authority())
            .map_err(|_| no_value("the upstream's authority is no header value"))?,
        _ => route.authority.clone(),
    };
    headers.insert(HOST, host);
    headers.insert(REQUEST_ID, incoming.id_header());
    headers.insert(FORWARDED_PROTO, HTTPS);
    headers.insert(FORWARDED_HOST, route.authority.clone());
    if let Some(prefix) = &route.stripped_prefix {
        headers.insert(FORWARDED_PREFIX, prefix.clone());
    }
    if let Some(client) = incoming.client {
        let address = address(client).map_err(|_| no_value("an address is no header value"))?;
        headers.insert(FORWARDED_FOR, address);
    }
    Ok(())
}

/// Returns an address as a header value. IPv4 addresses are formatted by hand, because the
/// formatter is slow.
fn address(address: IpAddr) -> Result<HeaderValue, InvalidHeaderValue> {
    let IpAddr::V4(v4) = address.to_canonical() else {
        return HeaderValue::try_from(address.to_canonical().to_string());
    };
    let (mut text, mut length) = ([0; 15], 0);
    let mut put = |byte| {
        text[length] = byte;
        length += 1;
    };
    for (at, octet) in v4.octets().into_iter().enumerate() {
        if at > 0 {
            put(b'.');
        }
        if octet >= 100 {
            put(b'0' + octet / 100);
        }
        if octet >= 10 {
            put(b'0' + octet / 10 % 10);
        }
        put(b'0' + octet % 10);
    }
    HeaderValue::from_bytes(&text[..length])
}

/// Sets the headers that identify the principal, in a request or in the response to a forward-auth
/// request.
///
/// # Errors
/// A claim or the access token is not a valid header value.
pub fn set_identity(
    headers: &mut HeaderMap,
    route: &Route,
    identity: Option<&(Principal, Assertion)>,
    catalogue: &Catalogue,
    now: Timestamp,
) -> Result<()> {
    let Some((principal, assertion)) = identity else {
        return set_route_headers(headers, route, None, catalogue);
    };
    headers.insert(OIDC_DATA, assertion.data.clone());
    headers.insert(OIDC_IDENTITY, assertion.identity.clone());
    // The token and its proof are intended for Narthex; the app gets the assertion instead.
    if matches!(principal, Principal::Bearer(_)) {
        headers.remove(request::DPOP);
    }
    if matches!(principal, Principal::Bearer(_))
        && let Some(authorization) = headers.remove(AUTHORIZATION)
        && route.config.access_token
    {
        let presented = request::token_from_header(&authorization, true).ok().flatten();
        let token = presented.and_then(|of| HeaderValue::from_str(&of.token).ok());
        headers.extend(token.map(|mut token| {
            token.set_sensitive(true);
            (OIDC_ACCESS_TOKEN, token)
        }));
    }
    set_route_headers(headers, route, Some(principal), catalogue)?;
    if let (true, Some(who)) = (route.config.access_token, principal.signed_in()) {
        set_access_token(headers, who, now)?;
    }
    Ok(())
}

/// Sets the headers that the route configures: fixed ones always, those with claims only if all
/// claims are present. Guests have no claims, because apps treat the user in such a header as
/// signed in.
fn set_route_headers(
    headers: &mut HeaderMap,
    route: &Route,
    principal: Option<&Principal>,
    catalogue: &Catalogue,
) -> Result<()> {
    let person = OnceCell::new();
    for header in &route.config.headers {
        let person =
            || person.get_or_init(|| principal.and_then(|who| who.person(&catalogue.config))).as_ref();
        let value = match &header.value {
            HeaderText::Fixed(value) => Some(value.clone()),
            HeaderText::Claims(pieces) => {
                let text = render(pieces, person, route);
                // An invalid value must fail the request: without the header, the upstream would
                // treat the user as anonymous.
                let value = text.map(|text| HeaderValue::from_bytes(text.as_bytes())).transpose();
                value.map_err(|_| Error::explain(ErrorType::InternalError, "a claim is no header value"))?
            }
        };
        match value {
            Some(value) => drop(headers.insert(&header.name, value)),
            None => drop(headers.remove(&header.name)),
        }
    }
    Ok(())
}

/// Sets the provider's access token, if it is still valid.
fn set_access_token(headers: &mut HeaderMap, who: &SessionPrincipal, now: Timestamp) -> Result<()> {
    let Some(token) = who.access_token(now) else { return Ok(()) };
    let mut value = HeaderValue::from_str(token.expose())
        .map_err(|_| Error::explain(ErrorType::InternalError, "an access token is no header value"))?;
    value.set_sensitive(true);
    headers.insert(OIDC_ACCESS_TOKEN, value);
    Ok(())
}

/// Claims that do not identify a user, so the white space around them is insignificant.
const DISPLAY_CLAIMS: [&str; 5] = ["name", "given_name", "family_name", "middle_name", "nickname"];

/// Returns a group's name as an item of a comma-separated list. Commas, `%`, and white space at an
/// end are percent-encoded. Otherwise a name with a comma, such as an LDAP distinguished name,
/// would be read as two groups.
fn list_item(group: &str) -> Cow<'_, str> {
    let is_odd = |(at, character): (usize, char)| {
        let at_an_end = at == 0 || at + character.len_utf8() == group.len();
        matches!(character, ',' | '%') || (at_an_end && character.is_whitespace())
    };
    if !group.char_indices().any(is_odd) {
        return Cow::Borrowed(group);
    }
    let mut text = String::with_capacity(group.len() + 8);
    for (at, character) in group.char_indices() {
        match is_odd((at, character)) {
            true => {
                let mut bytes = [0; 4];
                let bytes = character.encode_utf8(&mut bytes).bytes();
                bytes.for_each(|byte| text.push_str(&format!("%{byte:02X}")));
            }
            false => text.push(character),
        }
    }
    Cow::Owned(text)
}

/// Returns a header's value with its claims filled in. Returns `None` if a claim is absent, has
/// several values, or begins or ends with white space.
fn render<'p>(
    pieces: &[Piece],
    person: impl Fn() -> Option<&'p Person<'p>>,
    route: &Route,
) -> Option<String> {
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Claim(claim) => match claim.as_str() {
                "groups" | "cognito:groups" => {
                    let groups = person()?.claim(claim).ok()?;
                    let groups = groups.into_iter().filter(|group| route.config.passes_group(group));
                    text.push_str(&groups.map(list_item).collect::<Vec<_>>().join(","));
                }
                // A plain header cannot show whether an address is verified, so only verified ones
                // are sent.
                name => match person()?.claim(name).ok()?.as_slice() {
                    [value] if DISPLAY_CLAIMS.contains(&name) => text.push_str(value.trim()),
                    // Servers trim header values, so a value with outer white space could identify
                    // another user.
                    [value] if value.trim().len() == value.len() => text.push_str(value),
                    _ => return None,
                },
            },
        }
    }
    Some(text)
}

/// Removes the fields that concern the upstream's connection only (RFC 9110, section 7.6.1), except
/// in a response that switches protocols. Also removes the framing of a body that the status does
/// not allow (RFC 9110, section 8.6; RFC 9112, section 6.1).
fn strip_connection_fields(status: StatusCode, headers: &mut HeaderMap) {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    if headers.contains_key(CONNECTION) {
        for name in nominated_fields(headers) {
            headers.remove(name);
        }
    }
    headers.remove("keep-alive");
    headers.remove("proxy-connection");
    if status.is_informational() {
        headers.remove(CONNECTION);
    }
    // RFC 9110, section 15.5.22: a 426 response names the required protocol in `Upgrade`.
    if status != StatusCode::UPGRADE_REQUIRED {
        headers.remove(UPGRADE);
    }
    if status == StatusCode::NO_CONTENT || status.is_informational() {
        headers.remove(CONTENT_LENGTH);
    }
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) || status.is_informational() {
        headers.remove(TRANSFER_ENCODING);
    }
}

/// Returns the fields that `Connection` names, except itself, `Upgrade` and the framing of the
/// message.
fn nominated_fields(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(CONNECTION).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let names = names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
    let is_framing =
        |name: &HeaderName| [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE].contains(name);
    names.filter(|name| !is_framing(name)).collect()
}

/// Rewrites the head of an upstream's response. Removes cookies with names that only Narthex sets.
/// Adds the request's id, the cookie of a new guest, the route's headers (`own`) and the CORS
/// headers (`cors`).
///
/// # Errors
/// The guest's cookie or the reason phrase is invalid.
pub fn rewrite_response(
    response: &mut ResponseHeader,
    incoming: &RequestInfo,
    guest_cookie: Option<&str>,
    own: impl FnOnce(&mut HeaderMap),
    cors: impl FnOnce(&mut HeaderMap),
) -> Result<()> {
    let canonical = response.status.canonical_reason();
    let reason = response.get_reason_phrase().filter(|reason| Some(*reason) != canonical).map(str::to_owned);
    let nothing = http::Response::new(()).into_parts().0;
    let mut parts = http::response::Parts::from(std::mem::replace(response, nothing.into()));
    strip_connection_fields(parts.status, &mut parts.headers);
    let headers = &mut parts.headers;
    let ours = |value: &HeaderValue| sets_own_cookie(value.as_bytes());
    if headers.get_all(SET_COOKIE).iter().any(ours) {
        let kept: Vec<HeaderValue> =
            headers.get_all(SET_COOKIE).iter().filter(|value| !ours(value)).cloned().collect();
        headers.remove(SET_COOKIE);
        headers.extend(kept.into_iter().map(|value| (SET_COOKIE, value)));
    }
    own(headers);
    if let Some(cookie) = guest_cookie {
        let cookie = HeaderValue::from_str(cookie)
            .map_err(|_| Error::explain(ErrorType::InternalError, "a cookie is no header value"))?;
        headers.append(SET_COOKIE, cookie);
        // RFC 9111, section 7.3: caches store responses with cookies, too, unless a directive
        // forbids it. Another client would then get the same guest's cookie.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
        // RFC 9213: targeted fields take precedence over `Cache-Control`. `Expires` would
        // contradict it.
        for name in ["cdn-cache-control", "surrogate-control", "expires"] {
            headers.remove(name);
        }
    }
    cors(headers);
    headers.insert(REQUEST_ID, incoming.id_header());
    *response = parts.into();
    match reason {
        Some(reason) => response.set_reason_phrase(Some(&reason)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_informational_response_has_neither_framing_nor_fields_of_its_connection() {
        let fields = [
            ("connection", "x-inner"),
            ("x-inner", "a"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("link", "</a>"),
        ];
        for (status, left) in
            [(103, vec!["link"]), (100, vec!["link"]), (101, fields.map(|(name, _)| name).to_vec())]
        {
            let mut headers: HeaderMap = fields
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
                .collect();
            strip_connection_fields(StatusCode::from_u16(status).unwrap(), &mut headers);
            let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
            let mut left = left;
            names.sort_unstable();
            left.sort_unstable();
            assert_eq!(names, left, "{status}");
        }
    }

    #[test]
    fn no_group_in_a_list_passes_for_another_or_is_lost() {
        for (group, item) in [
            ("staff", "staff"),
            ("Photo Editors", "Photo Editors"),
            ("CN=Admins,OU=Groups,DC=example,DC=com", "CN=Admins%2COU=Groups%2CDC=example%2CDC=com"),
            ("a,admins", "a%2Cadmins"),
            ("a%2Cadmins", "a%252Cadmins"),
            (" admins", "%20admins"),
            ("admins ", "admins%20"),
            ("\u{a0}admins", "%C2%A0admins"),
            ("b\u{fc}ro,x", "b\u{fc}ro%2Cx"),
        ] {
            assert_eq!(list_item(group), item);
        }
    }

    #[test]
    fn a_name_is_reserved_in_every_spelling_that_a_server_may_take_for_it() {
        let header = HeaderTemplate {
            name: HeaderName::from_static("x-remote_user"),
            value: HeaderText::Claims(vec![]),
        };
        let reserved = ReservedHeaders::new(std::iter::once(&header));
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
            "client_ip",
            "x.envoy_original!path",
            "$wsra",
            "sm_user",
        ] {
            assert!(reserved.contains(name), "{name}");
        }
        for name in ["x-remote", "x-requested-with", "cookie", "x-forwardedness", "accept"] {
            assert!(!reserved.contains(name), "{name}");
        }
    }

    #[test]
    fn fields_of_the_upstreams_connection_end_with_it() {
        let all = [
            ("connection", "close, X-Mine"),
            ("connection", "content-length"),
            ("x-mine", "a"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("upgrade", "h2c"),
            ("content-length", "0"),
            ("transfer-encoding", "chunked"),
            ("x-other", "b"),
        ];
        let left = |status: u16| {
            let mut headers = HeaderMap::new();
            for (name, value) in all {
                headers.append(name, HeaderValue::from_static(value));
            }
            strip_connection_fields(StatusCode::from_u16(status).unwrap(), &mut headers);
            let names = headers.keys().filter(|name| *name != CONNECTION);
            names.map(|name| name.as_str().to_owned()).collect::<std::collections::BTreeSet<_>>()
        };
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(left(200), set(&["content-length", "transfer-encoding", "x-other"]));
        assert_eq!(left(426), set(&["content-length", "transfer-encoding", "upgrade", "x-other"]));
        assert_eq!(left(304), set(&["content-length", "x-other"]));
        assert_eq!(left(204), set(&["x-other"]));
        assert_eq!(left(101).len(), 7);
    }
}
