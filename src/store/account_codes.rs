//! Codes sent to users for sign-up, for the verification of attributes and for forgotten passwords.

use super::statements::statements;
use super::{Result, Tx};
use crate::base::Timestamp;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use sqlx::Row;

statements! {
    PUT = "INSERT INTO account_codes (user_no, purpose, target, hash, attempts, expires_at, sent_at, address) \
           VALUES ($1, $2, $3, $4, 0, $5, $6, $7) ON CONFLICT (user_no, purpose, target) DO UPDATE \
           SET hash = excluded.hash, attempts = 0, expires_at = excluded.expires_at, \
           sent_at = excluded.sent_at, address = excluded.address";
    ATTEMPT = "UPDATE account_codes SET attempts = attempts + 1 \
               WHERE user_no = $1 AND purpose = $2 AND target = $3 AND attempts < $4 \
               RETURNING hash, expires_at, address";
    WITHDRAW = "UPDATE account_codes SET attempts = attempts - 1 \
                WHERE user_no = $1 AND purpose = $2 AND target = $3";
    ADDRESS = "SELECT address FROM account_codes WHERE user_no = $1 AND purpose = $2 AND target = $3";
    USE = "DELETE FROM account_codes WHERE user_no = $1 AND purpose = $2 AND target = $3 AND hash = $4";
    REMOVE_OF_TARGET = "DELETE FROM account_codes WHERE user_no = $1 AND target = $2";
    REMOVE = "DELETE FROM account_codes WHERE user_no = $1 AND purpose = $2 AND target = $3";
}

/// The key of a code that was sent. The code itself is stored as a hash.
#[derive(Clone, Copy, Debug)]
pub struct AccountCode<'a> {
    /// The user's number.
    pub user_no: i64,
    /// The purpose, such as `sign_up`.
    pub purpose: &'a str,
    /// The attribute to which the code was sent, such as `email`.
    pub target: &'a str,
}

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeCheck {
    /// The hashes are equal. Contains the address to which the code was sent.
    /// [`Tx::use_account_code`] deletes the code.
    Match(String),
    /// The hashes differ.
    Mismatch,
    /// The code has expired.
    Expired,
    /// There were too many attempts with the code.
    UsedUp,
    /// No code is stored.
    Absent,
}

impl Tx<'_> {
    /// Stores the hash of a code that is sent to `address`, in place of an earlier one.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn put_account_code(
        &mut self,
        code: AccountCode<'_>,
        (hash, address): (&[u8; 32], &str),
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query(PUT)
            .bind(code.user_no)
            .bind(code.purpose)
            .bind(code.target)
            .bind(&hash[..])
            .bind(expires_at.millis())
            .bind(now.millis())
            .bind(address)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Compares `hash` with the stored hash, at most `max_attempts` times. Each mismatch is
    /// counted, so the transaction must be committed.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn check_account_code(
        &mut self,
        code: AccountCode<'_>,
        hash: &[u8; 32],
        max_attempts: u32,
        now: Timestamp,
    ) -> Result<CodeCheck> {
        let row = sqlx::query(ATTEMPT)
            .bind(code.user_no)
            .bind(code.purpose)
            .bind(code.target)
            .bind(i64::from(max_attempts))
            .fetch_optional(&mut *self.inner)
            .await?;
        let Some(row) = row else {
            return Ok(match self.account_code_address(code).await? {
                Some(_) => CodeCheck::UsedUp,
                None => CodeCheck::Absent,
            });
        };
        if row.try_get::<i64, _>("expires_at")? <= now.millis() {
            return Ok(CodeCheck::Expired);
        }
        if verify_slices_are_equal(&row.try_get::<Vec<u8>, _>("hash")?, hash).is_err() {
            return Ok(CodeCheck::Mismatch);
        }
        let withdraw = sqlx::query(WITHDRAW).bind(code.user_no).bind(code.purpose).bind(code.target);
        withdraw.execute(&mut *self.inner).await?;
        Ok(CodeCheck::Match(row.try_get("address")?))
    }

    /// Deletes a code that has matched, in the same transaction as the operation that it
    /// authorizes. Returns false if another request has used the code, or a newer code was sent.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn use_account_code(&mut self, code: AccountCode<'_>, hash: &[u8; 32]) -> Result<bool> {
        let remove = sqlx::query(USE).bind(code.user_no).bind(code.purpose).bind(code.target).bind(&hash[..]);
        Ok(remove.execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    /// Returns the address to which the current code was sent.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn account_code_address(&mut self, code: AccountCode<'_>) -> Result<Option<String>> {
        let query = sqlx::query_scalar(ADDRESS).bind(code.user_no).bind(code.purpose).bind(code.target);
        Ok(query.fetch_optional(&mut *self.inner).await?)
    }

    /// Removes all codes of a user that were sent to `target`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_account_codes_of_target(&mut self, user_no: i64, target: &str) -> Result<()> {
        let remove = sqlx::query(REMOVE_OF_TARGET).bind(user_no).bind(target);
        remove.execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Removes a code.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_account_code(&mut self, code: AccountCode<'_>) -> Result<()> {
        let remove = sqlx::query(REMOVE).bind(code.user_no).bind(code.purpose).bind(code.target);
        remove.execute(&mut *self.inner).await?;
        Ok(())
    }
}
