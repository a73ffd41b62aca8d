//! The `Authorization` header: a bearer token, also as the password of Basic credentials.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use pingora_proxy::Session;
use std::borrow::Cow;

/// The bearer token of a request (RFC 6750, section 2.1); where `by_password`, also one that comes
/// as the password of Basic credentials (RFC 7617), whose user name says nothing.
///
/// # Errors
/// The reason, where Authorization comes twice or cannot be read, or has a password in a request of
/// another origin's page.
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
        // Another server could take the other one.
        (Some(_), Some(_)) => Err(UNREADABLE),
    }
}

/// Whether a browser sends the request for a page of another origin (Fetch Metadata, section 2.4).
/// It adds a Basic password that it remembers to such a request by itself, and the person may not
/// have meant it.
fn is_from_other_site(session: &Session) -> bool {
    let mut sites = session.req_header().headers.get_all("sec-fetch-site").iter();
    sites.any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// The token of an Authorization header.
pub fn token_from_header(value: &HeaderValue, by_password: bool) -> Result<Option<Cow<'_, str>>, ()> {
    // Not `to_str`, which looks at one letter after another: a token has many. What is a space for
    // some servers must not hide a token from us.
    let text = std::str::from_utf8(value.as_bytes()).ok().filter(|text| text.is_ascii()).ok_or(())?;
    // RFC 9110, section 11.1: a scheme is a token. What separates it for some servers must not hide
    // a token from us.
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

/// The challenge for a request whose token is missing, or is not believed where `error` says so
/// (RFC 6750, section 3). Clients of git, WebDAV and Docker send a password to a Basic challenge
/// alone; a browser's script must not be sent one, for which browsers ask the person.
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
