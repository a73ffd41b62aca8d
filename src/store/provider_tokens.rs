//! Encrypted tokens of identity providers. A lease ensures that only one node at a time renews
//! them.

use super::{Result, Store, StoreError, Tx, within_deadline};
use crate::base::{Duration, Entropy, KeyRing, Purpose, Secret, Timestamp};
use crate::model::{ProviderTokens, RenewalTimes};
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, Row};

/// The stored tokens of a session.
#[derive(Clone, Debug)]
pub struct StoredTokens {
    /// The tokens.
    pub tokens: ProviderTokens,
    /// When the tokens must be renewed.
    pub times: RenewalTimes,
    /// When the current renewal's lease ends.
    pub leased_until: Timestamp,
}

/// The result of a request for the lease on a session's tokens.
#[derive(Debug)]
pub enum LeaseResult {
    /// The caller has the lease and must renew these tokens.
    Taken(ProviderTokens),
    /// Another request or node has the lease.
    Elsewhere,
    /// The tokens do not need renewal: they were renewed already, or were deleted with their
    /// session.
    NotDue,
}

/// The plaintext of the encrypted column.
#[derive(Serialize, Deserialize)]
struct Plain<'a> {
    #[serde(borrow)]
    access_token: std::borrow::Cow<'a, str>,
    refresh_token: Option<std::borrow::Cow<'a, str>>,
    id_token: Option<std::borrow::Cow<'a, str>>,
    // Tokens stored by a node of the previous version have no name id.
    #[serde(default)]
    name_id: Option<std::borrow::Cow<'a, str>>,
}

/// The value of `confirmed_until` in a row of the previous version. The expiry of the access token
/// is used instead.
const UNKNOWN_CONFIRMATION: Timestamp = Timestamp::from_millis(0);

/// Returns whether a lease until `until` is valid at `now`. A remaining time of more than two
/// leases means that the clock of the lessee was ahead. Such a lease is ignored: it would block
/// renewals until that time.
fn is_leased(until: Timestamp, now: Timestamp, longest: Duration) -> bool {
    now < until && until <= now.plus(longest * 2)
}

fn seal_context(session_id: &str) -> String {
    format!("provider_tokens/{session_id}/sealed")
}

pub(super) async fn load(
    connection: &mut AnyConnection,
    ring: &KeyRing,
    session_id: &str,
) -> Result<Option<StoredTokens>> {
    const BY_SESSION: &str = "SELECT sealed, due_at, expires_at, leased_until, failing_since, confirmed_until \
                              FROM provider_tokens WHERE session_id = $1";
    let Some(row) = sqlx::query(BY_SESSION).bind(session_id).fetch_optional(connection).await? else {
        return Ok(None);
    };
    let sealed: Vec<u8> = row.try_get("sealed")?;
    let corrupt = |why: String| StoreError::Corrupt(format!("the tokens of session {session_id}: {why}"));
    let plain = ring
        .open(Purpose::AtRest, &seal_context(session_id), &sealed)
        .map_err(|error| corrupt(error.to_string()))?;
    let plain: Plain<'_> = serde_json::from_slice(&plain).map_err(|_| corrupt("not readable".into()))?;
    let time = |column: &str| row.try_get(column).map(Timestamp::from_millis);
    let expires_at = time("expires_at")?;
    Ok(Some(StoredTokens {
        tokens: ProviderTokens {
            access_token: Secret::new(plain.access_token),
            refresh_token: plain.refresh_token.map(Secret::new),
            id_token: plain.id_token.map(Secret::new),
            name_id: plain.name_id.map(Secret::new),
            expires_at,
        },
        times: RenewalTimes {
            due_at: time("due_at")?,
            expires_at,
            confirmed_until: match time("confirmed_until")? {
                UNKNOWN_CONFIRMATION => expires_at,
                at => at,
            },
            failing_since: time("failing_since")?,
        },
        leased_until: time("leased_until")?,
    }))
}

impl Store {
    /// Returns whether the tokens of a session are being renewed, with a lease of at most
    /// `longest`. This read blocks no writer.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn renewal_under_way(
        &self,
        session_id: &str,
        now: Timestamp,
        longest: Duration,
    ) -> Result<bool> {
        within_deadline(async {
            let query = sqlx::query("SELECT leased_until FROM provider_tokens WHERE session_id = $1");
            let Some(row) = query.bind(session_id).fetch_optional(&self.pool).await? else {
                return Ok(false);
            };
            Ok(is_leased(Timestamp::from_millis(row.try_get("leased_until")?), now, longest))
        })
        .await
    }
}

impl Tx<'_> {
    /// Returns the tokens of a session.
    ///
    /// # Errors
    /// Returns an error if the database fails, or the tokens cannot be decrypted with the master
    /// key.
    pub async fn provider_tokens(&mut self, session_id: &str) -> Result<Option<StoredTokens>> {
        load(&mut self.inner, &self.ring, session_id).await
    }

    /// Replaces a session's tokens after the provider confirmed the user, and ends the lease. The
    /// next renewal is due at `due_at`.
    ///
    /// # Errors
    /// Returns an error if the database fails, or the session does not exist.
    pub async fn save_provider_tokens(
        &mut self,
        session_id: &str,
        tokens: &ProviderTokens,
        due_at: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        let sealed = self.seal_tokens(session_id, tokens, entropy)?;
        sqlx::query("DELETE FROM provider_tokens WHERE session_id = $1")
            .bind(session_id)
            .execute(&mut *self.inner)
            .await?;
        sqlx::query(
            "INSERT INTO provider_tokens (session_id, sealed, due_at, expires_at, leased_until, failing_since, \
             confirmed_until) VALUES ($1, $2, $3, $4, 0, $5, $6)",
        )
        .bind(session_id)
        .bind(sealed)
        .bind(due_at.millis())
        .bind(tokens.expires_at.millis())
        .bind(Timestamp::NEVER.millis())
        .bind(tokens.expires_at.millis())
        .execute(&mut *self.inner)
        .await?;
        Ok(())
    }

    /// Replaces a session's tokens after a renewal that did not confirm the user. The time of the
    /// last confirmation, the first failure and the lease do not change.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn replace_provider_tokens(
        &mut self,
        session_id: &str,
        tokens: &ProviderTokens,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        const REPLACE: &str = "UPDATE provider_tokens SET sealed = $2, expires_at = $3, confirmed_until = \
                               CASE WHEN confirmed_until = 0 THEN expires_at ELSE confirmed_until END \
                               WHERE session_id = $1";
        let sealed = self.seal_tokens(session_id, tokens, entropy)?;
        sqlx::query(REPLACE)
            .bind(session_id)
            .bind(sealed)
            .bind(tokens.expires_at.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    fn seal_tokens(
        &self,
        session_id: &str,
        tokens: &ProviderTokens,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        let plain = Plain {
            access_token: tokens.access_token.expose().into(),
            refresh_token: tokens.refresh_token.as_ref().map(|token| token.expose().into()),
            id_token: tokens.id_token.as_ref().map(|token| token.expose().into()),
            name_id: tokens.name_id.as_ref().map(|name_id| name_id.expose().into()),
        };
        let plain = zeroize::Zeroizing::new(
            serde_json::to_vec(&plain).map_err(|error| StoreError::Corrupt(error.to_string()))?,
        );
        Ok(self.ring.seal(Purpose::AtRest, &seal_context(session_id), &plain, entropy))
    }

    /// Requests the lease on a session's tokens, which are renewed at least every `interval`. The
    /// lease ends at `until`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn lease_provider_tokens(
        &mut self,
        session_id: &str,
        now: Timestamp,
        until: Timestamp,
        interval: Duration,
    ) -> Result<LeaseResult> {
        let Some(stored) = self.provider_tokens(session_id).await? else { return Ok(LeaseResult::NotDue) };
        if now < stored.times.corrected(now, interval).due_at {
            return Ok(LeaseResult::NotDue);
        }
        if is_leased(stored.leased_until, now, until.since(now)) {
            return Ok(LeaseResult::Elsewhere);
        }
        sqlx::query("UPDATE provider_tokens SET leased_until = $2 WHERE session_id = $1")
            .bind(session_id)
            .bind(until.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(LeaseResult::Taken(stored.tokens))
    }

    /// Returns whether the lease until `until` is still the caller's. It may have ended, and
    /// another node may have one.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn holds_lease(&mut self, session_id: &str, until: Timestamp) -> Result<bool> {
        Ok(self.provider_tokens(session_id).await?.is_some_and(|stored| stored.leased_until == until))
    }

    /// Ends the lease after a renewal that failed at `now`. The next attempt is due at `due_at`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn postpone_provider_tokens(
        &mut self,
        session_id: &str,
        now: Timestamp,
        due_at: Timestamp,
    ) -> Result<()> {
        const POSTPONE: &str = "UPDATE provider_tokens SET due_at = $2, leased_until = 0, failing_since = \
                                CASE WHEN failing_since < $3 THEN failing_since ELSE $4 END WHERE session_id = $1";
        sqlx::query(POSTPONE)
            .bind(session_id)
            .bind(due_at.millis())
            .bind(now.millis())
            .bind(now.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }
}
