//! Outbound messages, encrypted. A lease ensures that only one node at a time sends a message.
//!
//! Each statement commits on its own: a serializable transaction over the due rows would conflict
//! with every sign-up that adds one. Leases use times of the database's clock.

use super::{Result, Store, Tx, within_deadline};
use crate::base::{Entropy, KeyRing, Purpose, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;
use zeroize::Zeroizing;

/// The channel of messages that are never sent: no node claims them, and they expire without a log
/// entry.
pub const NO_CHANNEL: &str = "none";

/// A message for [`Tx::add_to_outbox`].
pub struct NewOutboxMessage<'a> {
    /// The deduplication key: a second message with the same key is not added.
    pub id: &'a str,
    /// The user pool's id.
    pub pool: &'a str,
    /// The user's number: the message is removed with the user.
    pub user_no: i64,
    /// The channel's name.
    pub channel: &'a str,
    /// The event's name.
    pub event: &'a str,
    /// Recipient and text, which are stored encrypted.
    pub content: &'a [u8],
    /// The time at which the message expires.
    pub expires_at: Timestamp,
}

/// A message that this node may send until its lease ends.
pub struct ClaimedMessage {
    /// The key.
    pub id: String,
    /// The user pool's id.
    pub pool: String,
    /// The event's name.
    pub event: String,
    /// Recipient and text; `None` if they cannot be decrypted.
    pub content: Option<Zeroizing<Vec<u8>>>,
    /// The number of attempts that failed.
    pub attempts: u32,
    /// Whether an earlier attempt began to transmit the text with an unknown outcome.
    pub is_doubtful: bool,
    /// The time at which the message expires.
    pub expires_at: Timestamp,
    /// The end of the lease, which identifies it.
    claimed_until: Timestamp,
}

/// A message that could not be sent, without recipient and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadMessage {
    /// The key.
    pub id: String,
    /// The user pool's id.
    pub pool: String,
    /// The channel's name.
    pub channel: String,
    /// The event's name.
    pub event: String,
    /// The number of attempts.
    pub attempts: u32,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it is deleted.
    pub expires_at: Timestamp,
    /// The server's answer, without the recipient.
    pub failure: String,
}

fn seal_context(id: &str) -> String {
    format!("outbox/{id}/sealed")
}

fn read_claimed(row: &AnyRow, ring: &KeyRing) -> Result<ClaimedMessage> {
    let id: String = row.try_get("id")?;
    let sealed: Vec<u8> = row.try_get("sealed")?;
    let time = |column: &str| row.try_get(column).map(Timestamp::from_millis);
    Ok(ClaimedMessage {
        content: ring.open(Purpose::AtRest, &seal_context(&id), &sealed).ok(),
        id,
        pool: row.try_get("pool")?,
        event: row.try_get("event")?,
        attempts: attempts(row)?,
        is_doubtful: row.try_get::<i64, _>("sending_at")? > 0,
        expires_at: time("expires_at")?,
        claimed_until: time("claimed_until")?,
    })
}

fn attempts(row: &AnyRow) -> Result<u32> {
    Ok(u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX))
}

impl Tx<'_> {
    /// Adds a message. Returns false if a message with this key exists.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_to_outbox(
        &mut self,
        message: &NewOutboxMessage<'_>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<bool> {
        const INSERT: &str = "INSERT INTO outbox (id, pool, channel, event, sealed, state, due_at, claimed_until, sending_at, \
             attempts, created_at, expires_at, failure, user_no) \
             VALUES ($1, $2, $3, $4, $5, 'pending', $6, 0, 0, 0, $7, $8, '', $9) \
             ON CONFLICT (id) DO NOTHING";
        let sealed = self.ring.seal(Purpose::AtRest, &seal_context(message.id), message.content, entropy);
        let done = sqlx::query(INSERT)
            .bind(message.id)
            .bind(message.pool)
            .bind(message.channel)
            .bind(message.event)
            .bind(sealed)
            .bind(now.millis())
            .bind(now.millis())
            .bind(message.expires_at.millis())
            .bind(message.user_no)
            .execute(&mut *self.inner)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Returns the time stored for the limit `name`, if it has one.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn message_limit(&mut self, name: &str) -> Result<Option<Timestamp>> {
        let digest = self.ring.pseudonym(name.as_bytes());
        let next_at: Option<i64> = sqlx::query_scalar("SELECT next_at FROM message_limits WHERE name = $1")
            .bind(&digest[..])
            .fetch_optional(&mut *self.inner)
            .await?;
        Ok(next_at.map(Timestamp::from_millis))
    }

    /// Stores the time for the limit `name`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn save_message_limit(&mut self, name: &str, next_at: Timestamp) -> Result<()> {
        let digest = self.ring.pseudonym(name.as_bytes());
        sqlx::query(
            "INSERT INTO message_limits (name, next_at) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at",
        )
        .bind(&digest[..])
        .bind(next_at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }
}

impl Store {
    /// Claims up to `limit` due messages of `channel`, the oldest first. No other node can claim
    /// them until `until`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn claim_messages(
        &self,
        channel: &str,
        limit: u32,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<ClaimedMessage>> {
        // PostgreSQL evaluates the outer condition again on a row that another node has just
        // claimed, and skips the row.
        const CLAIM: &str = "UPDATE outbox SET claimed_until = $1 WHERE claimed_until <= $2 AND state = 'pending' AND id IN \
             (SELECT id FROM outbox WHERE channel = $3 AND state = 'pending' AND due_at <= $4 AND claimed_until <= $5 \
             AND expires_at > $6 ORDER BY due_at LIMIT $7) \
             RETURNING id, pool, event, sealed, attempts, sending_at, expires_at, claimed_until";
        let rows = within_deadline(async {
            let query = sqlx::query(CLAIM).bind(until.millis()).bind(now.millis()).bind(channel);
            let query = query.bind(now.millis()).bind(now.millis()).bind(now.millis()).bind(i64::from(limit));
            Ok(query.fetch_all(&self.pool).await?)
        })
        .await;
        self.note_write(&rows);
        rows?.iter().map(|row| read_claimed(row, &self.ring)).collect()
    }

    /// Returns whether `channel` has due messages that no node has claimed. This read blocks no
    /// writer.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn has_due_messages(&self, channel: &str, now: Timestamp) -> Result<bool> {
        const DUE: &str = "SELECT id FROM outbox WHERE channel = $1 AND state = 'pending' AND due_at <= $2 \
                           AND claimed_until <= $3 AND expires_at > $4 LIMIT 1";
        within_deadline(async {
            let query =
                sqlx::query(DUE).bind(channel).bind(now.millis()).bind(now.millis()).bind(now.millis());
            Ok(query.fetch_optional(&self.pool).await?.is_some())
        })
        .await
    }

    /// Records that the transmission of the text begins. Returns whether this node still has the
    /// lease.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn begin_transmission(&self, message: &ClaimedMessage, now: Timestamp) -> Result<bool> {
        const BEGIN: &str = "UPDATE outbox SET sending_at = $1 WHERE id = $2 AND claimed_until = $3";
        self.change_message(BEGIN, &[now.millis()], "", message).await
    }

    /// Deletes a message that was sent or dropped. Returns whether this node had the lease.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn finish_message(&self, message: &ClaimedMessage) -> Result<bool> {
        self.change_message("DELETE FROM outbox WHERE id = $1 AND claimed_until = $2", &[], "", message).await
    }

    /// Ends the lease of a message that is retried at `due_at`. `attempts` is the number of failed
    /// attempts. Returns whether this node had the lease.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn postpone_message(
        &self,
        message: &ClaimedMessage,
        due_at: Timestamp,
        attempts: u32,
        is_doubtful: bool,
    ) -> Result<bool> {
        const POSTPONE: &str = "UPDATE outbox SET due_at = $1, attempts = $2, sending_at = sending_at * $3, claimed_until = 0 \
                                WHERE id = $4 AND claimed_until = $5";
        let values = [due_at.millis(), i64::from(attempts), i64::from(is_doubtful)];
        self.change_message(POSTPONE, &values, "", message).await
    }

    /// Ends the lease of a message that is not retried, and stores the reason. Returns whether this
    /// node had the lease.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn bury_message(&self, message: &ClaimedMessage, failure: &str) -> Result<bool> {
        const BURY: &str = "UPDATE outbox SET state = 'dead', attempts = attempts + 1, claimed_until = 0, failure = $1 \
                            WHERE id = $2 AND claimed_until = $3";
        self.change_message(BURY, &[], failure, message).await
    }

    /// Runs a statement on a claimed message. Its parameters are `values`, `text` unless it is
    /// empty, the key, and the end of the lease. Returns whether this node had the lease.
    async fn change_message(
        &self,
        statement: &'static str,
        values: &[i64],
        text: &str,
        message: &ClaimedMessage,
    ) -> Result<bool> {
        let done = within_deadline(async {
            let mut query = sqlx::query(statement);
            for value in values {
                query = query.bind(*value);
            }
            if !text.is_empty() {
                query = query.bind(text);
            }
            let query = query.bind(&message.id).bind(message.claimed_until.millis());
            Ok(query.execute(&self.pool).await?.rows_affected() == 1)
        })
        .await;
        self.note_write(&done);
        done
    }

    /// Deletes the messages that have expired at `now`. Returns channel, event and state of each.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn drop_expired_messages(&self, now: Timestamp) -> Result<Vec<(String, String, String)>> {
        const EXPIRED: &str = "SELECT id FROM outbox WHERE expires_at <= $1 AND channel <> $2 LIMIT 1";
        const DROP: &str = "DELETE FROM outbox WHERE expires_at <= $1 AND claimed_until <= $2 AND channel <> $3 \
             RETURNING channel, event, state";
        let rows = within_deadline(async {
            let expired =
                sqlx::query(EXPIRED).bind(now.millis()).bind(NO_CHANNEL).fetch_optional(&self.pool).await?;
            if expired.is_none() {
                return Ok(Vec::new());
            }
            let drop = sqlx::query(DROP).bind(now.millis()).bind(now.millis()).bind(NO_CHANNEL);
            Ok(drop.fetch_all(&self.pool).await?)
        })
        .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("channel")?, row.try_get("event")?, row.try_get("state")?)))
            .collect()
    }

    /// Returns the creation time of the oldest pending message of `channel`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn oldest_message(&self, channel: &str) -> Result<Option<Timestamp>> {
        const OLDEST: &str =
            "SELECT MIN(created_at) AS oldest FROM outbox WHERE channel = $1 AND state = 'pending'";
        within_deadline(async {
            let row = sqlx::query(OLDEST).bind(channel).fetch_one(&self.pool).await?;
            Ok(row.try_get::<Option<i64>, _>("oldest")?.map(Timestamp::from_millis))
        })
        .await
    }

    /// Returns up to `limit` messages that could not be sent, the oldest first.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn dead_messages(&self, limit: u32) -> Result<Vec<DeadMessage>> {
        const DEAD: &str = "SELECT id, pool, channel, event, attempts, created_at, expires_at, failure FROM outbox \
                            WHERE state = 'dead' ORDER BY created_at, id LIMIT $1";
        let rows = within_deadline(async {
            Ok(sqlx::query(DEAD).bind(i64::from(limit)).fetch_all(&self.pool).await?)
        })
        .await?;
        let read = |row: &AnyRow| {
            Ok(DeadMessage {
                id: row.try_get("id")?,
                pool: row.try_get("pool")?,
                channel: row.try_get("channel")?,
                event: row.try_get("event")?,
                attempts: attempts(row)?,
                created_at: Timestamp::from_millis(row.try_get("created_at")?),
                expires_at: Timestamp::from_millis(row.try_get("expires_at")?),
                failure: row.try_get("failure")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Makes a dead message due again. Returns false if there is none with this key.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn retry_dead_message(&self, id: &str, now: Timestamp) -> Result<bool> {
        const RETRY: &str = "UPDATE outbox SET state = 'pending', due_at = $1, attempts = 0, sending_at = 0, failure = '' \
                             WHERE id = $2 AND state = 'dead'";
        let done = within_deadline(async {
            Ok(sqlx::query(RETRY).bind(now.millis()).bind(id).execute(&self.pool).await?.rows_affected() == 1)
        })
        .await;
        self.note_write(&done);
        done
    }

    /// Deletes a dead message. Returns false if there is none with this key.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn drop_dead_message(&self, id: &str) -> Result<bool> {
        const DROP: &str = "DELETE FROM outbox WHERE id = $1 AND state = 'dead'";
        let done = within_deadline(async {
            Ok(sqlx::query(DROP).bind(id).execute(&self.pool).await?.rows_affected() == 1)
        })
        .await;
        self.note_write(&done);
        done
    }
}
