//! URLs to which a browser is redirected after a sign-in or a sign-out.

use super::reader::Invalid;
use url::Url;

/// Maximum length of a URL, in characters.
const MAX_URL_LENGTH: usize = 1024;
/// Schemes that a browser executes or displays itself. No app can receive a redirect to them.
const REFUSED_SCHEMES: [&str; 18] = [
    "about",
    "blob",
    "chrome",
    "data",
    "feed",
    "file",
    "filesystem",
    "ftp",
    "jar",
    "javascript",
    "mailto",
    "search-ms",
    "sms",
    "tel",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];

/// Returns why a URL is not valid as a callback or logout URL, or `None` if it is valid. It must be
/// absolute and without a fragment (RFC 6749, section 3.1.2). Its scheme must be `https`, `http`
/// for `localhost`, or the scheme of an app (RFC 8252, section 7.1).
pub fn callback_url_fault(text: &str) -> Option<&'static str> {
    if !(1..=MAX_URL_LENGTH).contains(&text.chars().count()) {
        return Some("it has no characters or more than 1024");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
        return Some("it contains spaces, control characters or backslashes");
    }
    if text.contains('#') {
        return Some("it has a fragment");
    }
    let Ok(url) = Url::parse(text) else { return Some("it is not absolute") };
    if !url.username().is_empty() || url.password().is_some() {
        return Some("it contains a user name or a password");
    }
    match url.scheme() {
        // The parser also accepts `https:host` and `https:/host`.
        "https" | "http" if !has_authority(text) => Some("it is not absolute"),
        "https" => None,
        "http" if url.host_str() == Some("localhost") => None,
        "http" => Some("http is for localhost only"),
        scheme if REFUSED_SCHEMES.contains(&scheme) => Some("no app has its scheme"),
        _ => None,
    }
}

fn has_authority(text: &str) -> bool {
    text.split_once(':').is_some_and(|(_, rest)| rest.starts_with("//") && !rest.starts_with("///"))
}

/// Reads a callback or logout URL.
pub(super) fn callback_url(text: &str) -> Result<String, Invalid> {
    match callback_url_fault(text) {
        None => Ok(text.to_owned()),
        Some(why) => Err((
            format!("\"{text}\" is no address of an app: {why}"),
            "write it like \"https://app.example.com/callback\"".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_absolute_and_lead_to_apps() {
        for (url, fits) in [
            ("https://app.example/callback", true),
            ("https://app.example/callback?a=b", true),
            ("http://localhost/cb", true),
            ("http://localhost:3000/cb", true),
            ("myapp://callback", true),
            ("com.example.app:/callback", true),
            ("http://app.example/cb", false),
            ("http://localhost.evil.example/cb", false),
            ("http://localhost@evil.example/cb", false),
            ("https://user:password@app.example/cb", false),
            ("https://app.example/cb#x", false),
            ("https://app.example/cb#", false),
            ("https://app.example/a b", false),
            ("https://app.example\\@evil.example", false),
            ("https:app.example", false),
            ("https:///app.example", false),
            ("/callback", false),
            ("//app.example/cb", false),
            ("javascript:alert(1)", false),
            ("JavaScript://app.example/%0aalert(1)", false),
            ("data:text/html,x", false),
            ("file:///etc/passwd", false),
            ("", false),
        ] {
            assert_eq!(callback_url_fault(url).is_none(), fits, "{url:?}");
        }
        assert!(callback_url_fault(&format!("https://a.example/{}", "x".repeat(1024))).is_some());
    }
}
