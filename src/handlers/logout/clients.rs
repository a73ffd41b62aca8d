//! The app clients of a session that ends: frames for the browser (OpenID Connect Front-Channel
//! Logout 1.0), and logout tokens (OpenID Connect Back-Channel Logout 1.0).

use crate::base::{Duration, MonotonicTime, Timestamp};
use crate::directory::{DirectoryError, PoolOfClient};
use crate::handlers::{AppState, metrics};
use crate::model::LogoutNotice;
use crate::store::StoreError;
use crate::token::LogoutToken;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use url::Url;

/// Notices that are claimed at once.
const BATCH: u32 = 64;
/// Maximum notices that a node has claimed, most of which may wait for their client.
const MAX_CLAIMED: usize = 1024;
/// Calls of one client at the same time, so that a slow one does not delay the others.
const CALLS_OF_CLIENT: usize = 8;
/// The time after which a node looks for further notices while calls are open.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The time for one call of a client.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// The time for which a node has a notice for itself.
const LEASE: Duration = Duration::from_secs(60);
/// The time within which a call must begin, so that it ends before the lease does.
const BEGIN_WITHIN: Duration = Duration::from_secs(45);
/// The waits before further attempts.
const RETRIES: [Duration; 4] =
    [Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(300), Duration::from_secs(1800)];
/// Maximum size of a client's response, which is not read further.
const MAX_RESPONSE_BYTES: usize = 16 * 1024;

/// The reason why the clients of a session cannot be read.
#[derive(Debug, Error)]
pub enum ClientsError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A client cannot be read.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// An app client during one run.
struct ClientState {
    calls: Semaphore,
    /// When a call has failed: others that wait for their turn would, too.
    failed_at: Mutex<Option<MonotonicTime>>,
}

/// The time after a failed call in which no other one begins. A run lasts as long as any client is
/// slow; one that has failed once must get its calls again meanwhile.
const DOWN_FOR: Duration = Duration::from_secs(1);

impl Default for ClientState {
    fn default() -> Self {
        Self { calls: Semaphore::new(CALLS_OF_CLIENT), failed_at: Mutex::default() }
    }
}

impl ClientState {
    fn is_down(&self, now: MonotonicTime) -> bool {
        self.failed_at().is_some_and(|at| now.since(at) < DOWN_FOR)
    }

    fn failed_at(&self) -> MutexGuard<'_, Option<MonotonicTime>> {
        // A time is consistent after every statement, so a poisoned lock is usable.
        self.failed_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has become of a notice.
enum Sent {
    /// The client has ended its session, or has nothing to be notified of.
    Done,
    /// The client refuses the token, and would refuse it again.
    Refused(String),
    /// The client could not be reached, or has failed.
    Failed(String),
}

/// Returns the addresses that the browser of a session opens in frames when its user signs out.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn frames(app: &AppState, session_id: &str) -> Result<Vec<Url>, ClientsError> {
    let mut frames = Vec::new();
    for id in app.store.session_clients(session_id).await? {
        let Some(of) = app.directory.pools.client(&id).await? else { continue };
        if let Some(uri) = &of.client.settings.extensions.frontchannel_logout_uri {
            let mut url = uri.clone();
            let issuer = app.catalogue.load().issuer_of(&of.pool.id);
            // Section 2: "The OP MAY add these query parameters when rendering the logout URI, and
            // if either is included, both MUST be".
            url.query_pairs_mut().append_pair("iss", &issuer).append_pair("sid", session_id);
            frames.push(url);
        }
    }
    Ok(frames)
}

/// Sends the logout tokens that are due, until there are none.
///
/// # Errors
/// Returns an error if the database fails.
pub async fn notify_clients(app: &Arc<AppState>) -> Result<(), ClientsError> {
    let (mut calls, mut clients) = (JoinSet::new(), HashMap::<String, Arc<ClientState>>::new());
    loop {
        let now = app.clock.now();
        let notices = match calls.len() < MAX_CLAIMED {
            true => app.store.claim_logout_notices(BATCH, now, now.plus(LEASE)).await?,
            false => Vec::new(),
        };
        if notices.is_empty() {
            tokio::select! {
                finished = calls.join_next() => match finished {
                    // A panic was already logged.
                    Some(finished) => finished.unwrap_or(Ok(()))?,
                    None => return Ok(()),
                },
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
        for notice in notices {
            let (app, client) = (app.clone(), clients.entry(notice.client_id.clone()).or_default().clone());
            calls.spawn(async move {
                match send_in_turn(&app, &client, &notice, now).await {
                    Some(sent) => finish(&app, &notice, sent).await,
                    None => Ok(()),
                }
            });
        }
    }
}

/// Sends a notice when it is the turn of its client. Returns `None` if the lease would end first:
/// the notice is claimed again then.
async fn send_in_turn(
    app: &AppState,
    client: &ClientState,
    notice: &LogoutNotice,
    claimed_at: Timestamp,
) -> Option<Sent> {
    let _permit = client.calls.acquire().await;
    if client.is_down(app.clock.monotonic()) {
        return Some(Sent::Failed("an earlier call has failed".to_owned()));
    }
    if app.clock.now().since(claimed_at) > BEGIN_WITHIN {
        return None;
    }
    let sent = send(app, notice).await;
    if matches!(sent, Sent::Failed(_)) {
        *client.failed_at() = Some(app.clock.monotonic());
    }
    Some(sent)
}

async fn send(app: &AppState, notice: &LogoutNotice) -> Sent {
    let of = match app.directory.pools.client(&notice.client_id).await {
        Ok(Some(of)) => of,
        Ok(None) => return Sent::Done,
        Err(error) => return Sent::Failed(error.to_string()),
    };
    let Some(uri) = &of.client.settings.extensions.backchannel_logout_uri else { return Sent::Done };
    let token = match logout_token(app, &of, notice).await {
        Ok(token) => token,
        Err(error) => return Sent::Failed(error.to_string()),
    };
    let form =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("logout_token", &token).finish();
    let call = app.outbound.post(uri, form, None, MAX_RESPONSE_BYTES);
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        // Section 2.8: 200 for success; "some Web frameworks will substitute an HTTP 204 No Content
        // response for an HTTP 200 OK when the HTTP body is empty".
        Ok(Ok((status, _))) if matches!(status.as_u16(), 200 | 204) => Sent::Done,
        // "If the logout request was invalid or the logout failed, the RP MUST respond with HTTP
        // 400 Bad Request."
        Ok(Ok((status, _))) if status.as_u16() == 400 => Sent::Refused(format!("it answered {status}")),
        Ok(Ok((status, _))) => Sent::Failed(format!("it answered {status}")),
        Ok(Err(error)) => Sent::Failed(error.to_string()),
        Err(_) => Sent::Failed(format!("it did not answer within {} s", CALL_TIMEOUT.as_secs())),
    }
}

async fn logout_token(
    app: &AppState,
    of: &PoolOfClient,
    notice: &LogoutNotice,
) -> Result<String, DirectoryError> {
    let issuer = app.catalogue.load().issuer_of(&of.pool.id);
    let token = LogoutToken {
        issuer: &issuer,
        client_id: &of.client.id,
        subject: &notice.user_id,
        sid: &notice.session_id,
    };
    app.directory.tokens.issue_logout_token(&of.pool, token).await
}

/// Removes a notice that was sent, or has failed too often; lets another one be due again.
async fn finish(app: &AppState, notice: &LogoutNotice, sent: Sent) -> Result<(), ClientsError> {
    let (result, again) = match &sent {
        Sent::Done => ("success", None),
        Sent::Refused(_) => ("refused", None),
        Sent::Failed(_) => match RETRIES.get(notice.attempts.saturating_sub(1)) {
            Some(wait) => ("postponed", Some(app.clock.now().plus(*wait))),
            None => ("failed", None),
        },
    };
    change(app, &notice.id, again).await?;
    metrics::client_logout(result);
    if let (Sent::Refused(reason) | Sent::Failed(reason), None) = (&sent, again) {
        tracing::warn!(
            target: "audit",
            event = "client_logout_failed",
            client_id = notice.client_id,
            sid = notice.session_id,
            sub = notice.user_id,
            reason,
        );
    }
    Ok(())
}

async fn change(app: &AppState, id: &str, again: Option<Timestamp>) -> Result<(), ClientsError> {
    let work = app.store.transaction(|tx| {
        Box::pin(async move {
            match again {
                Some(due_at) => tx.postpone_logout_notice(id, due_at).await,
                None => tx.remove_logout_notice(id).await,
            }
        })
    });
    Ok(work.await?)
}
