//! Lists of the URLs to which a browser is sent after a sign-in or a sign-out.

use super::check::{check_length, duplicate};
use crate::config::callback_url_fault;
use crate::directory::error::{DirectoryError, Outcome};

/// Maximum URLs of a list.
const MAX_URLS: usize = 100;

/// Checks a list of URLs, which a request names as `at`.
///
/// # Errors
/// Returns `InvalidParameterException`.
pub(super) fn check_urls(at: &str, urls: &[String]) -> Outcome<()> {
    check_length(at, urls.len(), 0..=MAX_URLS)?;
    if let Some(twice) = duplicate(urls) {
        return Err(DirectoryError::invalid(format!("`{twice}` is in {at} twice.")));
    }
    for url in urls {
        if let Some(why) = callback_url_fault(url) {
            return Err(DirectoryError::invalid(format!("`{url}` in {at} is not valid: {why}.")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_hundred_distinct_urls() {
        let many: Vec<String> = (0..101).map(|n| format!("https://a.example/{n}")).collect();
        assert!(check_urls("callbackURLs", &many[..100]).is_ok());
        assert!(check_urls("callbackURLs", &many).is_err());
        assert!(check_urls("callbackURLs", &[many[0].clone(), many[0].clone()]).is_err());
        assert!(check_urls("callbackURLs", &["http://a.example".to_owned()]).is_err());
    }
}
