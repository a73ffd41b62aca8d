//! Addresses of others whose word counts here.

use super::reader::Wrong;
use url::Url;

/// Whether nobody can stand between: https, or plain http on this machine alone.
pub fn is_safe(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

/// Where somebody is asked, or a browser is sent; `mend` says how it is written.
pub(super) fn safe_url(text: &str, mend: &str) -> Result<Url, Wrong> {
    let wrong = |why: String| (format!("\"{text}\" {why}"), mend.to_owned());
    let url = Url::parse(text).map_err(|error| wrong(format!("is not a URL ({error})")))?;
    if is_safe(&url) { Ok(url) } else { Err(wrong("is not https".to_owned())) }
}

/// What names somebody, and is compared to the letter; `mend` says how it is written.
pub(super) fn identifier(text: &str, mend: &str) -> Result<String, Wrong> {
    let url = safe_url(text, mend)?;
    // OpenID Connect Discovery 1.0, section 3, and RFC 8414, section 2: "a URL that uses the "https" scheme and has no
    // query or fragment components".
    match (url.query(), url.fragment()) {
        (None, None) => Ok(text.to_owned()),
        _ => Err((format!("\"{text}\" has a query or a fragment"), mend.to_owned())),
    }
}

/// Where metadata is fetched: what it says is what logins are judged by.
pub(super) fn metadata_url(text: &str) -> Result<Url, Wrong> {
    safe_url(text, "write an https address, or the name of a file")
}
