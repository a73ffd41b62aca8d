//! Events of sign-ins with accounts of identity providers.

use super::{ConfirmationSource, PoolEvents};
use crate::directory::error::Outcome;
use crate::directory::federated::FederatedAccount;
use crate::directory::provider_links::{LinkedUser, find_linked_user};
use crate::directory::service::Directory;
use crate::model::{Pool, User};
use crate::trigger::{
    ClientData, InboundFederation, Metadata, PreAuthentication, PreSignUp, ProviderAttributes, Subject,
};
use serde_json::{Map, Value};
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

    /// Returns what a provider says of a user, as the pool's function changes it. `claims` are the
    /// provider's.
    ///
    /// # Errors
    /// Returns the function's refusal, or why it gave no valid answer.
    pub async fn inbound_claims(
        &self,
        (pool_id, client_id): (&str, &str),
        provider: InboundProvider<'_>,
        claims: Map<String, Value>,
    ) -> Outcome<Map<String, Value>> {
        let Some(pool) = self.pools.pool(pool_id).await? else { return Ok(claims) };
        if !self.events.triggers.has::<InboundFederation<'_>>(&pool) {
            return Ok(claims);
        }
        let said: Metadata = claims.iter().map(|(name, value)| (name.clone(), text_of(value))).collect();
        let attributes = match provider.is_saml {
            true => ProviderAttributes { saml_response: Some(said.clone()), id_token: None },
            false => ProviderAttributes { id_token: Some(said.clone()), saml_response: None },
        };
        let InboundProvider { name, kind, subject, .. } = provider;
        let event = InboundFederation { provider_name: name, provider_type: kind, attributes };
        let username = format!("{name}_{subject}");
        let subject = Subject { pool: &pool, client_id: Some(client_id), username: &username };
        let answer = self.events.triggers.call(subject, "InboundFederation_ExternalProvider", &event).await?;
        let changed = answer.and_then(|answer| answer.user_attributes_to_map).unwrap_or_default();
        // AWS: an empty object retains all attributes; one that is left out is dropped.
        match changed.is_empty() {
            true => Ok(claims),
            false => Ok(with_changes(&claims, &said, changed)),
        }
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

/// The provider of a sign-in.
#[derive(Clone, Copy, Debug)]
pub struct InboundProvider<'a> {
    /// The name.
    pub name: &'a str,
    /// The type, as in Cognito's API.
    pub kind: &'a str,
    /// Whether it sends SAML assertions.
    pub is_saml: bool,
    /// The account there.
    pub subject: &'a str,
}

/// Returns a claim as a text: JSON, if it is none.
fn text_of(claim: &Value) -> String {
    claim.as_str().map_or_else(|| claim.to_string(), str::to_owned)
}

/// Returns the claims of an answer. A text that the function did not change is the provider's
/// claim; a list, which groups are, may be JSON.
fn with_changes(claims: &Map<String, Value>, said: &Metadata, changed: Metadata) -> Map<String, Value> {
    let list = |text: &str| serde_json::from_str::<Vec<String>>(text).ok().map(Value::from);
    let claim = |name: &str, text: String| match claims.get(name).filter(|_| said.get(name) == Some(&text)) {
        Some(claim) => claim.clone(),
        None => list(&text).unwrap_or(Value::String(text)),
    };
    changed
        .into_iter()
        .map(|(name, text)| {
            let value = claim(&name, text);
            (name, value)
        })
        .collect()
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
