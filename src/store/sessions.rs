//! Sessions and their cookies.

use super::{Change, Result, Store, Tx, provider_tokens, users, within_deadline};
use crate::base::{Entropy, Secret, Timestamp};
use crate::model::{CookieScope, RenewalTimes, Session, SessionCookie, User};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A session found by one of its cookies, with its user.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// The session.
    pub session: Session,
    /// The user.
    pub user: User,
    /// The hosts on which the cookie is valid.
    pub scope: CookieScope,
    /// The renewal times of the provider's tokens, and the provider's access token. `None` if the
    /// session has no tokens.
    pub tokens: Option<(RenewalTimes, Secret)>,
}

/// The value of the column `auth_time` if the time is unknown.
const UNKNOWN_TIME: i64 = 0;

macro_rules! columns {
    () => {
        "s.id, s.pool_id, s.user_id, s.provider, s.provider_sid, s.user_agent, s.address, s.amr, s.auth_time, \
         s.factor_at, s.created_at, s.last_seen_at, s.expires_at"
    };
}
const BY_COOKIE: &str = concat!(
    "SELECT ",
    columns!(),
    ", c.scope FROM session_cookies c JOIN sessions s ON s.id = c.session_id WHERE c.hash = $1"
);
const BY_ID: &str = concat!("SELECT ", columns!(), " FROM sessions s WHERE s.id = $1");
const OF_USER: &str =
    concat!("SELECT ", columns!(), " FROM sessions s WHERE s.user_id = $1 ORDER BY s.last_seen_at DESC");
const BY_PROVIDER_SID: &str =
    concat!("SELECT ", columns!(), " FROM sessions s WHERE s.provider = $1 AND s.provider_sid = $2");

impl Store {
    /// Returns the session of the cookie with this hash.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn session_by_cookie(&self, hash: &[u8; 32]) -> Result<Option<SessionRecord>> {
        within_deadline(async {
            let mut connection = self.pool.acquire().await?;
            let Some(row) = sqlx::query(BY_COOKIE).bind(&hash[..]).fetch_optional(&mut *connection).await?
            else {
                return Ok(None);
            };
            let session = session(&row)?;
            let scope = match row.try_get::<String, _>("scope")? {
                text if text.is_empty() => CookieScope::Pool,
                host => CookieScope::App(host),
            };
            let user = users::load(&mut connection, &session.user_id).await?;
            let tokens = provider_tokens::load(&mut connection, &self.ring, &session.id).await?;
            let tokens = tokens.map(|stored| (stored.times, stored.tokens.access_token));
            // The attributes are those of the provider through which the session began.
            Ok(user.map(|user| SessionRecord {
                user: user.for_provider(&session.provider),
                session,
                scope,
                tokens,
            }))
        })
        .await
    }

    /// Stores when sessions were last used. A time never moves back.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn note_last_seen(&self, seen: &[(String, Timestamp)]) -> Result<()> {
        self.transaction(|tx| {
            let seen = seen.to_vec();
            Box::pin(async move {
                for (id, at) in seen {
                    sqlx::query("UPDATE sessions SET last_seen_at = $2 WHERE id = $1 AND last_seen_at < $3")
                        .bind(id)
                        .bind(at.millis())
                        .bind(at.millis())
                        .execute(&mut *tx.inner)
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }
}

impl Tx<'_> {
    /// Adds `session`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_session(&mut self, session: &Session) -> Result<()> {
        sqlx::query(
            "INSERT INTO sessions (id, pool_id, user_id, provider, amr, auth_time, created_at, last_seen_at, \
             expires_at, provider_sid, user_agent, address, factor_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(&session.id)
        .bind(&session.pool_id)
        .bind(&session.user_id)
        .bind(&session.provider)
        .bind(session.amr.join(" "))
        .bind(session.auth_time.map_or(UNKNOWN_TIME, Timestamp::millis))
        .bind(session.created_at.millis())
        .bind(session.last_seen_at.millis())
        .bind(session.expires_at.millis())
        .bind(&session.provider_sid)
        .bind(&session.user_agent)
        .bind(&session.address)
        .bind(session.factor_at.map_or(UNKNOWN_TIME, Timestamp::millis))
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Adds a cookie to its session.
    ///
    /// # Errors
    /// Returns an error if the database fails, or the session does not exist.
    pub async fn add_session_cookie(&mut self, cookie: &SessionCookie) -> Result<()> {
        sqlx::query(
            "INSERT INTO session_cookies (hash, session_id, scope, created_at) VALUES ($1, $2, $3, $4)",
        )
        .bind(&cookie.hash[..])
        .bind(&cookie.session_id)
        .bind(cookie.scope.text())
        .bind(cookie.created_at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Returns the session with this id.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn session(&mut self, id: &str) -> Result<Option<Session>> {
        let row = sqlx::query(BY_ID).bind(id).fetch_optional(&mut *self.inner).await?;
        row.as_ref().map(session).transpose()
    }

    /// Stores that the session's user was authenticated again.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn save_authentication(&mut self, session: &Session) -> Result<()> {
        sqlx::query(
            "UPDATE sessions SET provider = $2, amr = $3, auth_time = $4, last_seen_at = $5, provider_sid = $6, \
             user_agent = $7, address = $8, expires_at = $9, factor_at = $10 WHERE id = $1",
        )
        .bind(&session.id)
        .bind(&session.provider)
        .bind(session.amr.join(" "))
        .bind(session.auth_time.map_or(UNKNOWN_TIME, Timestamp::millis))
        .bind(session.last_seen_at.millis())
        .bind(&session.provider_sid)
        .bind(&session.user_agent)
        .bind(&session.address)
        .bind(session.expires_at.millis())
        .bind(session.factor_at.map_or(UNKNOWN_TIME, Timestamp::millis))
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Removes the cookies of a session, which stays.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_session_cookies(&mut self, id: &str) -> Result<()> {
        let removed = sqlx::query("DELETE FROM session_cookies WHERE session_id = $1").bind(id);
        removed.execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Returns the sessions of a user, the most recently used first.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn sessions_of(&mut self, user_id: &str) -> Result<Vec<Session>> {
        let rows = sqlx::query(OF_USER).bind(user_id).fetch_all(&mut *self.inner).await?;
        rows.iter().map(session).collect()
    }

    /// Returns the sessions that were established by a session with this `sid` at `provider`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn sessions_by_provider_sid(&mut self, provider: &str, sid: &str) -> Result<Vec<Session>> {
        let query = sqlx::query(BY_PROVIDER_SID).bind(provider).bind(sid);
        query.fetch_all(&mut *self.inner).await?.iter().map(session).collect()
    }

    /// Ends a session: deletes it and its cookies, adds the notices of its app clients, and
    /// publishes the change. Returns whether the session existed.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn end_session(&mut self, id: &str, entropy: &dyn Entropy) -> Result<bool> {
        self.add_logout_notices(id).await?;
        self.remove_session_cookies(id).await?;
        let ended =
            sqlx::query("DELETE FROM sessions WHERE id = $1").bind(id).execute(&mut *self.inner).await?;
        self.publish(&Change::Session(id.to_owned()), entropy).await?;
        Ok(ended.rows_affected() > 0)
    }
}

fn session(row: &AnyRow) -> Result<Session> {
    let time = |column: &str| row.try_get(column).map(Timestamp::from_millis);
    let amr: String = row.try_get("amr")?;
    Ok(Session {
        id: row.try_get("id")?,
        pool_id: row.try_get("pool_id")?,
        user_id: row.try_get("user_id")?,
        provider: row.try_get("provider")?,
        provider_sid: row.try_get("provider_sid")?,
        user_agent: row.try_get("user_agent")?,
        address: row.try_get("address")?,
        amr: amr.split_whitespace().map(str::to_owned).collect(),
        auth_time: Some(time("auth_time")?).filter(|at| at.millis() != UNKNOWN_TIME),
        factor_at: Some(time("factor_at")?).filter(|at| at.millis() != UNKNOWN_TIME),
        created_at: time("created_at")?,
        last_seen_at: time("last_seen_at")?,
        expires_at: time("expires_at")?,
    })
}
