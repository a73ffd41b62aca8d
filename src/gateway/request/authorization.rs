//! The `Authorization` header: a bearer token, Basic credentials with the token as their password,
//! or a token with the scheme DPoP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use pingora_proxy::Session;
use std::borrow::Cow;

/// The header of proofs (RFC 9449, section 4.1).
pub const DPOP: HeaderName = HeaderName::from_static("dpop");

/// The token of an `Authorization` header.
pub struct PresentedToken<'a> {
    /// The token.
    pub token: Cow<'a, str>,
    /// Whether the scheme is DPoP, which requires a proof.
    pub needs_proof: bool,
}

/// Returns the access token of a request (RFC 6750, section 2.1; RFC 9449, section 7.1). If
/// `by_password` is set, also accepts the token as the password of Basic credentials (RFC 7617) and
/// ignores the user name.
///
/// # Errors
/// The reason: `Authorization` is repeated or malformed, or a browser sent a password for a page of
/// another origin.
pub fn bearer(session: &Session, by_password: bool) -> Result<Option<PresentedToken<'_>>, &'static str> {
    const UNREADABLE: &str = "Authorization is not to be read, or comes twice";
    let mut all = session.req_header().headers.get_all(AUTHORIZATION).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match token_from_header(value, by_password) {
            // Only the password of Basic credentials is owned.
            Ok(Some(PresentedToken { token: Cow::Owned(_), .. })) if is_from_other_site(session) => {
                Err("a browser sent Basic credentials for a page of another origin")
            }
            token => token.map_err(|()| UNREADABLE),
        },
        // Another server could use the other one.
        (Some(_), Some(_)) => Err(UNREADABLE),
    }
}

/// Returns whether a browser sends the request for a page of another origin (Fetch Metadata,
/// section 2.4). Browsers add a stored Basic password to such requests automatically, possibly
/// against the user's intention.
fn is_from_other_site(session: &Session) -> bool {
    let mut sites = session.req_header().headers.get_all("sec-fetch-site").iter();
    sites.any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// Returns the token of an `Authorization` header; `None` for another scheme.
///
/// # Errors
/// The value is not ASCII, or its credentials are malformed.
pub fn token_from_header(value: &HeaderValue, by_password: bool) -> Result<Option<PresentedToken<'_>>, ()> {
    // `to_str` is slower, because it checks byte after byte. Some servers read certain non-ASCII
    // characters as a space, so a value with any such character is refused.
    let text = std::str::from_utf8(value.as_bytes()).ok().filter(|text| text.is_ascii()).ok_or(())?;
    // RFC 9110, section 11.1: a scheme is a token. It ends here at any other byte, because some
    // servers accept other separators than a space.
    let end = text.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    let (scheme, rest) = text.split_at(end.unwrap_or(text.len()));
    let credentials = rest.trim_start_matches([' ', '\t']);
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    let is_password = by_password && scheme.eq_ignore_ascii_case("basic");
    let needs_proof = scheme.eq_ignore_ascii_case("dpop");
    if !(is_bearer || is_password || needs_proof) {
        return Ok(None);
    }
    if credentials.len() == rest.len() && !rest.is_empty() {
        return Err(());
    }
    if is_bearer || needs_proof {
        return Ok(Some(PresentedToken { token: Cow::Borrowed(credentials), needs_proof }));
    }
    // RFC 7617, section 2: "the first colon separates the user-id from the password".
    let credentials = STANDARD.decode(credentials).map_err(|_| ())?;
    let credentials = String::from_utf8(credentials).map_err(|_| ())?;
    let (_, password) = credentials.split_once(':').ok_or(())?;
    Ok(Some(PresentedToken { token: Cow::Owned(password.to_owned()), needs_proof }))
}

/// Returns the DPoP proof of a request. RFC 9449, section 4.3: "There is not more than one DPoP
/// HTTP request header field."
pub fn proof(session: &Session) -> Option<&str> {
    let mut all = session.req_header().headers.get_all(DPOP).iter();
    match (all.next(), all.next()) {
        (Some(proof), None) => std::str::from_utf8(proof.as_bytes()).ok(),
        _ => None,
    }
}

/// Returns the challenge for a request without a token, or with a token that was rejected with the
/// parameters `error` (RFC 6750, section 3). Clients of git, WebDAV and Docker send a password only
/// after a Basic challenge. Scripts in browsers never get one, because browsers would prompt the
/// user for a password.
pub fn challenge(session: &Session, by_password: bool, error: &str) -> String {
    let headers = &session.req_header().headers;
    let scheme = headers.get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    let is_scheme = |name: &[u8]| scheme.get(..name.len()).is_some_and(|of| of.eq_ignore_ascii_case(name));
    let has_bearer = is_scheme(b"bearer") || is_scheme(b"dpop");
    let is_script = headers.contains_key("sec-fetch-mode") || headers.contains_key("x-requested-with");
    match by_password && !has_bearer && !is_script {
        true => "Basic realm=\"narthex\", charset=\"UTF-8\"".to_owned(),
        false => format!("Bearer realm=\"narthex\"{error}"),
    }
}
