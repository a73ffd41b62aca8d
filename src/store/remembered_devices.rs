//! Remembered devices of users. The verifiers of their secrets are encrypted.

use super::statements::statements;
use super::{Result, Store, StoreError, Tx, within_deadline};
use crate::base::{Entropy, KeyRing, Purpose, Timestamp};
use sqlx::Row;
use sqlx::any::AnyRow;
use zeroize::Zeroizing;

/// The table, and the context with which verifiers are encrypted.
const TABLE: &str = "remembered_devices";

macro_rules! columns {
    () => {
        "device_key, name, verifier, is_remembered, address, created_at, changed_at, used_at"
    };
}

statements! {
    DEVICE = concat!("SELECT ", columns!(), " FROM remembered_devices WHERE user_no = $1 AND device_key = $2");
    DEVICES = concat!("SELECT ", columns!(), " FROM remembered_devices WHERE user_no = $1 ORDER BY device_key");
    SESSION = "SELECT session FROM remembered_devices WHERE user_no = $1 AND device_key = $2";
    ADD = "INSERT INTO remembered_devices (user_no, device_key, name, verifier, is_remembered, address, session, \
           created_at, changed_at, used_at) VALUES ($1, $2, $3, $4, $5, $6, '', $7, $8, $9)";
    SET_REMEMBERED = "UPDATE remembered_devices SET is_remembered = $3, changed_at = $4 \
                      WHERE user_no = $1 AND device_key = $2";
    SET_SESSION = "UPDATE remembered_devices SET session = $3 WHERE user_no = $1 AND device_key = $2";
    USE = "UPDATE remembered_devices SET used_at = $3, address = $4, session = '' \
           WHERE user_no = $1 AND device_key = $2";
    REMOVE = "DELETE FROM remembered_devices WHERE user_no = $1 AND device_key = $2";
    REMOVE_ALL = "DELETE FROM remembered_devices WHERE user_no = $1";
}

/// A device of a user.
#[derive(Clone, PartialEq, Eq)]
pub struct RememberedDevice {
    /// The key.
    pub key: String,
    /// The name that the app gave; may be empty.
    pub name: String,
    /// The verifier of the device's secret.
    pub verifier: Zeroizing<Vec<u8>>,
    /// Whether a sign-in with the device needs no second factor.
    pub is_remembered: bool,
    /// The address of its last sign-in; may be empty.
    pub address: String,
    /// When it was confirmed.
    pub created_at: Timestamp,
    /// When it was changed.
    pub changed_at: Timestamp,
    /// When a user signed in with it.
    pub used_at: Timestamp,
}

impl std::fmt::Debug for RememberedDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RememberedDevice").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Store {
    /// Returns the device of a user with this key.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remembered_device(&self, user_no: i64, key: &str) -> Result<Option<RememberedDevice>> {
        within_deadline(async {
            let row = sqlx::query(DEVICE).bind(user_no).bind(key).fetch_optional(&self.pool).await?;
            row.map(|row| read(&self.ring, user_no, &row)).transpose()
        })
        .await
    }

    /// Returns the devices of a user, by key.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remembered_devices(&self, user_no: i64) -> Result<Vec<RememberedDevice>> {
        within_deadline(async {
            let rows = sqlx::query(DEVICES).bind(user_no).fetch_all(&self.pool).await?;
            rows.iter().map(|row| read(&self.ring, user_no, row)).collect()
        })
        .await
    }

    /// Returns the sign-in that waits for a device; `None` without one.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn session_of_device(&self, user_no: i64, key: &str) -> Result<Option<String>> {
        within_deadline(async {
            let row = sqlx::query_scalar(SESSION).bind(user_no).bind(key).fetch_optional(&self.pool).await?;
            Ok(row.filter(|session: &String| !session.is_empty()))
        })
        .await
    }
}

impl Tx<'_> {
    /// Returns the devices of a user, by key.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remembered_devices(&mut self, user_no: i64) -> Result<Vec<RememberedDevice>> {
        let rows = sqlx::query(DEVICES).bind(user_no).fetch_all(&mut *self.inner).await?;
        rows.iter().map(|row| read(&self.ring, user_no, row)).collect()
    }

    /// Adds a device of a user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_remembered_device(
        &mut self,
        user_no: i64,
        of: &RememberedDevice,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        let context = context(user_no, &of.key);
        let verifier = self.ring.seal(Purpose::AtRest, &context, &of.verifier, entropy);
        let query = sqlx::query(ADD).bind(user_no).bind(&of.key).bind(&of.name).bind(verifier);
        let query = query.bind(i64::from(of.is_remembered)).bind(&of.address).bind(of.created_at.millis());
        query.bind(of.changed_at.millis()).bind(of.used_at.millis()).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Sets whether a device is remembered. Returns false if there is no such device.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn set_device_remembered(
        &mut self,
        user_no: i64,
        key: &str,
        is_remembered: bool,
        now: Timestamp,
    ) -> Result<bool> {
        let query = sqlx::query(SET_REMEMBERED).bind(user_no).bind(key).bind(i64::from(is_remembered));
        Ok(query.bind(now.millis()).execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    /// Stores the sign-in that waits for a device, in place of an earlier one.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn set_device_session(&mut self, user_no: i64, key: &str, session: &str) -> Result<()> {
        sqlx::query(SET_SESSION).bind(user_no).bind(key).bind(session).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Records a sign-in with a device. Returns false if there is no such device.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn use_remembered_device(
        &mut self,
        user_no: i64,
        key: &str,
        (address, now): (&str, Timestamp),
    ) -> Result<bool> {
        let query = sqlx::query(USE).bind(user_no).bind(key).bind(now.millis()).bind(address);
        Ok(query.execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    /// Removes a device. Returns false if there is no such device.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_remembered_device(&mut self, user_no: i64, key: &str) -> Result<bool> {
        let query = sqlx::query(REMOVE).bind(user_no).bind(key);
        Ok(query.execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    /// Removes all devices of a user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_remembered_devices(&mut self, user_no: i64) -> Result<()> {
        sqlx::query(REMOVE_ALL).bind(user_no).execute(&mut *self.inner).await?;
        Ok(())
    }
}

fn read(ring: &KeyRing, user_no: i64, row: &AnyRow) -> Result<RememberedDevice> {
    let key: String = row.try_get("device_key")?;
    let context = context(user_no, &key);
    let sealed: Vec<u8> = row.try_get("verifier")?;
    let verifier = ring.open(Purpose::AtRest, &context, &sealed);
    let time = |column| row.try_get(column).map(Timestamp::from_millis);
    Ok(RememberedDevice {
        name: row.try_get("name")?,
        verifier: verifier.map_err(|error| StoreError::Corrupt(format!("{context}: {error}")))?,
        is_remembered: row.try_get::<i64, _>("is_remembered")? != 0,
        address: row.try_get("address")?,
        created_at: time("created_at")?,
        changed_at: time("changed_at")?,
        used_at: time("used_at")?,
        key,
    })
}

fn context(user_no: i64, key: &str) -> String {
    format!("{TABLE}/{user_no}/{key}")
}
