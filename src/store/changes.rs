//! The feed by which nodes hear of each other's changes.

use super::{Result, Store, Tx, within_deadline};
use crate::base::{Duration, Entropy, Timestamp, uuid};
use sqlx::Row;
use sqlx::any::AnyRow;
use std::borrow::Cow;
use std::collections::HashMap;

/// Something that other nodes must hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The session with this id changed or was ended.
    Session(String),
    /// The user with this `sub` changed.
    User(String),
    /// The access token with this `jti` was revoked, which need not be remembered from this moment.
    Token(String, Timestamp),
    /// More may have changed than can be told: nothing that is remembered counts.
    Everything,
}

impl Change {
    fn columns(&self) -> (&'static str, Cow<'_, str>) {
        match self {
            Self::Session(id) => ("session", id.into()),
            Self::User(id) => ("user", id.into()),
            Self::Token(jti, over) => ("token", format!("{} {jti}", over.millis()).into()),
            Self::Everything => ("everything", "".into()),
        }
    }

    /// A kind that only a newer node knows may speak of anything.
    fn read(kind: &str, subject: String) -> Self {
        match kind {
            "session" => Self::Session(subject),
            "user" => Self::User(subject),
            "token" => match subject.split_once(' ').map(|(over, jti)| (over.parse(), jti)) {
                Some((Ok(over), jti)) => Self::Token(jti.to_owned(), Timestamp::from_millis(over)),
                _ => Self::Everything,
            },
            _ => Self::Everything,
        }
    }
}

/// How far back every look at the feed reaches: a transaction that began earlier may commit later,
/// and nodes' clocks differ.
const OVERLAP: Duration = Duration::from_secs(60);

/// How long changes are kept; a node that was away for longer cannot know what it missed.
pub(super) const KEPT: Duration = Duration::from_secs(3600);

/// How long what is in memory counts after the store was last heard of: a sign-out or a revocation on another node
/// could go unheard for this long, and no longer.
pub const SILENCE: Duration = Duration::from_secs(60);

/// One node's place in the feed.
#[derive(Debug, Default)]
pub struct Feed {
    seen: HashMap<String, Timestamp>,
    /// Everything committed before this was heard of.
    heard_at: Option<Timestamp>,
}

impl Feed {
    /// The changes that this node has not seen, as of `now`: since it last heard, however long ago
    /// that was.
    ///
    /// # Errors
    /// Where the store does not answer; the place in the feed stays.
    pub async fn news(&mut self, store: &Store, now: Timestamp) -> Result<Vec<Change>> {
        let since = self.heard_at.unwrap_or(now).min(now);
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
        // All are read before any counts as seen: an error must not swallow what came before it.
        let rows = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
        let mut news = Vec::new();
        if now.since(since) >= KEPT / 2 {
            news.push(Change::Everything);
        }
        for (id, made_at, change) in rows {
            if self.seen.insert(id, made_at).is_none() {
                news.push(change);
            }
        }
        self.seen.retain(|_, made_at| *made_at >= horizon);
        self.heard_at = Some(now);
        Ok(news)
    }
}

impl Tx<'_> {
    /// Tells every node of `change`, once this transaction commits.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn tell(&mut self, change: &Change, now: Timestamp, entropy: &dyn Entropy) -> Result<()> {
        let (kind, subject) = change.columns();
        sqlx::query("INSERT INTO changes (id, kind, subject, made_at) VALUES ($1, $2, $3, $4)")
            .bind(uuid(entropy))
            .bind(kind)
            .bind(&*subject)
            .bind(now.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }
}
