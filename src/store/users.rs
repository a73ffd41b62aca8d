//! Users and their provider accounts.

use super::pools::Counter;
use super::statements::{statements, user_columns};
use super::{Result, Store, StoreError, Tx, within_deadline};
use crate::base::{Entropy, Timestamp};
use crate::model::{
    Attributes, Identity, Pool, Profile, ProviderLink, SearchKey, User, UserStatus, is_link_issuer,
};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};
use std::collections::BTreeMap;

/// Pools per page in a search through all pools.
const POOLS_AT_ONCE: u32 = 100;

/// Attributes of no user, parsed to take the time of a real user's.
const SOME_ATTRIBUTES: &str =
    r#"{"email":"nobody@example.com","email_verified":"true","name":"Nobody","locale":"en"}"#;

statements! {
    BY_ID = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.id = $1");
    BY_NUMBER = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.no = $1 AND u.no > 0");
    BY_USERNAME =
        concat!("SELECT ", user_columns!(), " FROM users u WHERE u.pool_id = $1 AND u.username = $2");
    OF_POOL = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.pool_id = $1 ORDER BY u.no LIMIT $2");
    UNINDEXED = concat!("SELECT ", user_columns!(), " FROM users u WHERE u.indexed_version <> u.version");
    BY_KEY = "SELECT user_no FROM user_keys WHERE pool = $1 AND kind = $2 AND k = $3";
    BY_IDENTITY = "SELECT user_id FROM user_identities WHERE pool_id = $1 AND issuer = $2 AND subject = $3";
    IDENTITIES = "SELECT issuer, subject, provider, saml, attributes, provider_groups FROM user_identities \
                  WHERE user_id = $1 ORDER BY created_at, issuer, subject";
    ADD = "INSERT INTO users (id, no, pool_id, username, enabled, status, attributes, provider_groups, version, \
           indexed_version, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    MOVE_IDENTITIES = "UPDATE user_identities SET user_id = $2, attributes = COALESCE(attributes, $3), \
                       provider_groups = COALESCE(provider_groups, $4) WHERE user_id = $1";
    RENAME_PROVIDER =
        "UPDATE user_identities SET provider = $4 WHERE pool_id = $1 AND issuer = $2 AND subject = $3";
    REMOVE_IDENTITY = "DELETE FROM user_identities WHERE pool_id = $1 AND issuer = $2 AND subject = $3";
    SAVE = "UPDATE users SET enabled = $2, attributes = $3, provider_groups = $4, version = $5, updated_at = $6, \
            status = $7 WHERE id = $1";
    SAVE_PROFILE = "UPDATE user_identities SET attributes = $3, provider_groups = $4 \
                    WHERE user_id = $1 AND provider = $2 AND attributes IS NOT NULL";
}

impl Store {
    /// Returns the user with this `sub`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn user(&self, id: &str) -> Result<Option<User>> {
        within_deadline(async { load(&mut *self.pool.acquire().await?, id).await }).await
    }

    /// Returns the user with this number. The same statements run if there is none, so that the
    /// response time does not reveal it.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn user_by_number(&self, no: i64) -> Result<Option<User>> {
        within_deadline(async {
            let mut connection = self.pool.acquire().await?;
            let row = sqlx::query(BY_NUMBER).bind(no).fetch_optional(&mut *connection).await?;
            found(&mut connection, row.as_ref()).await
        })
        .await
    }

    /// Returns the user of a pool with exactly this user name.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn user_by_username(&self, pool_id: &str, username: &str) -> Result<Option<User>> {
        within_deadline(async { by_username(&mut *self.pool.acquire().await?, pool_id, username).await })
            .await
    }
}

impl Tx<'_> {
    /// Returns the user with this `sub`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn user(&mut self, id: &str) -> Result<Option<User>> {
        load(&mut self.inner, id).await
    }

    /// Returns the user with this number.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn user_by_number(&mut self, no: i64) -> Result<Option<User>> {
        match sqlx::query(BY_NUMBER).bind(no).fetch_optional(&mut *self.inner).await? {
            Some(row) => with_identities(&mut self.inner, &row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Returns the user of a pool with exactly this user name.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn user_by_username(&mut self, pool_id: &str, username: &str) -> Result<Option<User>> {
        by_username(&mut self.inner, pool_id, username).await
    }

    /// Returns at most `limit` users of a pool, including those without a number, without their
    /// provider accounts.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn users_of_pool(&mut self, pool_id: &str, limit: u32) -> Result<Vec<User>> {
        let query = sqlx::query(OF_POOL).bind(pool_id).bind(i64::from(limit));
        query.fetch_all(&mut *self.inner).await?.iter().map(read).collect()
    }

    /// Returns the users of all pools with this user name, `sub` or e-mail address.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn users_named(&mut self, name: &str) -> Result<Vec<User>> {
        let mut users: Vec<User> = self.user(name).await?.into_iter().collect();
        let mut after = i64::MIN;
        loop {
            let pools = self.pools(after, POOLS_AT_ONCE).await?;
            let Some(last) = pools.last() else { break };
            after = last.no;
            for pool in &pools {
                users.extend(self.user_by_username(&pool.id, name).await?);
                users.extend(self.users_by_email(pool, name).await?);
            }
        }
        // Rows written by an older node have no search key yet.
        for row in sqlx::query(UNINDEXED).fetch_all(&mut *self.inner).await? {
            users.push(with_identities(&mut self.inner, &row).await?);
        }
        let named = |user: &User| {
            user.id == name
                || user.username == name
                || user.email().is_some_and(|email| email.eq_ignore_ascii_case(name))
        };
        users.retain(named);
        users.sort_by(|one, other| one.id.cmp(&other.id));
        users.dedup_by(|one, other| one.id == other.id);
        Ok(users)
    }

    async fn users_by_email(&mut self, pool: &Pool, email: &str) -> Result<Vec<User>> {
        let key = SearchKey::Email;
        let numbers: Vec<i64> = sqlx::query_scalar(BY_KEY)
            .bind(pool.no)
            .bind(key as i64)
            .bind(key.stored(email))
            .fetch_all(&mut *self.inner)
            .await?;
        let mut users = Vec::new();
        for no in numbers {
            users.extend(self.user_by_number(no).await?);
        }
        Ok(users)
    }

    /// Returns the user that is linked to a provider account.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn user_by_identity(
        &mut self,
        pool_id: &str,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<User>> {
        // A link is no account.
        if is_link_issuer(issuer) {
            return Ok(None);
        }
        self.user_by_stored_account(pool_id, issuer, subject).await
    }

    /// Returns the user of an account or a link as it is stored.
    pub(super) async fn user_by_stored_account(
        &mut self,
        pool_id: &str,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<User>> {
        let id: Option<String> = sqlx::query_scalar(BY_IDENTITY)
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

    /// Adds `user`, who must have a number, with the provider accounts and the search keys.
    ///
    /// # Errors
    /// Returns an error if the database fails, or the user name is taken.
    pub async fn add_user(&mut self, user: &User, entropy: &dyn Entropy) -> Result<()> {
        let pool = self.get_or_add_pool(&user.pool_id, user.created_at, entropy).await?;
        sqlx::query(ADD)
            .bind(&user.id)
            .bind(user.no)
            .bind(&user.pool_id)
            .bind(&user.username)
            .bind(i64::from(user.enabled))
            .bind(user.status.name())
            .bind(json(&user.attributes)?)
            .bind(json(&user.groups)?)
            .bind(user.version)
            .bind(user.version)
            .bind(user.created_at.millis())
            .bind(user.updated_at.millis())
            .execute(&mut *self.inner)
            .await?;
        self.put_keys(&pool, user, &BTreeMap::new()).await?;
        self.count(pool.no, Counter::Users, 1, entropy).await?;
        for identity in &user.identities {
            self.add_account(user, identity, None, user.created_at).await?;
        }
        Ok(())
    }

    /// Moves the provider accounts of one user to another, each with the attributes from its
    /// provider.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn move_identities(&mut self, from: &User, to: &str) -> Result<()> {
        sqlx::query(MOVE_IDENTITIES)
            .bind(&from.id)
            .bind(to)
            .bind(json(&from.attributes)?)
            .bind(json(&from.groups)?)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Stores the current name of a provider account's provider.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn rename_provider(&mut self, pool_id: &str, identity: &Identity) -> Result<()> {
        sqlx::query(RENAME_PROVIDER)
            .bind(pool_id)
            .bind(&identity.issuer)
            .bind(&identity.subject)
            .bind(&identity.provider)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Removes a provider account from its user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_identity(&mut self, pool_id: &str, identity: &Identity) -> Result<()> {
        sqlx::query(REMOVE_IDENTITY)
            .bind(pool_id)
            .bind(&identity.issuer)
            .bind(&identity.subject)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Stores everything of `user` that can change, except the search keys: [`Tx::index_user`]
    /// stores them.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn save_user(&mut self, user: &User) -> Result<()> {
        sqlx::query(SAVE)
            .bind(&user.id)
            .bind(i64::from(user.enabled))
            .bind(json(&user.attributes)?)
            .bind(json(&user.groups)?)
            .bind(user.version)
            .bind(user.updated_at.millis())
            .bind(user.status.name())
            .execute(&mut *self.inner)
            .await?;
        for (provider, profile) in &user.profiles {
            sqlx::query(SAVE_PROFILE)
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
    match sqlx::query(BY_ID).bind(id).fetch_optional(&mut *connection).await? {
        Some(row) => with_identities(connection, &row).await.map(Some),
        None => Ok(None),
    }
}

pub(super) async fn by_username(
    connection: &mut AnyConnection,
    pool_id: &str,
    name: &str,
) -> Result<Option<User>> {
    match sqlx::query(BY_USERNAME).bind(pool_id).bind(name).fetch_optional(&mut *connection).await? {
        Some(row) => with_identities(connection, &row).await.map(Some),
        None => Ok(None),
    }
}

/// Reads a user, and fetches the provider accounts.
pub(super) async fn with_identities(connection: &mut AnyConnection, row: &AnyRow) -> Result<User> {
    let mut user = read(row)?;
    for row in sqlx::query(IDENTITIES).bind(&user.id).fetch_all(connection).await? {
        add_identity(&mut user, &row)?;
    }
    Ok(user)
}

/// Reads a user, if there is one, and fetches the provider accounts. The same statements run
/// without a user, so that the response time does not reveal whether a user exists.
pub(super) async fn found(connection: &mut AnyConnection, row: Option<&AnyRow>) -> Result<Option<User>> {
    match row {
        Some(row) => with_identities(connection, row).await.map(Some),
        None => {
            sqlx::query(IDENTITIES).bind("").fetch_all(connection).await?;
            let attributes = serde_json::from_str::<Attributes>(SOME_ATTRIBUTES);
            std::hint::black_box(attributes.is_ok());
            Ok(None)
        }
    }
}

/// Reads a user without the provider accounts.
pub(super) fn read(row: &AnyRow) -> Result<User> {
    let status: String = row.try_get("status")?;
    Ok(User {
        id: row.try_get("id")?,
        no: row.try_get("no")?,
        pool_id: row.try_get("pool_id")?,
        username: row.try_get("username")?,
        enabled: row.try_get::<i64, _>("enabled")? != 0,
        // A newer node may have stored a status that this version does not define.
        status: UserStatus::parse(&status).unwrap_or(UserStatus::Unknown),
        attributes: unjson(row, "attributes")?,
        groups: unjson(row, "provider_groups")?,
        identities: Vec::new(),
        links: Vec::new(),
        profiles: BTreeMap::new(),
        version: row.try_get("version")?,
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
        updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
    })
}

/// Reads a provider account, or a link, and adds it to `user`.
pub(super) fn add_identity(user: &mut User, row: &AnyRow) -> Result<()> {
    let identity = Identity {
        issuer: row.try_get("issuer")?,
        subject: row.try_get("subject")?,
        provider: row.try_get("provider")?,
        saml: row.try_get::<i64, _>("saml")? != 0,
    };
    if let Some(link) = ProviderLink::from_identity(&identity) {
        user.links.push(link);
        return Ok(());
    }
    if row.try_get::<Option<String>, _>("attributes")?.is_some() {
        let profile =
            Profile { attributes: unjson(row, "attributes")?, groups: unjson(row, "provider_groups")? };
        user.profiles.insert(identity.provider.clone(), profile);
    }
    user.identities.push(identity);
    Ok(())
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

pub(super) fn unjson<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|error| StoreError::Corrupt(format!("column {column}: {error}")))
}
