//! Renewing what a provider says of a signed-in person: once, however many requests on however many
//! nodes wait for it, since many providers take a refresh token only once.

use super::{Broker, mapping};
use crate::base::{Duration, Timestamp};
use crate::catalogue::Catalogue;
use crate::directory;
use crate::model::{Identity, ProviderTokens, Session};
use crate::provider::{ExternalIdentity, ProviderError};
use crate::store::{Change, Lease, StoreError};

/// How long one node may take: longer than any call to a provider does.
const LEASE: Duration = Duration::from_secs(30);
/// How often it is asked whether another node is done.
const ASK: Duration = Duration::from_millis(100);
/// After how long a renewal is tried again that the provider did not answer.
const AGAIN: Duration = Duration::from_secs(30);

/// What the lease holder needs.
struct Holder {
    session: Session,
    identity: Identity,
    tokens: ProviderTokens,
}

enum Turn {
    Mine(Box<Holder>),
    Elsewhere,
    NotDue,
}

impl Broker {
    /// Renews the provider's tokens of a session, and what it says of the person, if they are due. A
    /// provider that refuses ends the session; one that does not answer is asked again later. Answers
    /// what changed.
    ///
    /// Must not be dropped half-way: a refresh token that was used and not replaced is lost.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn renew(&self, catalogue: &Catalogue, session_id: &str) -> Result<Vec<Change>, StoreError> {
        let heard = || vec![Change::Session(session_id.to_owned())];
        let begun = self.clock.now();
        loop {
            match self.take_turn(session_id).await? {
                Turn::Mine(holder) => return self.renew_mine(catalogue, *holder).await,
                Turn::NotDue => return Ok(heard()),
                Turn::Elsewhere if self.clock.now().since(begun) > LEASE => return Err(StoreError::Timeout),
                Turn::Elsewhere => tokio::time::sleep(ASK).await,
            }
        }
    }

    async fn take_turn(&self, session_id: &str) -> Result<Turn, StoreError> {
        let now = self.clock.now();
        self.store
            .transaction(|tx| {
                Box::pin(async move {
                    let tokens = match tx.lease_provider_tokens(session_id, now, now.plus(LEASE)).await? {
                        Lease::Taken(tokens) => tokens,
                        Lease::Elsewhere => return Ok(Turn::Elsewhere),
                        Lease::NotDue => return Ok(Turn::NotDue),
                    };
                    let Some(session) = tx.session(session_id).await? else { return Ok(Turn::NotDue) };
                    let user = tx.user(&session.user_id).await?;
                    let identities = user.map(|user| user.identities).unwrap_or_default();
                    let identity = identities.into_iter().find(|id| id.provider == session.provider);
                    Ok(identity.map_or(Turn::NotDue, |identity| {
                        Turn::Mine(Box::new(Holder { session, identity, tokens }))
                    }))
                })
            })
            .await
    }

    async fn renew_mine(&self, catalogue: &Catalogue, holder: Holder) -> Result<Vec<Change>, StoreError> {
        let Holder { session, identity, tokens } = holder;
        let (sid, provider) = (session.id.as_str(), session.provider.as_str());
        let renewed = match self.entry(provider) {
            Ok(entry) => match entry.provider.renew(&tokens, &identity.subject).await {
                // The account that the provider speaks of now must be the one that signed in.
                Ok(external) if external.issuer != identity.issuer => Err(ProviderError::Invalid {
                    check: "issuer",
                    detail: "the provider is another one now".to_owned(),
                }),
                Ok(external) => Ok((entry, external)),
                Err(error) => Err(error),
            },
            Err(error) => Err(ProviderError::Invalid { check: "provider", detail: error.to_string() }),
        };
        match renewed {
            Ok((entry, external)) => self.take_over(catalogue, &session, &entry.config, external).await,
            Err(ProviderError::Unavailable(why)) => {
                tracing::warn!(
                    sid,
                    provider,
                    why,
                    "what the provider says could not be renewed: tried again later"
                );
                let due_at = self.clock.now().plus(AGAIN);
                self.store
                    .transaction(|tx| Box::pin(async move { tx.postpone_provider_tokens(sid, due_at).await }))
                    .await?;
                Ok(vec![Change::Session(sid.to_owned())])
            }
            Err(error) => self.end(sid, provider, &error.to_string()).await,
        }
    }

    /// Keeps the new tokens and what changed of the person; ends the session of whom `allow` does not
    /// name any more.
    async fn take_over(
        &self,
        catalogue: &Catalogue,
        session: &Session,
        config: &crate::config::Provider,
        external: ExternalIdentity,
    ) -> Result<Vec<Change>, StoreError> {
        let sid = session.id.as_str();
        let account = match mapping::account(config, &external) {
            Ok(account) => account,
            Err(why) => return self.end(sid, &config.name, &why).await,
        };
        if let Err(who) = mapping::allowed(&config.allow, &account) {
            return self.end(sid, &config.name, &format!("`allow` does not name {who}")).await;
        }
        let (now, entropy, pool_id) = (self.clock.now(), &*self.entropy, &catalogue.pool.id);
        let user = self
            .store
            .transaction(|tx| {
                let (account, tokens) = (&account, &external.tokens);
                Box::pin(async move {
                    // Signed out meanwhile: there is nothing to renew.
                    if tx.session(sid).await?.is_none() {
                        return Ok(None);
                    }
                    let user = directory::upsert(tx, pool_id, account, now, entropy).await?;
                    tx.save_provider_tokens(sid, tokens, now, entropy).await?;
                    tx.tell(&Change::Session(sid.to_owned()), now, entropy).await?;
                    Ok(Some(user))
                })
            })
            .await?;
        let mut changes = vec![Change::Session(sid.to_owned())];
        if let Some(user) = user.filter(|user| user.updated_at == now) {
            tracing::info!(
                target: "audit", event = "user_updated", provider = config.name, sub = user.id, sid,
            );
            changes.push(Change::User(user.id));
        }
        Ok(changes)
    }

    /// Ends a session for which its provider does not vouch any more.
    async fn end(&self, sid: &str, provider: &str, why: &str) -> Result<Vec<Change>, StoreError> {
        let (now, entropy): (Timestamp, _) = (self.clock.now(), &*self.entropy);
        self.store.transaction(|tx| Box::pin(async move { tx.end_session(sid, now, entropy).await })).await?;
        tracing::info!(target: "audit", event = "session_ended", sid, provider, reason = why);
        Ok(vec![Change::Session(sid.to_owned())])
    }
}
