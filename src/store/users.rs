//! Users and their provider accounts.

use super::{Result, Store, StoreError, Tx, within_deadline};
use crate::base::Timestamp;
use crate::model::{Identity, Profile, User};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use std::collections::BTreeMap;

const COLUMNS: &str = "SELECT u.id, u.pool_id, u.username, u.enabled, u.attributes, u.provider_groups, u.version, \
                       u.created_at, u.updated_at FROM users u WHERE u.id = $1";

impl Store {
    /// The user with this `sub`.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn user(&self, id: &str) -> Result<Option<User>> {
        within_deadline(async { load(&mut *self.pool.acquire().await?, id).await }).await
    }
}

impl Tx<'_> {
    /// The user with this `sub`.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn user(&mut self, id: &str) -> Result<Option<User>> {
        load(&mut self.inner, id).await
    }

    /// The users whose name, `sub` or e-mail address this is.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn users_named(&mut self, who: &str) -> Result<Vec<User>> {
        // Addresses stand in JSON: this finds candidates, which are compared one by one below.
        let plain = who.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM users WHERE id = $1 OR username = $2 OR LOWER(attributes) LIKE LOWER($3) ESCAPE '\\'",
        )
        .bind(who)
        .bind(who)
        .bind(format!("%{plain}%"))
        .fetch_all(&mut *self.inner)
        .await?;
        let mut users = Vec::new();
        for id in ids {
            users.extend(self.user(&id).await?);
        }
        let called = |user: &User| {
            user.id == who
                || user.username == who
                || user.email().is_some_and(|email| email.eq_ignore_ascii_case(who))
        };
        users.retain(called);
        Ok(users)
    }

    /// The user that a provider account signs in as.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn user_by_identity(
        &mut self,
        pool_id: &str,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<User>> {
        let id: Option<String> = sqlx::query_scalar(
            "SELECT user_id FROM user_identities WHERE pool_id = $1 AND issuer = $2 AND subject = $3",
        )
        .bind(pool_id)
        .bind(issuer)
        .bind(subject)
        .fetch_optional(&mut *self.inner)
        .await?;
        match id {
            Some(id) => load(&mut self.inner, &id).await,
            None => Ok(None),
        }
    }

    /// Adds `user` with its identities.
    ///
    /// # Errors
    /// Where the store does not answer, or the user name is taken.
    pub async fn add_user(&mut self, user: &User) -> Result<()> {
        sqlx::query(
            "INSERT INTO users (id, pool_id, username, enabled, attributes, provider_groups, version, created_at, \
             updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(&user.id)
        .bind(&user.pool_id)
        .bind(&user.username)
        .bind(i64::from(user.enabled))
        .bind(json(&user.attributes)?)
        .bind(json(&user.groups)?)
        .bind(user.version)
        .bind(user.created_at.millis())
        .bind(user.updated_at.millis())
        .execute(&mut *self.inner)
        .await?;
        for identity in &user.identities {
            sqlx::query(
                "INSERT INTO user_identities (pool_id, issuer, subject, user_id, provider, created_at, saml) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(&user.pool_id)
            .bind(&identity.issuer)
            .bind(&identity.subject)
            .bind(&user.id)
            .bind(&identity.provider)
            .bind(user.created_at.millis())
            .bind(i64::from(identity.saml))
            .execute(&mut *self.inner)
            .await?;
        }
        Ok(())
    }

    /// Gives the provider accounts of one user to another, each with what its provider says.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn move_identities(&mut self, from: &User, to: &str) -> Result<()> {
        let sql = "UPDATE user_identities SET user_id = $2, attributes = COALESCE(attributes, $3), \
                   provider_groups = COALESCE(provider_groups, $4) WHERE user_id = $1";
        sqlx::query(sql)
            .bind(&from.id)
            .bind(to)
            .bind(json(&from.attributes)?)
            .bind(json(&from.groups)?)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Writes down under which name an account's provider is known now.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn rename_provider(&mut self, pool_id: &str, identity: &Identity) -> Result<()> {
        let sql =
            "UPDATE user_identities SET provider = $4 WHERE pool_id = $1 AND issuer = $2 AND subject = $3";
        sqlx::query(sql)
            .bind(pool_id)
            .bind(&identity.issuer)
            .bind(&identity.subject)
            .bind(&identity.provider)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Takes a provider account from its user.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn remove_identity(&mut self, pool_id: &str, identity: &Identity) -> Result<()> {
        sqlx::query("DELETE FROM user_identities WHERE pool_id = $1 AND issuer = $2 AND subject = $3")
            .bind(pool_id)
            .bind(&identity.issuer)
            .bind(&identity.subject)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Removes a user whose sessions have ended.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn remove_user(&mut self, id: &str) -> Result<()> {
        sqlx::query("DELETE FROM users WHERE id = $1").bind(id).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Saves what [`User::apply_profile`] changed.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn save_user(&mut self, user: &User) -> Result<()> {
        sqlx::query(
            "UPDATE users SET enabled = $2, attributes = $3, provider_groups = $4, version = $5, updated_at = $6 \
             WHERE id = $1",
        )
        .bind(&user.id)
        .bind(i64::from(user.enabled))
        .bind(json(&user.attributes)?)
        .bind(json(&user.groups)?)
        .bind(user.version)
        .bind(user.updated_at.millis())
        .execute(&mut *self.inner)
        .await?;
        for (provider, profile) in &user.profiles {
            let sql = "UPDATE user_identities SET attributes = $3, provider_groups = $4 \
                       WHERE user_id = $1 AND provider = $2 AND attributes IS NOT NULL";
            sqlx::query(sql)
                .bind(&user.id)
                .bind(provider)
                .bind(json(&profile.attributes)?)
                .bind(json(&profile.groups)?)
                .execute(&mut *self.inner)
                .await?;
        }
        Ok(())
    }
}

pub(super) async fn load(connection: &mut AnyConnection, id: &str) -> Result<Option<User>> {
    let Some(row) = sqlx::query(COLUMNS).bind(id).fetch_optional(&mut *connection).await? else {
        return Ok(None);
    };
    let identities = sqlx::query(
        "SELECT issuer, subject, provider, saml, attributes, provider_groups FROM user_identities WHERE user_id = $1 \
         ORDER BY created_at, issuer, subject",
    )
    .bind(id)
    .fetch_all(connection)
    .await?;
    let identity = |row: &AnyRow| {
        Ok(Identity {
            issuer: row.try_get("issuer")?,
            subject: row.try_get("subject")?,
            provider: row.try_get("provider")?,
            saml: row.try_get::<i64, _>("saml")? != 0,
        })
    };
    let mut profiles = BTreeMap::new();
    for row in &identities {
        if row.try_get::<Option<String>, _>("attributes")?.is_some() {
            let profile =
                Profile { attributes: unjson(row, "attributes")?, groups: unjson(row, "provider_groups")? };
            profiles.insert(row.try_get("provider")?, profile);
        }
    }
    Ok(Some(User {
        profiles,
        id: row.try_get("id")?,
        pool_id: row.try_get("pool_id")?,
        username: row.try_get("username")?,
        enabled: row.try_get::<i64, _>("enabled")? != 0,
        attributes: unjson(&row, "attributes")?,
        groups: unjson(&row, "provider_groups")?,
        identities: identities.iter().map(identity).collect::<Result<_>>()?,
        version: row.try_get("version")?,
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
        updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
    }))
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn unjson<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|error| StoreError::Corrupt(format!("users.{column}: {error}")))
}
