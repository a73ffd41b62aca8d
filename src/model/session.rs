//! A session, and its cookies.

use crate::base::{Duration, Timestamp};

/// One sign-in of one browser. The pool's own cookie and the cookies of every app host that this
/// browser visited belong to the same session, so that ending it ends them all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Session {
    /// When it ends however busy it is. First, since each request asks for it.
    pub expires_at: Timestamp,
    /// The `sid` (OpenID Connect Front-Channel Logout 1.0, section 3): a UUID.
    pub id: String,
    /// The pool that it belongs to.
    pub pool_id: String,
    /// Whose it is.
    pub user_id: String,
    /// The provider that the user came through.
    pub provider: String,
    /// The `sid` of the person's session there; empty if it sent none.
    pub provider_sid: String,
    /// The browser's `User-Agent` at the last sign-in.
    pub user_agent: String,
    /// The browser's address at the last sign-in.
    pub address: String,
    /// How the user was authenticated (RFC 8176).
    pub amr: Vec<String>,
    /// When the user was authenticated.
    pub auth_time: Option<Timestamp>,
    /// When it began here.
    pub created_at: Timestamp,
    /// The last request that was noted; noted at most once a minute.
    pub last_seen_at: Timestamp,
}

impl Session {
    /// Whether the session still stands at `now`, having last been used at `last_seen`.
    pub fn is_active(&self, last_seen: Timestamp, idle: Duration, now: Timestamp) -> bool {
        now < self.expires_at && now < last_seen.plus(idle)
    }
}

/// Where a session cookie is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieScope<Name = String> {
    /// At the pool's own pages.
    Pool,
    /// At one app host.
    App(Name),
}

impl<Name: AsRef<str>> CookieScope<Name> {
    /// The text that the store keeps, and that the cookie's MAC covers.
    pub fn text(&self) -> &str {
        match self {
            Self::Pool => "",
            Self::App(host) => host.as_ref(),
        }
    }

    /// The same, with the name where it is.
    pub fn borrowed(&self) -> CookieScope<&str> {
        match self {
            Self::Pool => CookieScope::Pool,
            Self::App(host) => CookieScope::App(host.as_ref()),
        }
    }

    /// The same, with a name of its own.
    pub fn owned(&self) -> CookieScope {
        self.map(str::to_owned)
    }

    /// The same, with the name that `name` makes of it.
    pub fn map<Other>(&self, name: impl FnOnce(&str) -> Other) -> CookieScope<Other> {
        match self {
            Self::Pool => CookieScope::Pool,
            Self::App(host) => CookieScope::App(name(host.as_ref())),
        }
    }
}

/// A cookie of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookie {
    /// SHA-256 of the cookie's random id.
    pub hash: [u8; 32],
    /// The session of the cookie.
    pub session_id: String,
    /// Where it is valid.
    pub scope: CookieScope,
    /// When it was set.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_by_idleness_or_by_age_whichever_is_first() {
        let at = Timestamp::from_seconds;
        let session = Session {
            id: "s".into(),
            pool_id: "p".into(),
            user_id: "u".into(),
            provider: "op".into(),
            provider_sid: String::new(),
            user_agent: String::new(),
            address: String::new(),
            amr: vec![],
            auth_time: None,
            created_at: at(0),
            last_seen_at: at(0),
            expires_at: at(100),
        };
        let idle = Duration::from_secs(10);
        assert!(session.is_active(at(0), idle, at(9)));
        assert!(!session.is_active(at(0), idle, at(10)));
        assert!(session.is_active(at(95), idle, at(99)));
        assert!(!session.is_active(at(95), idle, at(100)));
    }
}
