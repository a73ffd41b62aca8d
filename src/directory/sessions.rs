//! Creation of sessions.

use crate::base::{Entropy, Timestamp, uuid};
use crate::config::SessionLimits;
use crate::model::{Session, User};
use crate::store::{Change, Result, Tx};

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
    let Authentication { provider, provider_sid, browser, amr, auth_time, ends_at, begun_at: _ } =
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
