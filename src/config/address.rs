//! URLs of other servers.

use super::reader::Invalid;
use url::Url;

/// Returns whether connections to `url` are secure: https, or plain http on this machine.
pub fn is_safe(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

/// Reads the URL of a server or page. `help` shows the expected form.
pub(super) fn safe_url(text: &str, help: &str) -> Result<Url, Invalid> {
    let invalid = |why: String| (format!("\"{text}\" {why}"), help.to_owned());
    let url = Url::parse(text).map_err(|error| invalid(format!("is not a URL ({error})")))?;
    if is_safe(&url) { Ok(url) } else { Err(invalid("is not https".to_owned())) }
}

/// Reads an issuer identifier, which is compared byte for byte. `help` shows the expected form.
pub(super) fn identifier(text: &str, help: &str) -> Result<String, Invalid> {
    let url = safe_url(text, help)?;
    // OpenID Connect Discovery 1.0, section 3, and RFC 8414, section 2: "a URL that uses the
    // "https" scheme and has no query or fragment components".
    match (url.query(), url.fragment()) {
        (None, None) => Ok(text.to_owned()),
        _ => Err((format!("\"{text}\" has a query or a fragment"), help.to_owned())),
    }
}

/// Reads the URL of metadata.
pub(super) fn metadata_url(text: &str) -> Result<Url, Invalid> {
    safe_url(text, "write an https address, or the name of a file")
}
