//! The consent of users to app clients.

use super::error::Outcome;
use super::service::DirectoryDeps;
use crate::model::{Consent, User};

impl DirectoryDeps {
    /// Returns whether a user has granted all of `scope` to a client.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn has_consent(&self, user_id: &str, client_id: &str, scope: &str) -> Outcome<bool> {
        let granted = self.store.consent(user_id, client_id).await?;
        Ok(granted.is_some_and(|granted| is_within(scope, &granted)))
    }

    /// Records that a user grants `scope` to a client, beside what was granted before.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn grant_consent(&self, user_id: &str, client_id: &str, scope: &str) -> Outcome<()> {
        let earlier = self.store.consent(user_id, client_id).await?.unwrap_or_default();
        let mut scopes: Vec<&str> = scope.split(' ').collect();
        scopes.extend(earlier.split(' ').filter(|one| !one.is_empty() && !is_within(one, scope)));
        let consent = &Consent {
            client_id: client_id.to_owned(),
            scope: scopes.join(" "),
            granted_at: self.clock.now(),
        };
        let save =
            self.store.transaction(|tx| Box::pin(async move { tx.save_consent(user_id, consent).await }));
        Ok(save.await?)
    }

    /// Withdraws a user's consent to a client, and ends the client's refresh tokens of that user.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn withdraw_consent(&self, user: &User, client_id: &str) -> Outcome<()> {
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        let withdraw = self.store.transaction(|tx| {
            Box::pin(async move {
                tx.remove_consent(&user.id, client_id).await?;
                tx.end_refresh_families_to(user.no, client_id, now, entropy).await
            })
        });
        Ok(withdraw.await?)
    }

    /// Returns the consents of a user, the latest first.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn consents(&self, user: &User) -> Outcome<Vec<Consent>> {
        Ok(self.store.consents(&user.id).await?)
    }
}

/// Returns whether every scope of `scope` is one of `granted`.
pub(super) fn is_within(scope: &str, granted: &str) -> bool {
    scope.split(' ').all(|one| granted.split(' ').any(|of| of == one))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consent_covers_its_scopes_alone() {
        for (scope, granted, expected) in [
            ("openid", "openid email", true),
            ("email openid", "openid email", true),
            ("openid profile", "openid email", false),
            ("open", "openid", false),
            ("openid", "", false),
        ] {
            assert_eq!(is_within(scope, granted), expected, "{scope:?} of {granted:?}");
        }
    }
}
