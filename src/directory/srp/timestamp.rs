//! The client's time of a claim, as in `Sat Nov 7 09:05:04 UTC 2026`.

use super::SrpError;
use crate::base::{Duration, Timestamp};
use chrono::NaiveDateTime;

/// The age of the oldest accepted `TIMESTAMP`. Cognito's users report refusals from five minutes of
/// clock difference on, so no client depends on more. The lifetime of `SECRET_BLOCK`, by the
/// server's clock, limits replays; this limits how long a client may prepare a claim.
pub const MAX_TIMESTAMP_AGE: Duration = Duration::from_secs(5 * 60);
/// How far ahead of the server's clock a `TIMESTAMP` may be, for clients whose clock is fast.
pub const MAX_TIMESTAMP_AHEAD: Duration = Duration::from_secs(5 * 60);

/// The day is not padded; the hour, minute and second are.
const FORM: &str = "%a %b %-d %H:%M:%S UTC %Y";
const MAX_LENGTH: usize = "Sat Nov 17 09:05:04 UTC 2026".len();

/// Checks that `text` has the exact form and is close to `now`.
///
/// # Errors
/// Returns [`SrpError::MalformedTimestamp`], [`SrpError::TimestampTooOld`] or
/// [`SrpError::TimestampInFuture`].
pub(super) fn check(text: &str, now: Timestamp) -> Result<(), SrpError> {
    let time = parse(text).ok_or(SrpError::MalformedTimestamp)?;
    if time < now.minus(MAX_TIMESTAMP_AGE) {
        return Err(SrpError::TimestampTooOld);
    }
    if time > now.plus(MAX_TIMESTAMP_AHEAD) {
        return Err(SrpError::TimestampInFuture);
    }
    Ok(())
}

fn parse(text: &str) -> Option<Timestamp> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let time = NaiveDateTime::parse_from_str(text, FORM).ok()?;
    // chrono accepts other spellings, such as padding and case; Cognito refuses `Sep 05`.
    if time.format(FORM).to_string() != text {
        return None;
    }
    Some(Timestamp::from_seconds(time.and_utc().timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_794_042_304);

    #[test]
    fn the_form_of_the_clients_is_read() {
        for (text, seconds) in [
            ("Sat Nov 7 09:05:04 UTC 2026", 1_794_042_304),
            ("Thu Jan 1 00:00:00 UTC 1970", 0),
            ("Tue Feb 29 23:59:59 UTC 2028", 1_835_481_599),
            ("Thu Dec 31 10:11:12 UTC 2026", 1_798_711_872),
        ] {
            assert_eq!(parse(text), Some(Timestamp::from_seconds(seconds)), "{text}");
        }
    }

    #[test]
    fn other_spellings_and_impossible_times_are_refused() {
        for text in [
            "",
            "Sat Nov 07 09:05:04 UTC 2026",
            "Sat Nov  7 09:05:04 UTC 2026",
            "Sun Nov 7 09:05:04 UTC 2026",
            "sat Nov 7 09:05:04 UTC 2026",
            "Sat nov 7 09:05:04 UTC 2026",
            "Saturday Nov 7 09:05:04 UTC 2026",
            "Sat November 7 09:05:04 UTC 2026",
            "Sat Nov 7 9:05:04 UTC 2026",
            "Sat Nov 7 09:5:04 UTC 2026",
            "Sat Nov 7 24:05:04 UTC 2026",
            "Sat Nov 7 09:60:04 UTC 2026",
            "Sat Nov 7 09:05:04 GMT 2026",
            "Sat Nov 7 09:05:04 2026",
            "Sat Nov 7 09:05:04 UTC +2026",
            "Sat Nov 7 09:05:04 UTC 26",
            "Sat Nov 7 09:05:04 UTC 2026 ",
            " Sat Nov 7 09:05:04 UTC 2026",
            "Tue Sep 31 09:05:04 UTC 2026",
            "Sat Feb 29 09:05:04 UTC 2026",
            "sam. nov. 7 09:05:04 UTC 2026",
            "2026-11-07T09:05:04Z",
            "Sat Nov 7 09:05:04 UTC 2026\u{0}",
            "Sat Nov ٧ 09:05:04 UTC 2026",
        ] {
            assert_eq!(check(text, NOW), Err(SrpError::MalformedTimestamp), "{text:?}");
        }
        let long = format!("Sat Nov 7 09:05:04 UTC {}", "2".repeat(100_000));
        assert_eq!(check(&long, NOW), Err(SrpError::MalformedTimestamp));
    }

    #[test]
    fn a_time_outside_the_bounds_is_refused() {
        let text = "Sat Nov 7 09:05:04 UTC 2026";
        let second = Duration::from_secs(1);
        assert_eq!(check(text, NOW.plus(MAX_TIMESTAMP_AGE)), Ok(()));
        assert_eq!(check(text, NOW.plus(MAX_TIMESTAMP_AGE).plus(second)), Err(SrpError::TimestampTooOld));
        assert_eq!(check(text, NOW.minus(MAX_TIMESTAMP_AHEAD)), Ok(()));
        let early = NOW.minus(MAX_TIMESTAMP_AHEAD).minus(second);
        assert_eq!(check(text, early), Err(SrpError::TimestampInFuture));
    }
}
