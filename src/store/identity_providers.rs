//! Identity providers of user pools, and the identifiers by which requests select them. The
//! settings are encrypted because they contain the providers' secrets.

use super::statements::statements;
use super::{Result, Store, StoreError, Tx, users, within_deadline};
use crate::base::{Entropy, KeyRing, Purpose, Timestamp};
use crate::model::{IdentityProvider, ProviderKind};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

statements! {
    BY_NAME = "SELECT pool, name, kind, sealed, created_at, updated_at FROM identity_providers \
               WHERE pool = $1 AND name = $2";
    BY_IDENTIFIER = "SELECT name FROM provider_identifiers WHERE pool = $1 AND identifier = $2";
    PAGE = "SELECT pool, name, kind, sealed, created_at, updated_at FROM identity_providers \
            WHERE pool = $1 AND name > $2 ORDER BY name LIMIT $3";
    KINDS = "SELECT name, kind FROM identity_providers WHERE pool = $1 ORDER BY name";
    NAMES = "SELECT name FROM identity_providers WHERE pool = $1 ORDER BY name LIMIT $2";
    IDENTIFIERS = "SELECT identifier FROM provider_identifiers WHERE pool = $1 AND name = $2 ORDER BY identifier";
    ADD = "INSERT INTO identity_providers (pool, name, kind, sealed, created_at, updated_at) \
           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (pool, name) DO NOTHING";
    SAVE = "UPDATE identity_providers SET sealed = $3, updated_at = $4 WHERE pool = $1 AND name = $2";
    REMOVE = "DELETE FROM identity_providers WHERE pool = $1 AND name = $2";
    REMOVE_OF_POOL = "DELETE FROM identity_providers WHERE pool = $1";
    ADD_IDENTIFIER = "INSERT INTO provider_identifiers (pool, identifier, name) VALUES ($1, $2, $3) \
                      ON CONFLICT (pool, identifier) DO NOTHING";
    REMOVE_IDENTIFIERS = "DELETE FROM provider_identifiers WHERE pool = $1 AND name = $2";
    REMOVE_IDENTIFIERS_OF_POOL = "DELETE FROM provider_identifiers WHERE pool = $1";
}

impl Store {
    /// Returns the identity provider of a pool with this name.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn identity_provider(&self, pool: i64, name: &str) -> Result<Option<IdentityProvider>> {
        within_deadline(async { by_name(&mut *self.pool.acquire().await?, &self.ring, pool, name).await })
            .await
    }

    /// Returns the identity provider of a pool with this identifier.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn identity_provider_by_identifier(
        &self,
        pool: i64,
        identifier: &str,
    ) -> Result<Option<IdentityProvider>> {
        let name: Option<String> = within_deadline(async {
            let name = sqlx::query_scalar(BY_IDENTIFIER).bind(pool).bind(identifier);
            Ok(name.fetch_optional(&self.pool).await?)
        })
        .await?;
        match name {
            Some(name) => self.identity_provider(pool, &name).await,
            None => Ok(None),
        }
    }

    /// Returns at most `limit` identity providers of a pool after the name `after`, in the order of
    /// their names, without their identifiers.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn identity_providers(
        &self,
        pool: i64,
        after: &str,
        limit: u32,
    ) -> Result<Vec<IdentityProvider>> {
        within_deadline(async {
            let query = sqlx::query(PAGE).bind(pool).bind(after).bind(i64::from(limit));
            query.fetch_all(&self.pool).await?.iter().map(|row| read(&self.ring, row)).collect()
        })
        .await
    }

    /// Returns the name and the kind of each identity provider of a pool. Does not decrypt the
    /// settings.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn identity_provider_kinds(&self, pool: i64) -> Result<Vec<(String, &'static str)>> {
        within_deadline(async {
            let rows = sqlx::query(KINDS).bind(pool).fetch_all(&self.pool).await?;
            let kind = |row: &AnyRow| {
                let (name, kind): (String, String) = (row.try_get("name")?, row.try_get("kind")?);
                Ok((name, ProviderKind::parse(&kind).map_or("", ProviderKind::name)))
            };
            rows.iter().map(kind).collect()
        })
        .await
    }
}

impl Tx<'_> {
    /// Returns the identity provider of a pool with this name.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn identity_provider(&mut self, pool: i64, name: &str) -> Result<Option<IdentityProvider>> {
        by_name(&mut self.inner, &self.ring, pool, name).await
    }

    /// Returns the names of at most `limit` identity providers of a pool.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn identity_provider_names(&mut self, pool: i64, limit: u32) -> Result<Vec<String>> {
        let names = sqlx::query_scalar(NAMES).bind(pool).bind(i64::from(limit));
        Ok(names.fetch_all(&mut *self.inner).await?)
    }

    /// Adds `provider` without its identifiers. Returns false if its name is taken.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn add_identity_provider(
        &mut self,
        provider: &IdentityProvider,
        entropy: &dyn Entropy,
    ) -> Result<bool> {
        let sealed = seal(&self.ring, provider, entropy)?;
        let done = sqlx::query(ADD)
            .bind(provider.pool)
            .bind(&provider.name)
            .bind(provider.kind.name())
            .bind(sealed)
            .bind(provider.created_at.millis())
            .bind(provider.updated_at.millis())
            .execute(&mut *self.inner)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Stores the settings of `provider`.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn save_identity_provider(
        &mut self,
        provider: &IdentityProvider,
        entropy: &dyn Entropy,
    ) -> Result<()> {
        let sealed = seal(&self.ring, provider, entropy)?;
        let save = sqlx::query(SAVE).bind(provider.pool).bind(&provider.name).bind(sealed);
        save.bind(provider.updated_at.millis()).execute(&mut *self.inner).await?;
        Ok(())
    }

    /// Replaces the identifiers of `provider`. Returns the first one that another provider already
    /// has.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn set_provider_identifiers<'p>(
        &mut self,
        provider: &'p IdentityProvider,
    ) -> Result<Option<&'p str>> {
        let remove = sqlx::query(REMOVE_IDENTIFIERS).bind(provider.pool).bind(&provider.name);
        remove.execute(&mut *self.inner).await?;
        for identifier in &provider.identifiers {
            let add = sqlx::query(ADD_IDENTIFIER).bind(provider.pool).bind(identifier).bind(&provider.name);
            if add.execute(&mut *self.inner).await?.rows_affected() == 0 {
                return Ok(Some(identifier));
            }
        }
        Ok(None)
    }

    /// Removes an identity provider and its identifiers. Returns whether there was one.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_identity_provider(&mut self, pool: i64, name: &str) -> Result<bool> {
        sqlx::query(REMOVE_IDENTIFIERS).bind(pool).bind(name).execute(&mut *self.inner).await?;
        let removed = sqlx::query(REMOVE).bind(pool).bind(name).execute(&mut *self.inner).await?;
        Ok(removed.rows_affected() > 0)
    }

    /// Removes every identity provider of a pool, and their identifiers.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn remove_identity_providers(&mut self, pool: i64) -> Result<()> {
        for statement in [REMOVE_IDENTIFIERS_OF_POOL, REMOVE_OF_POOL] {
            sqlx::query(statement).bind(pool).execute(&mut *self.inner).await?;
        }
        Ok(())
    }
}

async fn by_name(
    connection: &mut AnyConnection,
    ring: &KeyRing,
    pool: i64,
    name: &str,
) -> Result<Option<IdentityProvider>> {
    let row = sqlx::query(BY_NAME).bind(pool).bind(name).fetch_optional(&mut *connection).await?;
    let Some(row) = row else { return Ok(None) };
    let identifiers = sqlx::query_scalar(IDENTIFIERS).bind(pool).bind(name).fetch_all(connection).await?;
    Ok(Some(IdentityProvider { identifiers, ..read(ring, &row)? }))
}

/// Returns the context with which settings are encrypted: table, row and column.
fn context(pool: i64, name: &str) -> String {
    format!("identity_providers/{pool}/{name}/sealed")
}

fn seal(ring: &KeyRing, provider: &IdentityProvider, entropy: &dyn Entropy) -> Result<Vec<u8>> {
    let plain = zeroize::Zeroizing::new(users::json(&provider.settings)?);
    let context = context(provider.pool, &provider.name);
    Ok(ring.seal(Purpose::AtRest, &context, plain.as_bytes(), entropy))
}

fn read(ring: &KeyRing, row: &AnyRow) -> Result<IdentityProvider> {
    let (pool, name): (i64, String) = (row.try_get("pool")?, row.try_get("name")?);
    let context = context(pool, &name);
    let corrupt = |why: String| StoreError::Corrupt(format!("{context}: {why}"));
    let sealed: Vec<u8> = row.try_get("sealed")?;
    let plain = ring.open(Purpose::AtRest, &context, &sealed).map_err(|error| corrupt(error.to_string()))?;
    let kind: String = row.try_get("kind")?;
    Ok(IdentityProvider {
        kind: ProviderKind::parse(&kind).ok_or_else(|| corrupt(format!("kind `{kind}` is not known")))?,
        settings: serde_json::from_slice(&plain).map_err(|_| corrupt("not JSON".to_owned()))?,
        identifiers: Vec::new(),
        created_at: Timestamp::from_millis(row.try_get("created_at")?),
        updated_at: Timestamp::from_millis(row.try_get("updated_at")?),
        pool,
        name,
    })
}
