//! Values of operands: numbers, times, networks and Booleans.

use crate::base::Timestamp;
use chrono::{DateTime, NaiveDate, SecondsFormat};
use ipnet::{IpNet, Ipv4Net};
use std::net::IpAddr;

/// Formats a time in ISO 8601, like `aws:CurrentTime`.
pub fn written(at: Timestamp) -> String {
    DateTime::from_timestamp_millis(at.millis())
        .map_or_else(String::new, |at| at.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// Minimum seconds since 1970, a time in 1973. A smaller number is a year or a mistake.
const MIN_EPOCH_SECONDS: f64 = 1e8;

/// Parses a time: a date or a date with a time in ISO 8601, or seconds since 1970.
pub fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Some(Timestamp::from_millis(at.timestamp_millis()));
    }
    if let Ok(day) = text.parse::<NaiveDate>() {
        let midnight = day.and_hms_opt(0, 0, 0)?.and_utc();
        return Some(Timestamp::from_millis(midnight.timestamp_millis()));
    }
    let seconds = number(text).filter(|seconds| (MIN_EPOCH_SECONDS..1e11).contains(seconds))?;
    #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
    Some(Timestamp::from_millis((seconds * 1000.0) as i64))
}

/// Parses a number, integer or decimal.
pub fn number(text: &str) -> Option<f64> {
    let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E');
    text.parse().ok().filter(|number: &f64| number.is_finite() && text.bytes().all(plain))
}

/// Parses an address or a network in CIDR notation. Converts IPv4-mapped addresses (RFC 4291,
/// section 2.5.5.2) to IPv4 networks, because client addresses are converted too.
pub fn network(text: &str) -> Option<IpNet> {
    let prefix = text.split_once('/').map(|(_, prefix)| prefix);
    if prefix
        .is_some_and(|prefix| prefix.len() > 1 && !prefix.starts_with(|c: char| ('1'..='9').contains(&c)))
    {
        return None;
    }
    let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    let mapped = match network {
        IpNet::V6(mapped) => mapped.addr().to_ipv4_mapped().zip(mapped.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    match mapped {
        Some((address, prefix)) => Ipv4Net::new(address, prefix).ok().map(IpNet::V4),
        None => Some(network),
    }
}

/// Parses a Boolean.
pub fn truth(text: &str) -> Option<bool> {
    match () {
        () if text.eq_ignore_ascii_case("true") => Some(true),
        () if text.eq_ignore_ascii_case("false") => Some(false),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_each_of_their_forms() {
        let at = |text: &str| moment(text).map(Timestamp::millis);
        assert_eq!(at("2020-04-01T00:00:00Z"), Some(1_585_699_200_000));
        assert_eq!(at("2020-04-01T02:00:00+02:00"), Some(1_585_699_200_000));
        assert_eq!(at("2020-04-01"), Some(1_585_699_200_000));
        assert_eq!(at("1585699200"), Some(1_585_699_200_000));
        for bad in [
            "",
            "yesterday",
            "2020-13-01",
            "2020-04-01T00:00",
            "NaN",
            "1e400",
            "2030",
            "99999999",
            "-1e9",
            "1e11",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
        assert_eq!(written(Timestamp::from_millis(1_585_699_200_123)), "2020-04-01T00:00:00Z");
    }

    #[test]
    fn numbers_networks_and_truth_values_are_read() {
        assert_eq!(number("-1.5"), Some(-1.5));
        assert!(["inf", "nan", "0x10", "1_000", ""].iter().all(|bad| number(bad).is_none()));
        assert!(
            network("10.0.0.0/8")
                .is_some_and(|net| net.contains(&"10.9.8.7".parse::<IpAddr>().unwrap_or([0; 4].into())))
        );
        assert!(network("2001:db8::1").is_some() && network("10.0.0.0/33").is_none());
        let mapped = network("::ffff:10.0.0.0/104").map(|net| net.to_string());
        assert_eq!(mapped.as_deref(), Some("10.0.0.0/8"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert!(["10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/", "*"].iter().all(|bad| network(bad).is_none()));
        assert_eq!((truth("TRUE"), truth("false"), truth("yes")), (Some(true), Some(false), None));
    }
}
