//! Events of sign-ins with accounts of identity providers.

use super::{ConfirmationSource, PoolEvents};
use crate::directory::error::Outcome;
use crate::directory::federated::FederatedAccount;
use crate::directory::provider_links::{LinkedUser, find_linked_user};
use crate::directory::service::Directory;
use crate::model::{Pool, User};
use crate::trigger::{ClientData, PreAuthentication, PreSignUp, Subject};
use std::sync::Arc;

impl Directory {
    /// Asks the functions of a pool whether the user of an account may sign in, before anything is
    /// stored. Meanwhile the function for new users may link the account to a user.
    ///
    /// # Errors
    /// Returns the function's refusal, or why it gave no valid answer.
    pub async fn before_federated_sign_in(
        &self,
        (pool_id, client_id): (&str, &str),
        account: &FederatedAccount,
    ) -> Outcome<()> {
        let Some(pool) = self.pools.pool(pool_id).await? else { return Ok(()) };
        self.events.before_federated_sign_in((&pool, client_id), account).await
    }

    /// Calls the functions of a pool after a sign-in with an account. `is_new` is whether the user
    /// was created.
    ///
    /// # Errors
    /// Returns the function's refusal, or why it gave no valid answer.
    pub async fn after_federated_sign_in(
        &self,
        (pool_id, client_id): (&str, &str),
        user: &User,
        is_new: bool,
    ) -> Outcome<()> {
        let Some(pool): Option<Arc<Pool>> = self.pools.pool(pool_id).await? else { return Ok(()) };
        let subject = Subject { pool: &pool, client_id: Some(client_id), username: &user.username };
        let (events, data) = (&self.events, ClientData::default());
        match is_new {
            true => events.post_confirmation(subject, ConfirmationSource::SignUp, user, data).await,
            false => events.call_post_authentication(subject, (user, false), data).await,
        }
    }
}

impl PoolEvents {
    async fn before_federated_sign_in(
        &self,
        (pool, client_id): (&Pool, &str),
        account: &FederatedAccount,
    ) -> Outcome<()> {
        let triggers = &self.triggers;
        if !triggers.has::<PreSignUp<'_>>(pool) && !triggers.has::<PreAuthentication<'_>>(pool) {
            return Ok(());
        }
        let identity = &account.identity;
        let owner = self.store.transaction(|tx| {
            Box::pin(async move {
                let known = tx.user_by_identity(&pool.id, &identity.issuer, &identity.subject).await?;
                let linked = match known {
                    Some(_) => LinkedUser::None,
                    None => find_linked_user(tx, &pool.id, account).await?,
                };
                Ok((known, linked))
            })
        });
        let subject = |username| Subject { pool, client_id: Some(client_id), username };
        let data = ClientData::default();
        match owner.await? {
            (Some(user), _) => self.call_pre_authentication(subject(&user.username), Some(&user), data).await,
            (None, LinkedUser::One(user, _)) => {
                self.call_pre_authentication(subject(&user.username), Some(&user), data).await
            }
            // The sign-in itself reports it.
            (None, LinkedUser::Several) => Ok(()),
            (None, LinkedUser::None) => {
                let event = PreSignUp {
                    user_attributes: account.attributes.iter().collect(),
                    validation_data: None,
                    client_metadata: None,
                };
                // Functions split Cognito's name of a provider's user into provider and subject.
                let username = format!("{}_{}", identity.provider, identity.subject);
                triggers.call(subject(&username), "PreSignUp_ExternalProvider", &event).await?;
                Ok(())
            }
        }
    }
}
