//! Sign-in names of users. Each name belongs to one user of its pool.

use super::statements::{statements, user_columns};
use super::{Result, Store, StoreError, Tx, users, within_deadline};
use crate::model::{NameKind, Pool, SignInName, User};
use sqlx::{AnyConnection, Row};

statements! {
    USER = concat!(
        "SELECT ", user_columns!(), " FROM sign_in_names s JOIN users u ON u.no = s.user_no AND u.no > 0 \
         WHERE s.pool = $1 AND s.name = $2"
    );
    HOLDER = "SELECT user_no, kind FROM sign_in_names WHERE pool = $1 AND name = $2";
    CLAIM = "INSERT INTO sign_in_names (pool, name, user_no, kind) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (pool, name) DO NOTHING";
    SET_KIND = "UPDATE sign_in_names SET kind = $4 WHERE pool = $1 AND name = $2 AND user_no = $3";
    RELEASE = "DELETE FROM sign_in_names WHERE pool = $1 AND name = $2 AND user_no = $3";
}

/// The holder of a sign-in name: the user's number and the name's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameHolder {
    /// The user's number.
    pub user_no: i64,
    /// Which attribute of the user the name is.
    pub kind: NameKind,
}

/// The names by which a user can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The names with which users sign in: user name and aliases.
    SignIn,
    /// Also the `sub`, and the user name of a provider's user.
    Administrator,
}

/// Maximum length of a name for a look-up, in bytes.
const MAX_LOOKUP: usize = 8192;

impl Store {
    /// Returns the user of `pool` with this name.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn find_user(&self, pool: &Pool, name: &str, lookup: Lookup) -> Result<Option<User>> {
        within_deadline(async { find(&mut *self.pool.acquire().await?, pool, name, lookup).await }).await
    }
}

impl Tx<'_> {
    /// Returns the user of `pool` with this name.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn find_user(&mut self, pool: &Pool, name: &str, lookup: Lookup) -> Result<Option<User>> {
        find(&mut self.inner, pool, name, lookup).await
    }

    /// Returns the holder of a name.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn holder_of_name(&mut self, pool: i64, name: &[u8]) -> Result<Option<NameHolder>> {
        let row = sqlx::query(HOLDER).bind(pool).bind(name).fetch_optional(&mut *self.inner).await?;
        let Some(row) = row else { return Ok(None) };
        let number: i64 = row.try_get("kind")?;
        let kind = NameKind::from_number(number)
            .ok_or_else(|| StoreError::Corrupt(format!("sign_in_names.kind: {number} is not known")))?;
        Ok(Some(NameHolder { user_no: row.try_get("user_no")?, kind }))
    }

    /// Assigns an unused name to a user. Returns false if the name belongs to a user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn claim_name(&mut self, pool: i64, name: &SignInName, user_no: i64) -> Result<bool> {
        let claim = sqlx::query(CLAIM).bind(pool).bind(&name.name[..]).bind(user_no).bind(name.kind as i64);
        Ok(claim.execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    /// Changes the kind of a name.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn set_name_kind(&mut self, pool: i64, name: &SignInName, user_no: i64) -> Result<()> {
        let change =
            sqlx::query(SET_KIND).bind(pool).bind(&name.name[..]).bind(user_no).bind(name.kind as i64);
        change.execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Removes a name from its user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn release_name(&mut self, pool: i64, name: &[u8], user_no: i64) -> Result<()> {
        sqlx::query(RELEASE).bind(pool).bind(name).bind(user_no).execute(&mut *self.inner).await?;
        Ok(())
    }
}

async fn find(
    connection: &mut AnyConnection,
    pool: &Pool,
    name: &str,
    lookup: Lookup,
) -> Result<Option<User>> {
    if name.is_empty() || name.len() > MAX_LOOKUP {
        return Ok(None);
    }
    let stored = pool.stored_name(name);
    let row = sqlx::query(USER).bind(pool.no).bind(stored).fetch_optional(&mut *connection).await?;
    if row.is_some() || lookup == Lookup::SignIn {
        return users::found(connection, row.as_ref()).await;
    }
    match users::by_username(connection, &pool.id, name).await? {
        Some(user) => Ok(Some(user)),
        None => Ok(users::load(connection, name).await?.filter(|user| user.pool_id == pool.id)),
    }
}
