//! Second factors of users: software tokens, whose secrets are encrypted, the factors that are
//! turned on, and recovery codes.

use super::statements::statements;
use super::{Result, Store, StoreError, Tx, within_deadline};
use crate::base::{Entropy, KeyRing, Purpose};
use crate::model::{Factor, UserFactors};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use zeroize::Zeroizing;

/// The table, and the context with which secrets are encrypted.
const TABLE: &str = "user_factors";
/// Separates the names of the column `enabled`.
const SEPARATOR: &str = ",";

statements! {
    FACTORS = "SELECT token, enabled, preferred FROM user_factors WHERE user_no = $1";
    SECRETS = "SELECT token, pending_token FROM user_factors WHERE user_no = $1";
    SET_PENDING = "INSERT INTO user_factors (user_no, token, pending_token, last_step, enabled, preferred) \
                   VALUES ($1, $2, $3, 0, '', '') \
                   ON CONFLICT (user_no) DO UPDATE SET pending_token = excluded.pending_token";
    SET_TOKEN = "UPDATE user_factors SET token = $2, pending_token = $3, last_step = $4 WHERE user_no = $1";
    SET_ENABLED = "INSERT INTO user_factors (user_no, token, pending_token, last_step, enabled, preferred) \
                   VALUES ($1, $2, $2, 0, $3, $4) \
                   ON CONFLICT (user_no) DO UPDATE SET enabled = excluded.enabled, preferred = excluded.preferred";
    USE_STEP = "UPDATE user_factors SET last_step = $2 WHERE user_no = $1 AND last_step < $2";
    REMOVE_FACTORS = "DELETE FROM user_factors WHERE user_no = $1";
    ADD_CODE = "INSERT INTO recovery_codes (user_no, hash) VALUES ($1, $2)";
    USE_CODE = "DELETE FROM recovery_codes WHERE user_no = $1 AND hash = $2";
    REMOVE_CODES = "DELETE FROM recovery_codes WHERE user_no = $1";
    CODES = "SELECT hash FROM recovery_codes WHERE user_no = $1";
}

/// The secrets of a user's software tokens.
#[derive(Default)]
pub struct TokenSecrets {
    /// Of the token in use.
    pub current: Option<Zeroizing<Vec<u8>>>,
    /// Of the token whose first code is awaited.
    pub pending: Option<Zeroizing<Vec<u8>>>,
}

/// The second factors of a user, with the secret of the software token in use.
#[derive(Clone, Default)]
pub struct StoredFactors {
    /// The factors.
    pub factors: UserFactors,
    /// The secret.
    pub token: Option<Zeroizing<Vec<u8>>>,
}

impl std::fmt::Debug for StoredFactors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredFactors").field("factors", &self.factors).finish_non_exhaustive()
    }
}

impl Store {
    /// Returns the second factors of a user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn factors(&self, user_no: i64) -> Result<UserFactors> {
        within_deadline(async { factors(&mut *self.pool.acquire().await?, user_no).await }).await
    }

    /// Returns the secrets of a user's software tokens.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn token_secrets(&self, user_no: i64) -> Result<TokenSecrets> {
        within_deadline(async { secrets(&mut *self.pool.acquire().await?, &self.ring, user_no).await }).await
    }

    /// Returns the number of a user's recovery codes.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn count_recovery_codes(&self, user_no: i64) -> Result<usize> {
        within_deadline(async { Ok(sqlx::query(CODES).bind(user_no).fetch_all(&self.pool).await?.len()) })
            .await
    }
}

impl Tx<'_> {
    /// Returns the second factors of a user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn factors(&mut self, user_no: i64) -> Result<UserFactors> {
        factors(&mut self.inner, user_no).await
    }

    /// Returns the secrets of a user's software tokens.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn token_secrets(&mut self, user_no: i64) -> Result<TokenSecrets> {
        secrets(&mut self.inner, &self.ring, user_no).await
    }

    /// Stores the secret of a software token whose first code is awaited, in place of an earlier
    /// one.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn set_pending_token(
        &mut self,
        user_no: i64,
        secret: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<()> {
        let sealed = seal(&self.ring, user_no, "pending_token", secret, entropy);
        let query = sqlx::query(SET_PENDING).bind(user_no).bind(Vec::new()).bind(sealed);
        query.execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Makes `secret` the software token in use. `step` is the time step of its first code. Nothing
    /// is awaited any more, and the recovery codes of an earlier token are void.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn set_token(
        &mut self,
        user_no: i64,
        (secret, step): (&[u8], i64),
        entropy: &dyn Entropy,
    ) -> Result<()> {
        sqlx::query(REMOVE_CODES).bind(user_no).execute(&mut *self.inner).await?;
        let sealed = seal(&self.ring, user_no, "token", secret, entropy);
        let query = sqlx::query(SET_TOKEN).bind(user_no).bind(sealed).bind(Vec::new()).bind(step);
        query.execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Removes the software tokens of a user, and the recovery codes. The factors that are turned
    /// on stay as they are.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_token(&mut self, user_no: i64) -> Result<()> {
        sqlx::query(REMOVE_CODES).bind(user_no).execute(&mut *self.inner).await?;
        let none = Vec::<u8>::new;
        let query = sqlx::query(SET_TOKEN).bind(user_no).bind(none()).bind(none()).bind(0_i64);
        query.execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Stores which factors a user has turned on.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn set_enabled_factors(&mut self, user_no: i64, of: &UserFactors) -> Result<()> {
        sqlx::query(SET_ENABLED)
            .bind(user_no)
            .bind(Vec::new())
            .bind(names(of))
            .bind(of.preferred.map_or("", Factor::name))
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Records that the code of this time step was used. Returns false if it was, or a later one.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn use_token_step(&mut self, user_no: i64, step: i64) -> Result<bool> {
        let query = sqlx::query(USE_STEP).bind(user_no).bind(step);
        Ok(query.execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    /// Removes everything about the second factors of a user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_factors(&mut self, user_no: i64) -> Result<()> {
        sqlx::query(REMOVE_FACTORS).bind(user_no).execute(&mut *self.inner).await?;
        sqlx::query(REMOVE_CODES).bind(user_no).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Replaces the recovery codes of a user by those with these hashes.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn set_recovery_codes(&mut self, user_no: i64, hashes: &[[u8; 32]]) -> Result<()> {
        sqlx::query(REMOVE_CODES).bind(user_no).execute(&mut *self.inner).await?;
        for hash in hashes {
            sqlx::query(ADD_CODE).bind(user_no).bind(&hash[..]).execute(&mut *self.inner).await?;
        }
        Ok(())
    }

    /// Removes the recovery code with this hash. Returns false if there is none.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn use_recovery_code(&mut self, user_no: i64, hash: &[u8; 32]) -> Result<bool> {
        let query = sqlx::query(USE_CODE).bind(user_no).bind(&hash[..]);
        Ok(query.execute(&mut *self.inner).await?.rows_affected() > 0)
    }
}

async fn factors(connection: &mut AnyConnection, user_no: i64) -> Result<UserFactors> {
    let row = sqlx::query(FACTORS).bind(user_no).fetch_optional(connection).await?;
    row.map_or_else(|| Ok(UserFactors::default()), |row| read_factors(&row))
}

async fn secrets(connection: &mut AnyConnection, ring: &KeyRing, user_no: i64) -> Result<TokenSecrets> {
    let row = sqlx::query(SECRETS).bind(user_no).fetch_optional(connection).await?;
    let Some(row) = row else { return Ok(TokenSecrets::default()) };
    let secret = |column| open(ring, user_no, &row, column);
    Ok(TokenSecrets { current: secret("token")?, pending: secret("pending_token")? })
}

fn read_factors(row: &AnyRow) -> Result<UserFactors> {
    let token: Vec<u8> = row.try_get("token")?;
    let (enabled, preferred): (String, String) = (row.try_get("enabled")?, row.try_get("preferred")?);
    Ok(UserFactors {
        has_software_token: !token.is_empty(),
        enabled: enabled.split(SEPARATOR).filter_map(Factor::parse).collect(),
        preferred: Factor::parse(&preferred),
    })
}

/// Reads the second factors of a user, with the secret.
pub(super) fn read(ring: &KeyRing, user_no: i64, row: &AnyRow) -> Result<StoredFactors> {
    Ok(StoredFactors { factors: read_factors(row)?, token: open(ring, user_no, row, "token")? })
}

/// Returns the values of the columns `token`, `pending_token`, `enabled` and `preferred`.
pub(super) fn stored(
    ring: &KeyRing,
    user_no: i64,
    of: &StoredFactors,
    entropy: &dyn Entropy,
) -> (Vec<u8>, Vec<u8>, String, &'static str) {
    let token = of.token.as_ref().map(|secret| seal(ring, user_no, "token", secret, entropy));
    (token.unwrap_or_default(), Vec::new(), names(&of.factors), of.factors.preferred.map_or("", Factor::name))
}

/// Returns the value of the column `enabled`.
fn names(of: &UserFactors) -> String {
    let names: Vec<_> = of.enabled.iter().map(|factor| factor.name()).collect();
    names.join(SEPARATOR)
}

fn seal(ring: &KeyRing, user_no: i64, column: &str, plain: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    ring.seal(Purpose::AtRest, &context(user_no, column), plain, entropy)
}

/// Decrypts a secret. An empty column has none.
fn open(ring: &KeyRing, user_no: i64, row: &AnyRow, column: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let sealed: Vec<u8> = row.try_get(column)?;
    if sealed.is_empty() {
        return Ok(None);
    }
    let context = context(user_no, column);
    let plain = ring.open(Purpose::AtRest, &context, &sealed);
    plain.map(Some).map_err(|error| StoreError::Corrupt(format!("{context}: {error}")))
}

fn context(user_no: i64, column: &str) -> String {
    format!("{TABLE}/{user_no}/{column}")
}
