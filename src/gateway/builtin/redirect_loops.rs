//! Detection of sign-in loops: the browser returns from each sign-in, and is redirected to the
//! next. A loop ends on a page with the reason.

use crate::authn::{cookie_value, set_cookie_value};
use crate::base::{Duration, Timestamp};

/// The cookie with the number of sign-ins and the time of the last one.
const COOKIE: &str = "__Host-narthex-landings";
/// The maximum time between two consecutive sign-ins of a loop.
const WINDOW: Duration = Duration::from_secs(30);
/// The number of sign-ins that indicates a loop. Several tabs may sign in at the same time.
const MAX_SIGN_INS: u32 = 5;

/// The number of recent sign-ins of a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectLoopCounter(u32);

impl RedirectLoopCounter {
    /// Reads the counter from the request's cookies. A forged counter only shows or hides a page.
    pub fn from_cookies<'h>(cookies: impl IntoIterator<Item = &'h [u8]>, now: Timestamp) -> Self {
        let read = |text: &str| {
            let (count, at) = text.split_once('.')?;
            let (count, at): (u32, i64) = (count.parse().ok()?, at.parse().ok()?);
            let at = Timestamp::from_seconds(at);
            // A time in the far future was set by a clock that has been set back since.
            let is_recent = now.since(at) < WINDOW && at.since(now) < WINDOW;
            is_recent.then_some(count)
        };
        Self(cookie_value(cookies, COOKIE).and_then(read).unwrap_or_default())
    }

    /// Returns whether the next sign-in would continue a loop.
    pub fn is_loop(self) -> bool {
        self.0 >= MAX_SIGN_INS
    }

    /// Returns the `Set-Cookie` value of the incremented counter.
    pub fn increment(self, now: Timestamp) -> String {
        set_cookie_value(COOKIE, &format!("{}.{}", self.0.saturating_add(1), now.seconds()), Some(WINDOW))
    }

    /// Returns the `Set-Cookie` value that resets the counter.
    pub fn reset() -> String {
        set_cookie_value(COOKIE, "", Some(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn landings_count_while_they_follow_on_one_another() {
        let at = Timestamp::from_seconds;
        let landed = |text: &str, now| {
            let header = format!("{COOKIE}={text}");
            RedirectLoopCounter::from_cookies([header.as_bytes()], at(now))
        };
        assert_eq!(landed("3.100", 110), RedirectLoopCounter(3));
        assert_eq!(landed("3.100", 131), RedirectLoopCounter(0));
        assert_eq!(landed("3.100", 95), RedirectLoopCounter(3), "clocks of nodes differ");
        assert_eq!(landed("9.7300", 100), RedirectLoopCounter(0), "counted before the clock was set back");
        assert_eq!(landed("nonsense", 110), RedirectLoopCounter(0));
        assert!(landed("5.100", 110).is_loop() && !landed("4.100", 110).is_loop());
        assert!(RedirectLoopCounter(3).increment(at(100)).starts_with("__Host-narthex-landings=4.100; "));
    }
}
