//! Creation of sessions.

use super::error::{DirectoryError, ErrorKind};
use super::service::DirectoryDeps;
use crate::base::{Entropy, RandomToken, Timestamp, uuid};
use crate::config::{LOCAL_PROVIDER, SessionLimits};
use crate::model::{CookieScope, Factor, Session, SessionCookie, User, UserStatus};
use crate::store::{Change, CheckedWork, Result, Tx};

/// The result of an authentication.
#[derive(Clone, Debug)]
pub struct Authentication {
    /// The provider's name.
    pub provider: String,
    /// The `sid` of the provider's session; empty if it sent none.
    pub provider_sid: String,
    /// The browser.
    pub browser: Browser,
    /// The authentication methods (RFC 8176).
    pub amr: Vec<String>,
    /// The time of authentication, if the provider sent it.
    pub auth_time: Option<Timestamp>,
    /// When the user proved a second factor of the pool.
    pub factor_at: Option<Timestamp>,
    /// The end of the provider's own session, which also ends this one.
    pub ends_at: Option<Timestamp>,
    /// When the login began.
    pub begun_at: Timestamp,
}

/// A browser's description of itself.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    /// The `User-Agent` header.
    pub user_agent: String,
    /// The client address.
    pub address: String,
}

/// A sign-in with a password, or with a code in its place.
#[derive(Clone, Copy, Debug)]
pub struct PasswordSignIn<'a> {
    /// The user's number.
    pub user_no: i64,
    /// When the sign-in began.
    pub begun_at: Timestamp,
    /// When the password was set that the user had; `None` without one.
    pub password_set_at: Option<Timestamp>,
    /// The code that was the first factor; `None` for a password.
    pub first_code: Option<Factor>,
    /// The second factor, if there was one.
    pub factor: Option<Factor>,
    /// The browser.
    pub browser: &'a Browser,
    /// The id of the browser's existing session.
    pub earlier: Option<&'a str>,
}

/// The session of a user who has proved a second factor.
#[derive(Clone, Copy, Debug)]
pub struct StepUpSession<'a> {
    /// The id of the session.
    pub session_id: &'a str,
    /// The user's number.
    pub user_no: i64,
    /// The second factor.
    pub factor: Factor,
}

impl DirectoryDeps {
    /// Creates the session of a browser in which a user signed in with a password of the pool.
    /// Returns the token of its cookie for the sign-in host.
    ///
    /// # Errors
    /// Returns `NotAuthorizedException` if the user was disabled or got another password since.
    pub async fn begin_password_session(
        &self,
        sign_in: PasswordSignIn<'_>,
    ) -> std::result::Result<(User, Session, RandomToken), DirectoryError> {
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        let limits = self.catalogue.load().config.session;
        let token = RandomToken::random(entropy);
        let hash = token.hash();
        let made = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                let changed =
                    || DirectoryError::new(ErrorKind::NotAuthorized, "Incorrect username or password.");
                let user = tx.user_by_number(sign_in.user_no).await?.ok_or_else(changed)?;
                let set_at = tx.password(user.no).await?.map(|password| password.set_at);
                let may_sign_in = user.enabled && user.status == UserStatus::Confirmed;
                if !may_sign_in || set_at != sign_in.password_set_at {
                    return Err(changed());
                }
                let authentication = Authentication {
                    provider: LOCAL_PROVIDER.to_owned(),
                    provider_sid: String::new(),
                    browser: sign_in.browser.clone(),
                    amr: methods((sign_in.first_code, false), sign_in.factor),
                    auth_time: Some(now),
                    factor_at: sign_in.factor.map(|_| now),
                    ends_at: None,
                    begun_at: sign_in.begun_at,
                };
                let earlier = sign_in.earlier;
                let session =
                    begin_session(tx, &user, &authentication, earlier, limits, now, entropy).await?;
                let (session_id, scope) = (session.id.clone(), CookieScope::Pool);
                tx.add_session_cookie(&SessionCookie { hash, session_id, scope, created_at: now }).await?;
                Ok((user, session))
            })
        });
        let (user, session) = made.await?;
        Ok((user, session, token))
    }
}

impl DirectoryDeps {
    /// Records in a session that its user has proved a second factor, and ends its cookies. Returns
    /// the user, the session and the token of its new cookie for the sign-in host.
    ///
    /// # Errors
    /// Returns `NotAuthorizedException` if the session has ended, or its user was disabled.
    pub async fn step_up_session(
        &self,
        of: StepUpSession<'_>,
    ) -> std::result::Result<(User, Session, RandomToken), DirectoryError> {
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        let token = RandomToken::random(entropy);
        let hash = token.hash();
        let made = self.store.checked_transaction(|tx| -> CheckedWork<'_, _, DirectoryError> {
            Box::pin(async move {
                let ended = || DirectoryError::new(ErrorKind::NotAuthorized, "The session has ended.");
                let session = tx.session(of.session_id).await?.ok_or_else(ended)?;
                let user = tx.user_by_number(of.user_no).await?.ok_or_else(ended)?;
                if session.user_id != user.id || !user.enabled || user.status != UserStatus::Confirmed {
                    return Err(ended());
                }
                let amr = with_second_factor(&session.amr, of.factor);
                let session = Session { amr, factor_at: Some(now), last_seen_at: now, ..session };
                tx.save_authentication(&session).await?;
                // A cookie of before the proof gains nothing by it: perhaps another person has it.
                tx.remove_session_cookies(&session.id).await?;
                let (session_id, scope) = (session.id.clone(), CookieScope::Pool);
                tx.add_session_cookie(&SessionCookie { hash, session_id, scope, created_at: now }).await?;
                tx.publish(&Change::Session(session.id.clone()), entropy).await?;
                Ok((user, session))
            })
        });
        let (user, session) = made.await?;
        Ok((user, session, token))
    }
}

/// Returns the methods of a session, and those of a second factor.
fn with_second_factor(earlier: &[String], factor: Factor) -> Vec<String> {
    let mut methods = earlier.to_vec();
    for name in [method(factor), "mfa"] {
        if !methods.iter().any(|known| known == name) {
            methods.push(name.to_owned());
        }
    }
    methods
}

fn method(factor: Factor) -> &'static str {
    match factor {
        Factor::SoftwareToken | Factor::Email => "otp",
        Factor::Sms => "sms",
    }
}

/// Returns the authentication methods of a sign-in. RFC 8176, section 2: "pwd":
/// "Password-based authentication", "otp": "One-time password", "sms": "Confirmation using SMS text
/// message to the user at a registered number", "mfa": "Multiple-factor authentication".
///
/// `by_functions` is whether functions of the pool were the first factor: its method is unknown.
pub fn methods((first_code, by_functions): (Option<Factor>, bool), second: Option<Factor>) -> Vec<String> {
    let first = Some(first_code.map_or("pwd", method)).filter(|_| !by_functions);
    let mut methods = Vec::from_iter(first);
    if let Some(second) = second {
        methods.push(method(second));
        methods.dedup();
        methods.push("mfa");
    }
    methods.into_iter().map(str::to_owned).collect()
}

/// Creates the session of a browser in which `user` was just authenticated.
///
/// A browser has one session. A sign-in ends the earlier one, with all its cookies (ASVS 5.0,
/// 7.2.4: "generates a new session token on user authentication, including re-authentication, and
/// terminates the current session token"). Parallel sign-ins of one user in several tabs share one.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn begin_session(
    tx: &mut Tx<'_>,
    user: &User,
    authentication: &Authentication,
    earlier: Option<&str>,
    limits: SessionLimits,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Session> {
    let earlier = match earlier {
        Some(id) => tx.session(id).await?,
        None => None,
    };
    let side_by_side = earlier.as_ref().is_some_and(|earlier| {
        earlier.is_active(earlier.last_seen_at, limits.idle, now)
            && is_parallel(earlier, user, authentication)
    });
    let Authentication { provider, provider_sid, browser, amr, auth_time, factor_at, ends_at, begun_at: _ } =
        authentication.clone();
    let until = |end: Timestamp| ends_at.map_or(end, |theirs| theirs.min(end));
    let Browser { user_agent, address } = browser;
    match earlier {
        Some(earlier) if side_by_side => {
            let session = Session {
                provider,
                provider_sid,
                user_agent,
                address,
                auth_time,
                factor_at,
                last_seen_at: now,
                expires_at: until(earlier.expires_at),
                ..earlier
            };
            tx.save_authentication(&session).await?;
            tx.publish(&Change::Session(session.id.clone()), entropy).await?;
            return Ok(session);
        }
        Some(earlier) => {
            tx.end_session(&earlier.id, entropy).await?;
        }
        None => {}
    }
    let session = Session {
        id: uuid(entropy),
        pool_id: user.pool_id.clone(),
        user_id: user.id.clone(),
        provider,
        provider_sid,
        user_agent,
        address,
        amr,
        auth_time,
        factor_at,
        created_at: now,
        last_seen_at: now,
        expires_at: until(now.plus(limits.absolute)),
    };
    tx.add_session(&session).await?;
    Ok(session)
}

/// Returns whether a sign-in ran in parallel to the one that created `earlier`: it had already
/// begun, with the same user, provider and methods. A cookie from before that sign-in gains
/// nothing.
fn is_parallel(earlier: &Session, user: &User, authentication: &Authentication) -> bool {
    authentication.begun_at < earlier.created_at
        && earlier.user_id == user.id
        && earlier.provider == authentication.provider
        && earlier.amr == authentication.amr
}
