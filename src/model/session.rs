//! Sessions and their cookies.

use crate::base::{Duration, Timestamp};

/// One sign-in of one browser. The pool's cookie and the cookies of all app hosts that the browser
/// visited belong to one session, so that its end invalidates all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Session {
    /// When the session expires regardless of its use. It is the first field, because each request
    /// reads it.
    pub expires_at: Timestamp,
    /// The session's id, which is its `sid` (OpenID Connect Front-Channel Logout 1.0, section 3): a
    /// UUID.
    pub id: String,
    /// The id of the session's pool.
    pub pool_id: String,
    /// The user's `sub`.
    pub user_id: String,
    /// The provider through which the user signed in.
    pub provider: String,
    /// The `sid` of the provider's session; empty if the provider sent none.
    pub provider_sid: String,
    /// The browser's `User-Agent` at the last sign-in.
    pub user_agent: String,
    /// The client address at the last sign-in.
    pub address: String,
    /// The authentication methods (RFC 8176).
    pub amr: Vec<String>,
    /// When the user was authenticated.
    pub auth_time: Option<Timestamp>,
    /// When the user last proved a second factor of the pool.
    pub factor_at: Option<Timestamp>,
    /// When the session was created.
    pub created_at: Timestamp,
    /// The last recorded request. It is recorded at most once a minute.
    pub last_seen_at: Timestamp,
}

impl Session {
    /// Returns whether the session is valid at `now`, if it was last used at `last_seen`.
    pub fn is_active(&self, last_seen: Timestamp, idle: Duration, now: Timestamp) -> bool {
        now < self.expires_at && now < last_seen.plus(idle)
    }
}

/// The hosts on which a session cookie is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieScope<Name = String> {
    /// The host of the pool's own pages.
    Pool,
    /// One app host.
    App(Name),
}

impl<Name: AsRef<str>> CookieScope<Name> {
    /// Returns the text that is stored, and that the cookie's MAC covers.
    pub fn text(&self) -> &str {
        match self {
            Self::Pool => "",
            Self::App(host) => host.as_ref(),
        }
    }

    /// Returns the scope with a borrowed host.
    pub fn borrowed(&self) -> CookieScope<&str> {
        match self {
            Self::Pool => CookieScope::Pool,
            Self::App(host) => CookieScope::App(host.as_ref()),
        }
    }

    /// Returns the scope with an owned host.
    pub fn owned(&self) -> CookieScope {
        self.map(str::to_owned)
    }

    /// Returns the scope with the host converted by `name`.
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
    /// The hosts on which the cookie is valid.
    pub scope: CookieScope,
    /// When the cookie was set.
    pub created_at: Timestamp,
}

/// A notice to an app client that a session has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutNotice {
    /// The key of the row.
    pub id: String,
    /// The app client.
    pub client_id: String,
    /// The id of the session: the `sid` of its ID tokens.
    pub session_id: String,
    /// The id of the user.
    pub user_id: String,
    /// The number of attempts to notify the client, with the present one.
    pub attempts: usize,
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
            factor_at: None,
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
