//! Lookup of leaked passwords by k-anonymity: the service sees five hexadecimal digits of the SHA-1
//! digest and answers with all suffixes that it knows. Only the pure parts: `breach_lookup` sends
//! the request.
//!
//! A service that cannot be reached accepts the password. Sign-up and recovery must not depend on
//! another organization's service, and the other rules of the policy still apply. The metric
//! `narthex_password_breach_checks_total` counts these cases.

use super::metrics;
use crate::base::Secret;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// Hexadecimal digits of the digest that the service sees.
const PREFIX_DIGITS: usize = 5;
/// Hexadecimal digits of the digest in each line of the response.
const SUFFIX_DIGITS: usize = 35;
/// Longest response, in bytes. With padding the service sends about 40 kB.
pub(super) const MAX_RANGE_BYTES: usize = 256 * 1024;

/// A digest of a password, divided for the service.
pub(super) struct RangeQuery {
    digits: Zeroizing<String>,
}

/// A malformed or too long response of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RangeError;

/// The decision on a password after the lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// The service does not know the password, or could not be asked.
    Accepted,
    /// The password is in a published breach.
    Breached,
}

impl std::fmt::Display for RangeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the breached-password service sent a malformed response")
    }
}

impl std::error::Error for RangeError {}

impl RangeQuery {
    /// Computes the digest of `password`, its UTF-8 bytes.
    pub fn new(password: &Secret) -> Self {
        // SHA-1 is the service's index, not a protection of the password.
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, password.expose().as_bytes());
        let mut digits = Zeroizing::new(String::with_capacity(PREFIX_DIGITS + SUFFIX_DIGITS));
        for byte in hash.as_ref() {
            let _ = write!(digits, "{byte:02X}");
        }
        Self { digits }
    }

    /// Returns the last segment of the request's path, five hexadecimal digits. The caller appends
    /// it to the configured address and sends `Add-Padding: true`.
    pub fn segment(&self) -> &str {
        &self.digits[..PREFIX_DIGITS]
    }

    /// Returns how often the password occurs in breaches, read from a response body of lines
    /// `SUFFIX:COUNT`. Lines with the count 0 are padding.
    ///
    /// # Errors
    ///
    /// [`RangeError`] if the body exceeds [`MAX_RANGE_BYTES`] or a line is malformed.
    pub fn count(&self, body: &[u8]) -> Result<u64, RangeError> {
        if body.len() > MAX_RANGE_BYTES {
            return Err(RangeError);
        }
        let text = std::str::from_utf8(body).map_err(|_| RangeError)?;
        let own = self.digits[PREFIX_DIGITS..].as_bytes();
        let mut found = 0;
        for line in text.lines().filter(|line| !line.is_empty()) {
            let (suffix, count) = line.split_once(':').ok_or(RangeError)?;
            let is_suffix = suffix.len() == SUFFIX_DIGITS && suffix.bytes().all(|b| b.is_ascii_hexdigit());
            let count: u64 = count.trim().parse().map_err(|_| RangeError)?;
            if !is_suffix {
                return Err(RangeError);
            }
            if verify_slices_are_equal(suffix.to_ascii_uppercase().as_bytes(), own).is_ok() {
                found = count;
            }
        }
        Ok(found)
    }
}

/// Decides on a password and counts the decision. `lookup` is the result of [`RangeQuery::count`],
/// or `None` if the service could not be asked.
pub(super) fn accept_after_lookup(lookup: Option<Result<u64, RangeError>>) -> Acceptance {
    let (result, acceptance) = match lookup {
        Some(Ok(0)) => ("clean", Acceptance::Accepted),
        Some(Ok(_)) => ("breached", Acceptance::Breached),
        Some(Err(RangeError)) | None => ("unavailable", Acceptance::Accepted),
    };
    metrics::count_breach_check(result);
    acceptance
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-1("password"), from `printf password | sha1sum`.
    const SEGMENT: &str = "5BAA6";
    const SUFFIX: &str = "1E4C9B93F3F0682250B6CF8331B7EE68FD8";

    fn query() -> RangeQuery {
        RangeQuery::new(&Secret::new("password"))
    }

    #[test]
    fn the_service_sees_five_digits() {
        assert_eq!(query().segment(), SEGMENT);
        assert_eq!(&query().digits[5..], SUFFIX);
    }

    #[test]
    fn a_response_is_read_with_padding_and_both_line_ends() {
        let other = "0018A45C4D1DEF81644B54AB7F969B88D65:3";
        let table = [
            (format!("{other}\r\n{SUFFIX}:52256179\r\n"), 52_256_179),
            (format!("{SUFFIX}:7"), 7),
            (format!("{}:7\n{other}", SUFFIX.to_lowercase()), 7),
            (format!("{SUFFIX}:0\n"), 0),
            (format!("{other}\n"), 0),
            (String::new(), 0),
        ];
        for (body, count) in table {
            assert_eq!(query().count(body.as_bytes()), Ok(count), "{body:?}");
        }
    }

    #[test]
    fn malformed_and_oversized_responses_are_errors() {
        let long = format!("{SUFFIX}:1\n").repeat(MAX_RANGE_BYTES / 30);
        let bodies = ["<html>", &SUFFIX[1..], &format!("{SUFFIX}:x"), &format!("{}:1", &SUFFIX[1..]), &long];
        for body in bodies {
            assert_eq!(query().count(body.as_bytes()), Err(RangeError), "{}", &body[..body.len().min(50)]);
        }
        assert_eq!(query().count(&[0xff]), Err(RangeError));
    }

    #[test]
    fn only_a_breached_password_is_refused_and_an_outage_is_counted() {
        let before = metrics::breach_checks("unavailable");
        assert_eq!(accept_after_lookup(None), Acceptance::Accepted);
        assert_eq!(accept_after_lookup(Some(Err(RangeError))), Acceptance::Accepted);
        assert_eq!(metrics::breach_checks("unavailable") - before, 2);
        assert_eq!(accept_after_lookup(Some(Ok(0))), Acceptance::Accepted);
        assert_eq!(accept_after_lookup(Some(Ok(1))), Acceptance::Breached);
    }
}
