//! The change feed: nodes publish changes so that other nodes update their caches.

use super::{Result, Store, Tx, within_deadline};
use crate::base::{Duration, Entropy, MonotonicTime, Timestamp, uuid};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};
use std::borrow::Cow;
use std::collections::HashMap;

/// A change that other nodes must apply to their caches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The session with this id changed or was ended.
    Session(String),
    /// The user with this `sub` changed.
    User(String),
    /// The access token with this `jti` was revoked. The revocation can be deleted at this time.
    Token(String, Timestamp),
    /// The user pool with this id changed, or one of its clients, domains, providers or resource
    /// servers.
    Pool(String),
    /// Several access tokens were revoked: the list must be read again.
    Tokens,
    /// Changes may have been missed: every cached entry is stale.
    Everything,
}

impl Change {
    fn columns(&self) -> (&'static str, Cow<'_, str>) {
        match self {
            Self::Session(id) => ("session", id.into()),
            Self::User(id) => ("user", id.into()),
            Self::Token(jti, over) => ("token", format!("{} {jti}", over.millis()).into()),
            Self::Pool(id) => ("pool", id.into()),
            Self::Tokens => ("tokens", "".into()),
            Self::Everything => ("everything", "".into()),
        }
    }

    /// Parses a change. A kind that only a newer version defines is treated as
    /// [`Change::Everything`].
    fn read(kind: &str, subject: String) -> Self {
        match kind {
            "session" => Self::Session(subject),
            "user" => Self::User(subject),
            "tokens" => Self::Tokens,
            "pool" => Self::Pool(subject),
            "token" => match subject.split_once(' ').map(|(over, jti)| (over.parse(), jti)) {
                Some((Ok(over), jti)) => Self::Token(jti.to_owned(), Timestamp::from_millis(over)),
                _ => Self::Everything,
            },
            _ => Self::Everything,
        }
    }
}

/// Overlap of two polls: a transaction that began earlier may commit later.
const OVERLAP: Duration = Duration::from_secs(60);

/// Maximum difference between the database's clock and this node's monotonic clock over one poll
/// interval. Slewing of the clock and the duration of a query stay below it. After a larger
/// difference the clock has jumped, and changes may have been missed.
const MAX_DRIFT: Duration = Duration::from_secs(30);

/// Retention of changes. A node that was disconnected for longer cannot determine what it missed.
pub(super) const CHANGE_RETENTION: Duration = Duration::from_secs(3600);

/// How long cached entries are used after the last successful poll. This bounds the delay of a
/// sign-out or a revocation on another node.
pub const MAX_STALENESS: Duration = Duration::from_secs(60);

/// The position of one node in the change feed. Changes are written and read with times of the
/// database's clock, so that the clocks of the nodes do not matter.
#[derive(Debug, Default)]
pub struct Feed {
    seen: HashMap<String, Timestamp>,
    /// Time of the last poll: the database's clock, and this node's monotonic clock.
    last: Option<(Timestamp, MonotonicTime)>,
}

impl Feed {
    /// Returns the changes since the last poll, however long ago that was. `at` is the time at
    /// which this poll begins.
    ///
    /// # Errors
    /// Returns an error if the database fails; the position in the feed does not change.
    pub async fn poll(&mut self, store: &Store, at: MonotonicTime) -> Result<Vec<Change>> {
        let now = store.time().await?;
        let since = self.last.map_or(now, |(since, _)| since).min(now);
        let horizon = since.minus(OVERLAP);
        let rows = within_deadline(async {
            let rows = sqlx::query("SELECT id, kind, subject, made_at FROM changes WHERE made_at >= $1")
                .bind(horizon.millis())
                .fetch_all(&store.pool)
                .await?;
            Ok(rows)
        })
        .await?;
        let read = |row: &AnyRow| {
            let id: String = row.try_get("id")?;
            let made_at = Timestamp::from_millis(row.try_get("made_at")?);
            let kind: String = row.try_get("kind")?;
            Ok((id, made_at, Change::read(&kind, row.try_get("subject")?)))
        };
        // All rows are read before any is marked as seen: after an error, the next poll returns all
        // of them.
        let rows = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
        let mut news = Vec::new();
        if self.last.is_some_and(|last| may_have_missed(last, (now, at))) {
            news.push(Change::Everything);
        }
        for (id, made_at, change) in rows {
            if self.seen.insert(id, made_at).is_none() {
                news.push(change);
            }
        }
        self.seen.retain(|_, made_at| *made_at >= horizon);
        self.last = Some((now, at));
        Ok(news)
    }
}

/// Returns whether changes may have been purged or skipped between two polls.
fn may_have_missed(last: (Timestamp, MonotonicTime), now: (Timestamp, MonotonicTime)) -> bool {
    let (passed_there, passed_here) = (now.0.since(last.0), now.1.since(last.1));
    passed_there.max(passed_here) >= CHANGE_RETENTION / 2
        || last.0 > now.0.plus(MAX_DRIFT)
        || passed_there.abs_diff(passed_here) > MAX_DRIFT
}

impl Tx<'_> {
    /// Publishes `change` to every node when this transaction commits.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn publish(&mut self, change: &Change, entropy: &dyn Entropy) -> Result<()> {
        let (kind, subject) = change.columns();
        let now = self.dialect.now;
        let insert = format!("INSERT INTO changes (id, kind, subject, made_at) VALUES ($1, $2, $3, {now})");
        sqlx::query(AssertSqlSafe(insert))
            .bind(uuid(entropy))
            .bind(kind)
            .bind(&*subject)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }
}
