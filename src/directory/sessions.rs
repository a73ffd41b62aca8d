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
/// A browser has one session: a second sign-in of the same user goes on with it, so that signing
/// out later ends everything that this browser holds; a sign-in of somebody else ends it.
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
    let Authentication { provider, provider_sid, browser, amr, auth_time, ends_at } = authentication.clone();
    let until = |end: Timestamp| ends_at.map_or(end, |theirs| theirs.min(end));
    let Browser { user_agent, address } = browser;
    match earlier {
        Some(earlier)
            if earlier.user_id == user.id && earlier.stands(earlier.last_seen_at, limits.idle, now) =>
        {
            let session = Session {
                provider,
                provider_sid,
                user_agent,
                address,
                amr,
                auth_time,
                last_seen_at: now,
                expires_at: until(earlier.expires_at),
                ..earlier
            };
            tx.save_authentication(&session).await?;
            tx.tell(&Change::Session(session.id.clone()), now, entropy).await?;
            return Ok(session);
        }
        Some(earlier) => drop(tx.end_session(&earlier.id, now, entropy).await?),
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
