//! Groups of user pools, and their members.

use super::statements::{statements, user_columns};
use super::{Result, Store, Tx, users, within_deadline};
use crate::base::Timestamp;
use crate::model::{User, UserGroup};
use sqlx::Row;
use sqlx::any::AnyRow;

/// The value of the column `precedence` for a group without one.
const NO_PRECEDENCE: i64 = -1;

macro_rules! columns {
    () => {
        "g.no, g.pool, g.name, g.description, g.role, g.precedence, g.created_at, g.updated_at"
    };
}

statements! {
    BY_NAME = concat!("SELECT ", columns!(), " FROM user_groups g WHERE g.pool = $1 AND g.name = $2");
    PAGE = concat!(
        "SELECT ", columns!(), " FROM user_groups g WHERE g.pool = $1 AND g.no > $2 ORDER BY g.no LIMIT $3"
    );
    OF_USER = concat!(
        "SELECT ", columns!(), " FROM group_members m JOIN user_groups g ON g.no = m.group_no \
         WHERE m.user_no = $1 AND m.group_no > $2 ORDER BY m.group_no LIMIT $3"
    );
    MEMBERS = concat!(
        "SELECT ", user_columns!(), " FROM group_members m JOIN users u ON u.no = m.user_no AND u.no > 0 \
         WHERE m.group_no = $1 AND m.user_no > $2 ORDER BY m.user_no LIMIT $3"
    );
    ADD = "INSERT INTO user_groups (no, pool, name, description, role, precedence, created_at, updated_at) \
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (pool, name) DO NOTHING";
    SAVE = "UPDATE user_groups SET description = $2, role = $3, precedence = $4, updated_at = $5 WHERE no = $1";
    REMOVE_MEMBERS = "DELETE FROM group_members WHERE group_no = $1";
    REMOVE = "DELETE FROM user_groups WHERE no = $1";
    ADD_MEMBER = "INSERT INTO group_members (group_no, user_no, added_at) VALUES ($1, $2, $3) \
                  ON CONFLICT (group_no, user_no) DO NOTHING";
    REMOVE_MEMBER = "DELETE FROM group_members WHERE group_no = $1 AND user_no = $2";
}

impl Store {
    /// Returns at most `limit` groups of a pool after the number `after`, in the order of creation.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn groups(&self, pool: i64, after: i64, limit: u32) -> Result<Vec<UserGroup>> {
        within_deadline(async {
            let query = sqlx::query(PAGE).bind(pool).bind(after).bind(i64::from(limit));
            query.fetch_all(&self.pool).await?.iter().map(read).collect()
        })
        .await
    }

    /// Returns at most `limit` groups of a user after the number `after`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn groups_of_user(&self, user_no: i64, after: i64, limit: u32) -> Result<Vec<UserGroup>> {
        within_deadline(async {
            let query = sqlx::query(OF_USER).bind(user_no).bind(after).bind(i64::from(limit));
            query.fetch_all(&self.pool).await?.iter().map(read).collect()
        })
        .await
    }

    /// Returns at most `limit` members of a group after the user with the number `after`, without
    /// their provider accounts.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn group_members(&self, group_no: i64, after: i64, limit: u32) -> Result<Vec<User>> {
        within_deadline(async {
            let query = sqlx::query(MEMBERS).bind(group_no).bind(after).bind(i64::from(limit));
            query.fetch_all(&self.pool).await?.iter().map(users::read).collect()
        })
        .await
    }

    /// Returns the group of a pool with this name.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn group(&self, pool: i64, name: &str) -> Result<Option<UserGroup>> {
        within_deadline(async {
            let row = sqlx::query(BY_NAME).bind(pool).bind(name).fetch_optional(&self.pool).await?;
            row.as_ref().map(read).transpose()
        })
        .await
    }
}

impl Tx<'_> {
    /// Returns the group of a pool with this name.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn group(&mut self, pool: i64, name: &str) -> Result<Option<UserGroup>> {
        let row = sqlx::query(BY_NAME).bind(pool).bind(name).fetch_optional(&mut *self.inner).await?;
        row.as_ref().map(read).transpose()
    }

    /// Returns at most `limit` groups of a pool.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn groups(&mut self, pool: i64, limit: u32) -> Result<Vec<UserGroup>> {
        let query = sqlx::query(PAGE).bind(pool).bind(0_i64).bind(i64::from(limit));
        query.fetch_all(&mut *self.inner).await?.iter().map(read).collect()
    }

    /// Returns at most `limit` groups of a user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn groups_of_user(&mut self, user_no: i64, limit: u32) -> Result<Vec<UserGroup>> {
        let query = sqlx::query(OF_USER).bind(user_no).bind(0_i64).bind(i64::from(limit));
        query.fetch_all(&mut *self.inner).await?.iter().map(read).collect()
    }

    /// Adds `group`. Returns false if its name is taken.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_group(&mut self, group: &UserGroup) -> Result<bool> {
        let done = sqlx::query(ADD)
            .bind(group.no)
            .bind(group.pool)
            .bind(&group.name)
            .bind(&group.description)
            .bind(&group.role)
            .bind(group.precedence.map_or(NO_PRECEDENCE, i64::from))
            .bind(group.created_at.millis())
            .bind(group.updated_at.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores the description, the role and the precedence of `group`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn save_group(&mut self, group: &UserGroup) -> Result<()> {
        sqlx::query(SAVE)
            .bind(group.no)
            .bind(&group.description)
            .bind(&group.role)
            .bind(group.precedence.map_or(NO_PRECEDENCE, i64::from))
            .bind(group.updated_at.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Removes a group and its memberships.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_group(&mut self, group_no: i64) -> Result<()> {
        sqlx::query(REMOVE_MEMBERS).bind(group_no).execute(&mut *self.inner).await?;
        sqlx::query(REMOVE).bind(group_no).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Adds a user to a group. Returns false if the user is already a member.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_member(&mut self, group_no: i64, user_no: i64, now: Timestamp) -> Result<bool> {
        let add = sqlx::query(ADD_MEMBER).bind(group_no).bind(user_no).bind(now.millis());
        Ok(add.execute(&mut *self.inner).await?.rows_affected() > 0)
    }

    /// Removes a user from a group. Returns false if the user is not a member.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_member(&mut self, group_no: i64, user_no: i64) -> Result<bool> {
        let remove = sqlx::query(REMOVE_MEMBER).bind(group_no).bind(user_no);
        Ok(remove.execute(&mut *self.inner).await?.rows_affected() > 0)
    }
}

fn read(row: &AnyRow) -> Result<UserGroup> {
    Ok(UserGroup {
        no: row.try_get("no")?,
        pool: row.try_get("pool")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        role: row.try_get("role")?,
        precedence: u32::try_from(row.try_get::<i64, _>("precedence")?).ok(),
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
        updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
    })
}
