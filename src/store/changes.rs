//! The feed by which nodes hear of each other's changes.

use super::{Result, Store, StoreError, Tx, within_deadline};
use crate::base::{Duration, Entropy, Timestamp, uuid};
use sqlx::Row;
use std::collections::HashMap;

/// Something that other nodes must hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The session with this id changed or was ended.
    Session(String),
    /// The user with this `sub` changed.
    User(String),
}

impl Change {
    fn columns(&self) -> (&'static str, &str) {
        match self {
            Self::Session(id) => ("session", id),
            Self::User(id) => ("user", id),
        }
    }

    fn read(kind: &str, subject: String) -> Result<Self> {
        match kind {
            "session" => Ok(Self::Session(subject)),
            "user" => Ok(Self::User(subject)),
            other => Err(StoreError::Corrupt(format!("a change of kind {other}"))),
        }
    }
}

/// How far back every look at the feed reaches: a transaction that began earlier may commit later,
/// and nodes' clocks differ.
const OVERLAP: Duration = Duration::from_secs(60);

/// One node's place in the feed.
#[derive(Debug, Default)]
pub struct Feed {
    seen: HashMap<String, Timestamp>,
}

impl Feed {
    /// The changes that this node has not seen, as of `now`.
    ///
    /// # Errors
    /// Where the store does not answer; the place in the feed stays.
    pub async fn news(&mut self, store: &Store, now: Timestamp) -> Result<Vec<Change>> {
        let horizon = now.minus(OVERLAP);
        let rows = within_deadline(async {
            let rows = sqlx::query("SELECT id, kind, subject, made_at FROM changes WHERE made_at >= $1")
                .bind(horizon.millis())
                .fetch_all(&store.pool)
                .await?;
            Ok(rows)
        })
        .await?;
        let mut news = Vec::new();
        for row in rows {
            let id: String = row.try_get("id")?;
            let made_at = Timestamp::from_millis(row.try_get("made_at")?);
            if self.seen.insert(id, made_at).is_none() {
                news.push(Change::read(row.try_get::<String, _>("kind")?.as_str(), row.try_get("subject")?)?);
            }
        }
        self.seen.retain(|_, made_at| *made_at >= horizon);
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
            .bind(subject)
            .bind(now.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }
}
