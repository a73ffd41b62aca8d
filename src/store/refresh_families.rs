//! Refresh token families. A token is an encrypted pair of family and generation. The row contains
//! only the current generation, so that rotation needs no list of hashes.

use super::statements::statements;
use super::{Change, Result, Store, Tx, within_deadline};
use crate::base::{Duration, Entropy, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;

macro_rules! columns {
    () => {
        "id, user_no, client_id, generation, rotated_at, auth_time, scope, device_key, created_at, expires_at, dpop_jkt, \
         amr"
    };
}

statements! {
    BY_ID = concat!("SELECT ", columns!(), " FROM refresh_families WHERE id = $1");
    OF_USER =
        concat!("SELECT ", columns!(), " FROM refresh_families WHERE user_no = $1 ORDER BY created_at LIMIT $2");
    ADD = concat!(
        "INSERT INTO refresh_families (", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
    );
    ROTATE = "UPDATE refresh_families SET generation = generation + 1, rotated_at = $3 \
              WHERE id = $1 AND generation = $2";
    REMOVE = "DELETE FROM refresh_families WHERE id = $1";
    IDS_OF_USER = "SELECT id FROM refresh_families WHERE user_no = $1 AND id <> $2 ORDER BY created_at LIMIT $3";
    REVOKE_OF_USER = "INSERT INTO revoked_tokens (jti, expires_at) \
                      SELECT id, $3 FROM refresh_families WHERE user_no = $1 AND id <> $2 \
                      ON CONFLICT (jti) DO NOTHING";
    REMOVE_OF_USER = "DELETE FROM refresh_families WHERE user_no = $1 AND id <> $2";
    IDS_TO_CLIENT = "SELECT id FROM refresh_families WHERE user_no = $1 AND client_id = $2 ORDER BY created_at LIMIT $3";
    REVOKE_TO_CLIENT = "INSERT INTO revoked_tokens (jti, expires_at) \
                        SELECT id, $3 FROM refresh_families WHERE user_no = $1 AND client_id = $2 \
                        ON CONFLICT (jti) DO NOTHING";
    REMOVE_TO_CLIENT = "DELETE FROM refresh_families WHERE user_no = $1 AND client_id = $2";
    IDS_OF_DEVICE = "SELECT id FROM refresh_families WHERE user_no = $1 AND device_key = $2 ORDER BY created_at LIMIT $3";
    REVOKE_OF_DEVICE = "INSERT INTO revoked_tokens (jti, expires_at) \
                        SELECT id, $3 FROM refresh_families WHERE user_no = $1 AND device_key = $2 \
                        ON CONFLICT (jti) DO NOTHING";
    REMOVE_OF_DEVICE = "DELETE FROM refresh_families WHERE user_no = $1 AND device_key = $2";
    REVOKE_OF_CLIENT = "INSERT INTO revoked_tokens (jti, expires_at) \
                        SELECT id, $3 FROM refresh_families WHERE client_id = $1 AND id <= $2 \
                        ON CONFLICT (jti) DO NOTHING";
    IDS_OF_CLIENT = "SELECT id FROM refresh_families WHERE client_id = $1 ORDER BY id LIMIT $2";
    REMOVE_OF_CLIENT = "DELETE FROM refresh_families WHERE client_id = $1 AND id <= $2";
}

/// Maximum revoked tokens that are published as one change each.
const MAX_CHANGES: i64 = 16;
/// Maximum lifetime of an access token after its family has ended: a day (Cognito's
/// `AccessTokenValidity`), and an hour because clocks differ.
const MAX_ACCESS_TOKEN_VALIDITY: Duration = Duration::from_secs(25 * 3600);

/// The refresh tokens of one sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshFamily {
    /// A random id.
    pub id: String,
    /// The user's number.
    pub user_no: i64,
    /// The app client's id.
    pub client_id: String,
    /// The generation of the current token, starting at 1.
    pub generation: i64,
    /// When the current token was issued.
    pub rotated_at: Timestamp,
    /// When the user was authenticated.
    pub auth_time: Timestamp,
    /// The granted scopes, separated by spaces.
    pub scope: String,
    /// The key of the device; may be empty.
    pub device_key: String,
    /// When the user signed in.
    pub created_at: Timestamp,
    /// When all tokens of the family expire.
    pub expires_at: Timestamp,
    /// The thumbprint of the key to which the refresh tokens are bound (RFC 9449, section 5); empty
    /// if none.
    pub key: String,
    /// The authentication methods (RFC 8176).
    pub amr: Vec<String>,
}

impl Store {
    /// Returns the family with this id.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn refresh_family(&self, id: &str) -> Result<Option<RefreshFamily>> {
        within_deadline(async {
            let row = sqlx::query(BY_ID).bind(id).fetch_optional(&self.pool).await?;
            row.as_ref().map(read).transpose()
        })
        .await
    }

    /// Returns at most `limit` families of a user, the oldest first.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn refresh_families(&self, user_no: i64, limit: u32) -> Result<Vec<RefreshFamily>> {
        within_deadline(async {
            let query = sqlx::query(OF_USER).bind(user_no).bind(i64::from(limit));
            query.fetch_all(&self.pool).await?.iter().map(read).collect()
        })
        .await
    }
}

impl Tx<'_> {
    /// Returns the family with this id.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn refresh_family(&mut self, id: &str) -> Result<Option<RefreshFamily>> {
        let row = sqlx::query(BY_ID).bind(id).fetch_optional(&mut *self.inner).await?;
        row.as_ref().map(read).transpose()
    }

    /// Adds `family`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_refresh_family(&mut self, family: &RefreshFamily) -> Result<()> {
        sqlx::query(ADD)
            .bind(&family.id)
            .bind(family.user_no)
            .bind(&family.client_id)
            .bind(family.generation)
            .bind(family.rotated_at.millis())
            .bind(family.auth_time.millis())
            .bind(&family.scope)
            .bind(&family.device_key)
            .bind(family.created_at.millis())
            .bind(family.expires_at.millis())
            .bind(&family.key)
            .bind(family.amr.join(" "))
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Makes the generation after `current` the current one. Returns false if `current` is not the
    /// current generation: another request has rotated the family, or the family has ended.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn rotate_refresh_family(&mut self, id: &str, current: i64, now: Timestamp) -> Result<bool> {
        let rotate = sqlx::query(ROTATE).bind(id).bind(current).bind(now.millis());
        Ok(rotate.execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    /// Ends a family. Returns whether there was one.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_refresh_family(&mut self, id: &str) -> Result<bool> {
        let remove = sqlx::query(REMOVE).bind(id);
        Ok(remove.execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    /// Ends a family and revokes its access tokens, which contain the family's id in `origin_jti`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn end_refresh_family(
        &mut self,
        family: &RefreshFamily,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        self.end_refresh_family_of_id(&family.id, now, entropy).await
    }

    /// As [`Tx::end_refresh_family`], by the id of the family.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn end_refresh_family_of_id(
        &mut self,
        id: &str,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        self.remove_refresh_family(id).await?;
        self.revoke_token(id, now.plus(MAX_ACCESS_TOKEN_VALIDITY), entropy).await
    }

    /// Ends all families of a user except the one with the id `except`. The number of statements
    /// does not grow with the number of families.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn end_refresh_families(
        &mut self,
        user_no: i64,
        except: Option<&str>,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        let (except, until) = (except.unwrap_or_default(), now.plus(MAX_ACCESS_TOKEN_VALIDITY));
        let ids = sqlx::query_scalar(IDS_OF_USER).bind(user_no).bind(except).bind(MAX_CHANGES + 1);
        let ids: Vec<String> = ids.fetch_all(&mut *self.inner).await?;
        let revoke = sqlx::query(REVOKE_OF_USER).bind(user_no).bind(except).bind(until.millis());
        revoke.execute(&mut *self.inner).await?;
        sqlx::query(REMOVE_OF_USER).bind(user_no).bind(except).execute(&mut *self.inner).await?;
        self.publish_revoked(ids, until, entropy).await
    }

    /// Ends all families of a user that an app client has.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn end_refresh_families_to(
        &mut self,
        user_no: i64,
        client_id: &str,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        let until = now.plus(MAX_ACCESS_TOKEN_VALIDITY);
        let ids = sqlx::query_scalar(IDS_TO_CLIENT).bind(user_no).bind(client_id).bind(MAX_CHANGES + 1);
        let ids: Vec<String> = ids.fetch_all(&mut *self.inner).await?;
        let revoke = sqlx::query(REVOKE_TO_CLIENT).bind(user_no).bind(client_id).bind(until.millis());
        revoke.execute(&mut *self.inner).await?;
        sqlx::query(REMOVE_TO_CLIENT).bind(user_no).bind(client_id).execute(&mut *self.inner).await?;
        self.publish_revoked(ids, until, entropy).await
    }

    /// Ends all families of a user's device.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn end_refresh_families_of_device(
        &mut self,
        user_no: i64,
        device_key: &str,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        let until = now.plus(MAX_ACCESS_TOKEN_VALIDITY);
        let ids = sqlx::query_scalar(IDS_OF_DEVICE).bind(user_no).bind(device_key).bind(MAX_CHANGES + 1);
        let ids: Vec<String> = ids.fetch_all(&mut *self.inner).await?;
        let revoke = sqlx::query(REVOKE_OF_DEVICE).bind(user_no).bind(device_key).bind(until.millis());
        revoke.execute(&mut *self.inner).await?;
        sqlx::query(REMOVE_OF_DEVICE).bind(user_no).bind(device_key).execute(&mut *self.inner).await?;
        self.publish_revoked(ids, until, entropy).await
    }

    /// Ends at most `limit` families of an app client. Returns false if there were none.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn end_refresh_families_of_client(
        &mut self,
        client_id: &str,
        limit: u32,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<bool> {
        let until = now.plus(MAX_ACCESS_TOKEN_VALIDITY);
        let ids = sqlx::query_scalar(IDS_OF_CLIENT).bind(client_id).bind(i64::from(limit));
        let ids: Vec<String> = ids.fetch_all(&mut *self.inner).await?;
        let Some(last) = ids.last() else { return Ok(false) };
        let revoke = sqlx::query(REVOKE_OF_CLIENT).bind(client_id).bind(last).bind(until.millis());
        revoke.execute(&mut *self.inner).await?;
        sqlx::query(REMOVE_OF_CLIENT).bind(client_id).bind(last).execute(&mut *self.inner).await?;
        self.publish_revoked(ids, until, entropy).await?;
        Ok(true)
    }

    /// Publishes each revoked token; if there are more than `MAX_CHANGES`, publishes one change for
    /// all.
    async fn publish_revoked(
        &mut self,
        ids: Vec<String>,
        until: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        if i64::try_from(ids.len()).is_ok_and(|ids| ids > MAX_CHANGES) {
            return self.publish(&Change::Tokens, entropy).await;
        }
        for id in ids {
            self.publish(&Change::Token(id, until), entropy).await?;
        }
        Ok(())
    }
}

fn read(row: &AnyRow) -> Result<RefreshFamily> {
    let time = |column: &str| row.try_get(column).map(Timestamp::from_millis);
    let amr: String = row.try_get("amr")?;
    Ok(RefreshFamily {
        id: row.try_get("id")?,
        user_no: row.try_get("user_no")?,
        client_id: row.try_get("client_id")?,
        generation: row.try_get("generation")?,
        rotated_at: time("rotated_at")?,
        auth_time: time("auth_time")?,
        scope: row.try_get("scope")?,
        device_key: row.try_get("device_key")?,
        created_at: time("created_at")?,
        expires_at: time("expires_at")?,
        key: row.try_get("dpop_jkt")?,
        amr: amr.split_whitespace().map(str::to_owned).collect(),
    })
}
