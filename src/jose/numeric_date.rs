//! NumericDate (RFC 7519, section 2): the only parser of times in tokens.

use crate::base::{Duration, Timestamp};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Upper bound, in seconds: the year 5138. Larger numbers are milliseconds by mistake, and are
/// rejected.
const MAX_SECONDS: f64 = 1e11;

/// A time in a token: "A JSON numeric value representing the number of seconds from
/// 1970-01-01T00:00:00Z UTC", with a fraction, an exponent, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumericDate(pub Timestamp);

impl NumericDate {
    /// Parses `value`: a number, or a string of digits, which some issuers send. Returns `None` for
    /// a value that is not a time.
    pub fn read(value: &Value) -> Option<Timestamp> {
        let seconds = match value {
            Value::String(text) if is_decimal(text) => text.parse().ok(),
            value => value.as_f64(),
        };
        let seconds = seconds.filter(|seconds| (0.0..MAX_SECONDS).contains(seconds))?;
        #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
        Some(Timestamp::from_millis((seconds * 1000.0) as i64))
    }

    /// Parses the claim `name`. Returns `None` if it is missing or not a time.
    pub fn of(claims: &Map<String, Value>, name: &str) -> Option<Timestamp> {
        claims.get(name).and_then(Self::read)
    }
}

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::read(&value).map(Self).ok_or_else(|| serde::de::Error::custom("a time is no NumericDate"))
    }
}

/// Returns whether `text` is digits with at most one decimal point.
fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    [whole, fraction].iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

/// Returns the time of authentication (OpenID Connect Core 1.0, section 2: `auth_time`), if the
/// token states it. A time more than `skew` in the future is ignored, because its age would stay
/// below any limit.
pub fn authenticated_at(claims: &Map<String, Value>, now: Timestamp, skew: Duration) -> Option<Timestamp> {
    let at = NumericDate::of(claims, "auth_time").filter(|at| at.millis() > 0 && *at <= now.plus(skew))?;
    Some(at.min(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_read_alike_in_each_of_their_forms() {
        let read =
            |text: &str| NumericDate::read(&serde_json::from_str(text).unwrap()).map(Timestamp::millis);
        for (text, millis) in [
            ("1700000000", 1_700_000_000_000),
            ("1700000000.0", 1_700_000_000_000),
            ("1700000000.5", 1_700_000_000_500),
            ("1.7e9", 1_700_000_000_000),
            ("17E8", 1_700_000_000_000),
            ("0", 0),
            ("\"1700000000\"", 1_700_000_000_000),
            ("\"1700000000.5\"", 1_700_000_000_500),
        ] {
            assert_eq!(read(text), Some(millis), "{text}");
        }
        for bad in [
            "\"1.7e9\"",
            "\"-1\"",
            "\"\"",
            "\"inf\"",
            "\" 1\"",
            "\".5\"",
            "\"1700000000000\"",
            "true",
            "null",
            "[1700000000]",
            "{}",
            "-1",
            "1700000000000",
            "1e300",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_authentication_at_an_unknown_time_is_at_no_time() {
        let now = Timestamp::from_seconds(1_700_000_000);
        let at = |auth_time: Value| {
            let claims = json!({ "auth_time": auth_time });
            authenticated_at(claims.as_object().unwrap(), now, Duration::from_secs(60))
                .map(Timestamp::seconds)
        };
        assert_eq!(at(json!(1_699_827_200.5)), Some(1_699_827_200));
        assert_eq!(at(json!(1_700_000_060)), Some(1_700_000_000));
        for unknown in [json!(1_700_000_061), json!(0), json!("soon"), Value::Null, json!(1.7e12)] {
            assert_eq!(at(unknown.clone()), None, "{unknown}");
        }
        assert_eq!(authenticated_at(&Map::new(), now, Duration::ZERO), None);
    }
}
