//! Accounts of identity providers that are linked to users, and links to accounts that have not
//! signed in yet. Both are rows of one table.

use super::statements::statements;
use super::users::json;
use super::{Result, Tx};
use crate::base::Timestamp;
use crate::model::{Identity, Profile, ProviderLink, User, is_link_issuer};

statements! {
    ADD = "INSERT INTO user_identities (pool_id, issuer, subject, user_id, provider, created_at, saml, attributes, \
           provider_groups) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    NEXT_ISSUER = "SELECT issuer FROM user_identities WHERE pool_id = $1 AND issuer > $2 ORDER BY issuer LIMIT 1";
}

impl Tx<'_> {
    /// Links a provider account to `user`. With a `profile`, the account's data are not the user's
    /// own.
    ///
    /// # Errors
    /// Returns an error if the database fails, or the account is linked.
    pub async fn add_account(
        &mut self,
        user: &User,
        identity: &Identity,
        profile: Option<&Profile>,
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query(ADD)
            .bind(&user.pool_id)
            .bind(&identity.issuer)
            .bind(&identity.subject)
            .bind(&user.id)
            .bind(&identity.provider)
            .bind(now.millis())
            .bind(i64::from(identity.saml))
            .bind(profile.map(|profile| json(&profile.attributes)).transpose()?)
            .bind(profile.map(|profile| json(&profile.groups)).transpose()?)
            .execute(&mut *self.inner)
            .await?;
        Ok(())
    }

    /// Returns the user that has this link.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn user_by_link(&mut self, pool_id: &str, link: &ProviderLink) -> Result<Option<User>> {
        let stored = link.to_identity();
        let user = self.user_by_stored_account(pool_id, &stored.issuer, &stored.subject).await?;
        Ok(user.filter(|user| user.links.contains(link)))
    }

    /// Returns the user that has an account of `provider` with this subject. The provider's issuer
    /// need not be known: each issuer of the pool is tried, by the index.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn user_by_subject(
        &mut self,
        pool_id: &str,
        provider: &str,
        subject: &str,
    ) -> Result<Option<(User, Identity)>> {
        let mut issuer = String::new();
        loop {
            let next = sqlx::query_scalar(NEXT_ISSUER).bind(pool_id).bind(&issuer);
            let next: Option<String> = next.fetch_optional(&mut *self.inner).await?;
            let Some(next) = next else { return Ok(None) };
            issuer = next;
            if is_link_issuer(&issuer) {
                continue;
            }
            let Some(user) = self.user_by_identity(pool_id, &issuer, subject).await? else { continue };
            let is_meant = |identity: &&Identity| {
                identity.provider == provider && identity.issuer == issuer && identity.subject == subject
            };
            if let Some(identity) = user.identities.iter().find(is_meant).cloned() {
                return Ok(Some((user, identity)));
            }
        }
    }
}
