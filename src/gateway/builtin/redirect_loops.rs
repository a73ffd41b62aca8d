//! Sign-ins that lead nowhere: a browser that comes back from each with a session, and is sent to the
//! next. A loop ends on a page that says why.

use crate::access::{find, set};
use crate::base::{Duration, Timestamp};

/// Counts landings, in the browser.
const COOKIE: &str = "__Host-narthex-landings";
/// Within this time one after another.
const WITHIN: Duration = Duration::from_secs(30);
/// How many are no accident: tabs that were open side by side land side by side.
const MOST: u32 = 5;

/// How often a browser has landed just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landings(u32);

impl Landings {
    /// What the request's cookies tell of. Whoever forges it sees a page, or none.
    pub fn of<'h>(cookies: impl IntoIterator<Item = &'h [u8]>, now: Timestamp) -> Self {
        let read = |text: &str| {
            let (count, at) = text.split_once('.')?;
            let (count, at): (u32, i64) = (count.parse().ok()?, at.parse().ok()?);
            let at = Timestamp::from_seconds(at);
            // One that lies in the future was counted by a clock that has been set back since.
            let is_recent = now.since(at) < WITHIN && at.since(now) < WITHIN;
            is_recent.then_some(count)
        };
        Self(find(cookies, COOKIE).and_then(read).unwrap_or_default())
    }

    /// Whether the next sign-in would be one more of a loop.
    pub fn are_a_loop(self) -> bool {
        self.0 >= MOST
    }

    /// The `Set-Cookie` value with one more.
    pub fn and_one_more(self, now: Timestamp) -> String {
        set(COOKIE, &format!("{}.{}", self.0.saturating_add(1), now.seconds()), Some(WITHIN))
    }

    /// The `Set-Cookie` value that begins anew.
    pub fn begin_anew() -> String {
        set(COOKIE, "", Some(Duration::ZERO))
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
            Landings::of([header.as_bytes()], at(now))
        };
        assert_eq!(landed("3.100", 110), Landings(3));
        assert_eq!(landed("3.100", 131), Landings(0));
        assert_eq!(landed("3.100", 95), Landings(3), "clocks of nodes differ");
        assert_eq!(landed("9.7300", 100), Landings(0), "counted before the clock was set back");
        assert_eq!(landed("nonsense", 110), Landings(0));
        assert!(landed("5.100", 110).are_a_loop() && !landed("4.100", 110).are_a_loop());
        assert!(Landings(3).and_one_more(at(100)).starts_with("__Host-narthex-landings=4.100; "));
    }
}
