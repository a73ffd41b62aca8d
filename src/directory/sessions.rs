//! Sessions begin, go on and end here.

use crate::base::{Entropy, Timestamp, uuid};
use crate::config::SessionLimits;
use crate::model::{Session, User};
use crate::store::{Change, Result, Tx};

/// How a user was authenticated just now.
#[derive(Clone, Debug)]
pub struct Authentication {
    /// By which provider.
    pub provider: String,
    /// The `sid` of the session there; empty where it told none.
    pub provider_sid: String,
    /// In which browser.
    pub browser: Browser,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// When, as far as the provider says.
    pub auth_time: Option<Timestamp>,
    /// When the provider's own session ends, and ours with it.
    pub ends_at: Option<Timestamp>,
    /// When the browser was sent there.
    pub begun_at: Timestamp,
}

/// What a browser tells of itself.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    /// Its `User-Agent`.
    pub user_agent: String,
    /// Its address.
    pub address: String,
}

/// The session of a browser in which `user` was just authenticated.
///
/// A browser has one session. A sign-in ends the earlier one, with every cookie of it (ASVS 5.0, 7.2.4: "generates a
/// new session token on user authentication, including re-authentication, and terminates the current session
/// token"); tabs in which one person signed in side by side share one.
///
/// # Errors
/// Where the store does not answer.
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

/// Whether a sign-in is another tab's of the one that began `earlier`: it was under way already, of the same user at
/// the same provider by the same methods. A cookie from before it does not gain anything by it.
fn is_parallel(earlier: &Session, user: &User, authentication: &Authentication) -> bool {
    authentication.begun_at < earlier.created_at
        && earlier.user_id == user.id
        && earlier.provider == authentication.provider
        && earlier.amr == authentication.amr
}
