//! Renewal of a session's tokens and claims at its provider. Requests on all nodes share one
//! renewal, because many providers accept a refresh token only once.

use super::{Broker, ProviderEntry, mapping};
use crate::base::{Duration, Timestamp};
use crate::catalogue::Catalogue;
use crate::directory;
use crate::model::{Identity, ProviderTokens, Session};
use crate::provider::{ExternalIdentity, ProviderError, Renewed};
use crate::store::{Change, LeaseResult, StoreError};
use std::sync::Arc;

/// Duration of a node's lease of a renewal, including its database operations.
const LEASE_DURATION: Duration = Duration::from_secs(45);
/// Timeout of the provider's calls during a renewal, shorter than the lease.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(25);
/// Initial and maximum interval at which another node's renewal is polled.
const POLL_INTERVAL: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Delay after which a renewal is retried if the provider was unavailable.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The result of acquiring the lease of a session's renewal.
enum LeaseOutcome {
    Acquired(Box<RenewalLease>),
    Elsewhere,
    NotDue,
    /// The session cannot be renewed, for this reason.
    Impossible(&'static str),
}

/// The data of a renewal whose lease this node holds.
struct RenewalLease {
    session: Session,
    entry: Arc<ProviderEntry>,
    account: Identity,
    tokens: ProviderTokens,
    /// The lease's end, which identifies it.
    until: Timestamp,
}

impl Broker {
    /// Renews the provider's tokens of a session, and the user's claims, if they are due. Returns
    /// the changes. If the provider rejects the renewal, the session ends. If the provider is
    /// unavailable, the renewal is retried later.
    ///
    /// The future must not be dropped before completion: the old refresh token may be used and the
    /// new one not stored.
    ///
    /// # Errors
    /// Returns an error if the database fails, or if another node's renewal takes more than 45
    /// seconds.
    pub async fn renew(&self, catalogue: &Catalogue, session_id: &str) -> Result<Vec<Change>, StoreError> {
        let heard = || vec![Change::Session(session_id.to_owned())];
        let (begun, mut pause) = (self.clock.monotonic(), POLL_INTERVAL.0);
        loop {
            match self.acquire_lease(session_id).await? {
                LeaseOutcome::Acquired(mine) => return self.renew_with_lease(catalogue, *mine).await,
                LeaseOutcome::NotDue => return Ok(heard()),
                LeaseOutcome::Impossible(why) => return self.end(session_id, None, why).await,
                LeaseOutcome::Elsewhere => {}
            }
            while self.store.renewal_under_way(session_id, self.clock.now(), LEASE_DURATION).await? {
                if self.clock.monotonic().since(begun) > LEASE_DURATION {
                    return Err(StoreError::Timeout);
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(POLL_INTERVAL.1);
            }
        }
    }

    async fn acquire_lease(&self, session_id: &str) -> Result<LeaseOutcome, StoreError> {
        let now = self.clock.now();
        let until = now.plus(LEASE_DURATION);
        self.store
            .transaction(|tx| {
                Box::pin(async move {
                    let Some(session) = tx.session(session_id).await? else {
                        return Ok(LeaseOutcome::NotDue);
                    };
                    let entry = self.entry(&session.provider);
                    // A provider that was removed from the configuration has no interval.
                    let interval =
                        entry.as_ref().map_or(Duration::MAX, |entry| entry.config.renewal_interval());
                    let tokens = match tx.lease_provider_tokens(session_id, now, until, interval).await? {
                        LeaseResult::Taken(tokens) => tokens,
                        LeaseResult::Elsewhere => return Ok(LeaseOutcome::Elsewhere),
                        LeaseResult::NotDue => return Ok(LeaseOutcome::NotDue),
                    };
                    let Ok(entry) = entry else {
                        return Ok(LeaseOutcome::Impossible("its provider is not in the file any more"));
                    };
                    let user = tx.user(&session.user_id).await?;
                    let identities = user.map(|user| user.identities).unwrap_or_default();
                    // The issuer identifies the account, because configured names may change. If
                    // two providers have the same issuer, the name decides.
                    let (named, others): (Vec<_>, Vec<_>) = identities
                        .into_iter()
                        .filter(|id| entry.config.issues(&id.issuer))
                        .partition(|id| id.provider == session.provider);
                    let Some(identity) = named.into_iter().chain(others).next() else {
                        return Ok(LeaseOutcome::Impossible("its provider is another one now"));
                    };
                    Ok(LeaseOutcome::Acquired(Box::new(RenewalLease {
                        session,
                        entry,
                        account: identity,
                        tokens,
                        until,
                    })))
                })
            })
            .await
    }

    async fn renew_with_lease(
        &self,
        catalogue: &Catalogue,
        mine: RenewalLease,
    ) -> Result<Vec<Change>, StoreError> {
        let asked = mine.entry.provider.renew(&mine.tokens, &mine.account);
        let renewed = match tokio::time::timeout(PROVIDER_TIMEOUT, asked).await {
            Ok(renewed) => renewed,
            Err(_) => Err(ProviderError::Unavailable("it did not answer in time".to_owned())),
        };
        match renewed {
            Ok(Renewed { tokens, identity: Ok(mut external) }) => {
                match self.change_renewed_claims(catalogue, &mine.entry, &mut external).await {
                    Ok(()) => self.store_renewal(catalogue, &mine, &tokens, &external).await,
                    Err(ProviderError::Unavailable(why)) => self.postpone(&mine, Some(&tokens), &why).await,
                    Err(error) => self.end(&mine.session.id, Some(mine.until), &error.to_string()).await,
                }
            }
            // The old refresh token may be used up. Store the new tokens, and retry with them soon.
            Ok(Renewed {
                tokens,
                identity: Err(ProviderError::Unavailable(why) | ProviderError::Unreadable(why)),
            }) => self.postpone(&mine, Some(&tokens), &why).await,
            Err(ProviderError::Unavailable(why) | ProviderError::Unreadable(why)) => {
                self.postpone(&mine, None, &why).await
            }
            Ok(Renewed { identity: Err(error), .. }) | Err(error) => {
                self.end(&mine.session.id, Some(mine.until), &error.to_string()).await
            }
        }
    }

    /// Stores the new tokens and the user's new attributes. Ends the session if `allow` no longer
    /// names the user, or a required claim is missing or invalid.
    async fn store_renewal(
        &self,
        catalogue: &Catalogue,
        mine: &RenewalLease,
        tokens: &ProviderTokens,
        external: &ExternalIdentity,
    ) -> Result<Vec<Change>, StoreError> {
        let (sid, config) = (mine.session.id.as_str(), &mine.entry.config);
        let judged = mapping::map_account(config, external).and_then(|account| {
            mapping::check_allowed(&config.allow, &account)
                .map(|()| account)
                .map_err(|who| format!("`allow` does not name {who}"))
        });
        let known = self.store.user(&mine.session.user_id).await?;
        let judged =
            judged.and_then(|account| mapping::check_required(config, &account, known).map(|()| account));
        let account = match judged {
            Ok(account) => account,
            // The response is incomplete, and the missing claims may satisfy the check: retry
            // later.
            Err(why) if external.is_incomplete => return self.postpone(mine, Some(tokens), &why).await,
            Err(why) => return self.end(sid, Some(mine.until), &why).await,
        };
        let (now, entropy, pool_id) = (self.clock.now(), &*self.entropy, &catalogue.pool.id);
        let user = self
            .store
            .transaction(|tx| {
                let account = &account;
                Box::pin(async move {
                    // The session has ended meanwhile, or another node has the lease.
                    if !tx.holds_lease(sid, mine.until).await? {
                        return Ok(None);
                    }
                    let user = directory::upsert(tx, pool_id, account, now, entropy).await?;
                    tx.save_provider_tokens(sid, tokens, tokens.due_at(now), entropy).await?;
                    tx.publish(&Change::Session(sid.to_owned()), entropy).await?;
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

    /// Schedules a retry after [`RETRY_AFTER`]. Stores `tokens` if the provider issued new ones.
    async fn postpone(
        &self,
        mine: &RenewalLease,
        tokens: Option<&ProviderTokens>,
        why: &str,
    ) -> Result<Vec<Change>, StoreError> {
        let (sid, provider) = (mine.session.id.as_str(), mine.session.provider.as_str());
        tracing::warn!(sid, provider, why, "what the provider says could not be renewed: tried again later");
        let (now, entropy) = (self.clock.now(), &*self.entropy);
        self.store
            .transaction(|tx| {
                Box::pin(async move {
                    if !tx.holds_lease(sid, mine.until).await? {
                        return Ok(());
                    }
                    if let Some(tokens) = tokens {
                        tx.replace_provider_tokens(sid, tokens, entropy).await?;
                    }
                    tx.postpone_provider_tokens(sid, now, now.plus(RETRY_AFTER)).await?;
                    tx.publish(&Change::Session(sid.to_owned()), entropy).await
                })
            })
            .await?;
        Ok(vec![Change::Session(sid.to_owned())])
    }

    /// Ends a session that its provider no longer confirms. Does nothing if the `lease` was lost to
    /// another node.
    async fn end(&self, sid: &str, lease: Option<Timestamp>, why: &str) -> Result<Vec<Change>, StoreError> {
        let entropy = &*self.entropy;
        let ended = self
            .store
            .transaction(|tx| {
                Box::pin(async move {
                    if let Some(until) = lease
                        && !tx.holds_lease(sid, until).await?
                    {
                        return Ok(false);
                    }
                    tx.end_session(sid, entropy).await
                })
            })
            .await?;
        if ended {
            tracing::info!(target: "audit", event = "session_ended", sid, reason = why);
        }
        Ok(vec![Change::Session(sid.to_owned())])
    }
}
