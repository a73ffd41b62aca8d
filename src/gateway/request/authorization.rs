//! The `Authorization` header: a bearer token, or Basic credentials with the token as their
//! password.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use pingora_proxy::Session;
use std::borrow::Cow;

/// Returns the bearer token of a request (RFC 6750, section 2.1). If `by_password` is set, also
/// accepts the token as the password of Basic credentials (RFC 7617) and ignores the user name.
///
/// # Errors
/// The reason: `Authorization` is repeated or malformed, or a browser sent a password for a page of
/// another origin.
pub fn bearer(session: &Session, by_password: bool) -> Result<Option<Cow<'_, str>>, &'static str> {
    const UNREADABLE: &str = "Authorization is not to be read, or comes twice";
    let mut all = session.req_header().headers.get_all(AUTHORIZATION).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match token_from_header(value, by_password) {
            // Only the password of Basic credentials is owned.
            Ok(Some(Cow::Owned(_))) if is_from_other_site(session) => {
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
pub fn token_from_header(value: &HeaderValue, by_password: bool) -> Result<Option<Cow<'_, str>>, ()> {
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
    if !(is_bearer || is_password) {
        return Ok(None);
    }
    if credentials.len() == rest.len() && !rest.is_empty() {
        return Err(());
    }
    if is_bearer {
        return Ok(Some(Cow::Borrowed(credentials)));
    }
    // RFC 7617, section 2: "the first colon separates the user-id from the password".
    let credentials = STANDARD.decode(credentials).map_err(|_| ())?;
    let credentials = String::from_utf8(credentials).map_err(|_| ())?;
    let (_, password) = credentials.split_once(':').ok_or(())?;
    Ok(Some(Cow::Owned(password.to_owned())))
}

/// Returns the challenge for a request without a token, or with a token that was rejected with the
/// parameters `error` (RFC 6750, section 3). Clients of git, WebDAV and Docker send a password only
/// after a Basic challenge. Scripts in browsers never get one, because browsers would prompt the
/// user for a password.
pub fn challenge(session: &Session, by_password: bool, error: &str) -> String {
    let headers = &session.req_header().headers;
    let scheme = headers.get(AUTHORIZATION).map_or(&b""[..], HeaderValue::as_bytes);
    let has_bearer = scheme.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"));
    let is_script = headers.contains_key("sec-fetch-mode") || headers.contains_key("x-requested-with");
    match by_password && !has_bearer && !is_script {
        true => "Basic realm=\"narthex\", charset=\"UTF-8\"".to_owned(),
        false => format!("Bearer realm=\"narthex\"{error}"),
    }
}
