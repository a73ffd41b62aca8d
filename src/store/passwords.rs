//! Password hashes, their history, failed attempts and SRP verifiers of users. Hashes and verifiers
//! are encrypted, so that a copy of the database does not allow guessing of passwords.

use super::statements::statements;
use super::{Result, Store, StoreError, Tx, within_deadline};
use crate::base::{Entropy, KeyRing, Purpose, Timestamp};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use zeroize::Zeroizing;

/// The table of password hashes, and the context with which they are encrypted.
const PASSWORDS: &str = "passwords";
/// The table of earlier hashes.
const HISTORY: &str = "password_history";
/// The table of SRP verifiers.
const VERIFIERS: &str = "srp_verifiers";
/// The length of an Argon2id hash, in bytes.
const HASH_LENGTH: usize = 97;
/// The value of the column `expires_at` for a password that is not temporary.
const NO_EXPIRY: i64 = 0;

statements! {
    PASSWORD = "SELECT sealed, set_at, expires_at FROM passwords WHERE user_no = $1";
    SET_PASSWORD = "INSERT INTO passwords (user_no, sealed, set_at, expires_at) VALUES ($1, $2, $3, $4) \
                    ON CONFLICT (user_no) DO UPDATE SET sealed = excluded.sealed, set_at = excluded.set_at, \
                    expires_at = excluded.expires_at";
    REPLACE_HASH = "UPDATE passwords SET sealed = $3 WHERE user_no = $1 AND set_at = $2";
    EARLIER = "SELECT sealed, set_at FROM password_history WHERE user_no = $1 ORDER BY set_at DESC LIMIT $2";
    ADD_EARLIER = "INSERT INTO password_history (user_no, set_at, sealed) VALUES ($1, $2, $3) \
                   ON CONFLICT (user_no, set_at) DO NOTHING";
    REMOVE_EARLIER = "DELETE FROM password_history WHERE user_no = $1 AND set_at < $2";
    FAILURES = "SELECT failures, last_failure_at, locked_until FROM password_failures WHERE user_no = $1";
    SAVE_FAILURES = "INSERT INTO password_failures (user_no, failures, last_failure_at, locked_until) \
                     VALUES ($1, $2, $3, $4) ON CONFLICT (user_no) DO UPDATE SET failures = excluded.failures, \
                     last_failure_at = excluded.last_failure_at, locked_until = excluded.locked_until";
    CLEAR_FAILURES = "DELETE FROM password_failures WHERE user_no = $1";
    VERIFIER = "SELECT sealed FROM srp_verifiers WHERE user_no = $1";
    SET_VERIFIER = "INSERT INTO srp_verifiers (user_no, sealed) VALUES ($1, $2) \
                    ON CONFLICT (user_no) DO UPDATE SET sealed = excluded.sealed";
    REMOVE_VERIFIER = "DELETE FROM srp_verifiers WHERE user_no = $1";
    REMOVE_PASSWORD = "DELETE FROM passwords WHERE user_no = $1";
}

/// The hash of a user's password.
#[derive(Clone)]
pub struct StoredPassword {
    /// The hash.
    pub hash: Zeroizing<Vec<u8>>,
    /// When it was set.
    pub set_at: Timestamp,
    /// When a temporary password expires.
    pub expires_at: Option<Timestamp>,
}

impl std::fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (set_at, expires_at) = (self.set_at, self.expires_at);
        f.debug_struct("StoredPassword")
            .field("set_at", &set_at)
            .field("expires_at", &expires_at)
            .finish_non_exhaustive()
    }
}

/// The failed sign-in attempts of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordFailures {
    /// Failures since the last successful attempt.
    pub failures: u32,
    /// When the last attempt failed.
    pub last_failure_at: Timestamp,
    /// The time until which attempts are denied.
    pub locked_until: Timestamp,
}

impl Store {
    /// Returns the password of a user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn password(&self, user_no: i64) -> Result<Option<StoredPassword>> {
        within_deadline(async { password(&mut *self.pool.acquire().await?, &self.ring, user_no).await }).await
    }

    /// Returns the failed attempts of a user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn password_failures(&self, user_no: i64) -> Result<Option<PasswordFailures>> {
        within_deadline(async {
            let row = sqlx::query(FAILURES).bind(user_no).fetch_optional(&self.pool).await?;
            row.as_ref().map(failures).transpose()
        })
        .await
    }

    /// Returns the SRP verifier of a user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn srp_verifier(&self, user_no: i64) -> Result<Option<Zeroizing<Vec<u8>>>> {
        within_deadline(async {
            let row = sqlx::query(VERIFIER).bind(user_no).fetch_optional(&self.pool).await?;
            row.map(|row| open(&self.ring, VERIFIERS, user_no, &row)).transpose()
        })
        .await
    }
}

impl Tx<'_> {
    /// Returns the password of a user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn password(&mut self, user_no: i64) -> Result<Option<StoredPassword>> {
        password(&mut self.inner, &self.ring, user_no).await
    }

    /// Sets the password of a user; a temporary one has `expires_at`. Keeps the `history` latest
    /// earlier hashes. Removes the failed attempts and the SRP verifier, which belong to the old
    /// password.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn set_password(
        &mut self,
        user_no: i64,
        password: &StoredPassword,
        history: u32,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        if let (Some(earlier), true) = (self.password(user_no).await?, history > 0) {
            let sealed = seal(&self.ring, HISTORY, user_no, &earlier.hash, entropy);
            let add = sqlx::query(ADD_EARLIER).bind(user_no).bind(earlier.set_at.millis()).bind(sealed);
            add.execute(&mut *self.inner).await?;
        }
        let sealed = seal(&self.ring, PASSWORDS, user_no, &password.hash, entropy);
        sqlx::query(SET_PASSWORD)
            .bind(user_no)
            .bind(sealed)
            .bind(password.set_at.millis())
            .bind(stored_expiry(password))
            .execute(&mut *self.inner)
            .await?;
        self.cut_history(user_no, history).await?;
        self.clear_password_failures(user_no).await?;
        sqlx::query(REMOVE_VERIFIER).bind(user_no).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Removes the password of a user, with the SRP verifier and the failed attempts. Its history
    /// stays.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_password(&mut self, user_no: i64) -> Result<()> {
        self.clear_password_failures(user_no).await?;
        sqlx::query(REMOVE_VERIFIER).bind(user_no).execute(&mut *self.inner).await?;
        sqlx::query(REMOVE_PASSWORD).bind(user_no).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Replaces the hash of a user's password that was set at `set_at` by another hash of the same
    /// password. Returns false if the password was changed since.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn replace_password_hash(
        &mut self,
        user_no: i64,
        set_at: Timestamp,
        hash: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<bool> {
        let sealed = seal(&self.ring, PASSWORDS, user_no, hash, entropy);
        let query = sqlx::query(REPLACE_HASH).bind(user_no).bind(set_at.millis()).bind(sealed);
        Ok(query.execute(&mut *self.inner).await?.rows_affected() == 1)
    }

    async fn cut_history(&mut self, user_no: i64, history: u32) -> Result<()> {
        let limit = i64::from(history);
        let rows = sqlx::query(EARLIER).bind(user_no).bind(limit).fetch_all(&mut *self.inner).await?;
        let oldest = rows.last().map(|row| row.try_get::<i64, _>("set_at")).transpose()?;
        let remove = sqlx::query(REMOVE_EARLIER).bind(user_no).bind(oldest.unwrap_or(i64::MAX));
        remove.execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Returns at most `limit` earlier hashes of a user, the latest first.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn password_history(&mut self, user_no: i64, limit: u32) -> Result<Vec<Zeroizing<Vec<u8>>>> {
        let query = sqlx::query(EARLIER).bind(user_no).bind(i64::from(limit));
        let rows = query.fetch_all(&mut *self.inner).await?;
        rows.iter().map(|row| open(&self.ring, HISTORY, user_no, row)).collect()
    }

    /// Returns the failed attempts of a user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn password_failures(&mut self, user_no: i64) -> Result<Option<PasswordFailures>> {
        let row = sqlx::query(FAILURES).bind(user_no).fetch_optional(&mut *self.inner).await?;
        row.as_ref().map(failures).transpose()
    }

    /// Stores the failed attempts of a user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn save_password_failures(&mut self, user_no: i64, failures: PasswordFailures) -> Result<()> {
        sqlx::query(SAVE_FAILURES)
            .bind(user_no)
            .bind(i64::from(failures.failures))
            .bind(failures.last_failure_at.millis())
            .bind(failures.locked_until.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Removes the failed attempts of a user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn clear_password_failures(&mut self, user_no: i64) -> Result<()> {
        sqlx::query(CLEAR_FAILURES).bind(user_no).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Stores the SRP verifier of a user's password.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn set_srp_verifier(
        &mut self,
        user_no: i64,
        verifier: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<()> {
        let sealed = seal(&self.ring, VERIFIERS, user_no, verifier, entropy);
        sqlx::query(SET_VERIFIER).bind(user_no).bind(sealed).execute(&mut *self.inner).await?;
        Ok(())
    }
}

async fn password(
    connection: &mut AnyConnection,
    ring: &KeyRing,
    user_no: i64,
) -> Result<Option<StoredPassword>> {
    let row = sqlx::query(PASSWORD).bind(user_no).fetch_optional(connection).await?;
    match row {
        Some(row) => read(ring, user_no, &row).map(Some),
        None => {
            ring.imitate_open(Purpose::AtRest, HASH_LENGTH);
            Ok(None)
        }
    }
}

/// Reads the password of a user.
pub(super) fn read(ring: &KeyRing, user_no: i64, row: &AnyRow) -> Result<StoredPassword> {
    let expires_at: i64 = row.try_get("expires_at")?;
    Ok(StoredPassword {
        hash: open(ring, PASSWORDS, user_no, row)?,
        set_at: Timestamp::from_millis(row.try_get("set_at")?),
        expires_at: (expires_at != NO_EXPIRY).then_some(Timestamp::from_millis(expires_at)),
    })
}

/// Returns the encrypted hash of a user's password.
pub(super) fn sealed(
    ring: &KeyRing,
    user_no: i64,
    password: &StoredPassword,
    entropy: &dyn Entropy,
) -> Vec<u8> {
    seal(ring, PASSWORDS, user_no, &password.hash, entropy)
}

/// Returns the value of the column `expires_at` for a password.
pub(super) fn stored_expiry(password: &StoredPassword) -> i64 {
    password.expires_at.map_or(NO_EXPIRY, Timestamp::millis)
}

fn failures(row: &AnyRow) -> Result<PasswordFailures> {
    Ok(PasswordFailures {
        failures: u32::try_from(row.try_get::<i64, _>("failures")?).unwrap_or(u32::MAX),
        last_failure_at: Timestamp::from_millis(row.try_get("last_failure_at")?),
        locked_until: Timestamp::from_millis(row.try_get("locked_until")?),
    })
}

fn seal(ring: &KeyRing, table: &str, user_no: i64, plain: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    ring.seal(Purpose::AtRest, &format!("{table}/{user_no}"), plain, entropy)
}

fn open(ring: &KeyRing, table: &str, user_no: i64, row: &AnyRow) -> Result<Zeroizing<Vec<u8>>> {
    let (sealed, context): (Vec<u8>, _) = (row.try_get("sealed")?, format!("{table}/{user_no}"));
    let plain = ring.open(Purpose::AtRest, &context, &sealed);
    plain.map_err(|error| StoreError::Corrupt(format!("{context}: {error}")))
}
