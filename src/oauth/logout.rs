//! `/logout`: ends the browser's session, here, at every app and, where it knows how, at the provider.

use super::{Handled, Pool, Reply, RequestInfo, Shared, signed_in, unavailable};
use crate::access::{POOL_COOKIE, clear};
use crate::broker::{self, Ended};
use crate::hosted::{OnwardPage, SignOutPage, SignedOutPage, see_other, set_cookie};
use crate::store::{Change, StoreError};
use axum::extract::State;

pub(super) async fn get(State(pool): Shared, info: RequestInfo) -> Reply {
    Reply(page(&pool, &info).await)
}

pub(super) async fn post(State(pool): Shared, info: RequestInfo) -> Reply {
    Reply(end(&pool, &info).await)
}

/// Asks first: anybody's page may send a browser here.
async fn page(pool: &Pool, info: &RequestInfo) -> Handled {
    let catalogue = pool.current.load();
    if let Some(principal) = signed_in(pool, info).await? {
        return SignOutPage {
            name: principal.user().display_name().to_owned(),
            action: catalogue.config.public_url.join("/logout"),
            stay: catalogue.config.public_url.join("/"),
        }
        .answer();
    }
    // Where to come back to is one of our own hosts, or nowhere: this is no way to send people
    // elsewhere. A provider gives it back as the state.
    let to = info.parameters().and_then(|mut form| form.remove("app").or(form.remove("state")));
    let again = catalogue.routes().find(|route| to.as_deref() == Some(route.config.host.as_str()));
    let mut answer = SignedOutPage { again: again.map(|route| format!("{}/", route.origin)) }.answer()?;
    set_cookie(&mut answer, &clear(POOL_COOKIE))?;
    Ok(answer)
}

async fn end(pool: &Pool, info: &RequestInfo) -> Handled {
    info.same_origin(&own_origin(pool))?;
    match signed_in(pool, info).await? {
        Some(principal) => sign_out(pool, info, &principal.session().id, "").await,
        None => see_other(&pool.current.load().config.public_url.join("/logout")),
    }
}

/// The origin of the pool's pages.
pub(super) fn own_origin(pool: &Pool) -> String {
    let catalogue = pool.current.load();
    catalogue.config.public_url.origin_of(catalogue.config.public_url.host())
}

/// Ends the session of this browser and sends it on.
pub(super) async fn sign_out(pool: &Pool, info: &RequestInfo, sid: &str, app: &str) -> Handled {
    let ended = end_session(pool, &info.request_id, &info.client(), sid)
        .await
        .map_err(|error| unavailable(info, &error))?;
    let mut answer = OnwardPage { href: after_sign_out(pool, ended.as_ref(), app).await }.answer()?;
    set_cookie(&mut answer, &clear(POOL_COOKIE))?;
    Ok(answer)
}

/// Where a browser goes whose session was ended: to its provider, if that session is to end too, and
/// from there to the page that says so.
pub async fn after_sign_out(pool: &Pool, ended: Option<&Ended>, app: &str) -> String {
    let catalogue = pool.current.load();
    let at_provider = match ended {
        Some(ended) => pool.broker.logout(&catalogue, ended, app).await,
        None => None,
    };
    at_provider.map_or_else(
        || catalogue.config.public_url.join(&format!("/logout?app={app}")),
        |url| url.to_string(),
    )
}

/// Ends a session everywhere and says so in the audit; answers it, unless it was over already.
///
/// # Errors
/// Where the store does not answer; the session goes on then.
pub async fn end_session(
    pool: &Pool,
    request_id: &str,
    client: &str,
    sid: &str,
) -> Result<Option<Ended>, StoreError> {
    let (now, entropy) = (pool.clock.now(), &*pool.entropy);
    let ended = pool
        .store
        .transaction(|tx| Box::pin(async move { broker::end_session(tx, sid, now, entropy).await }))
        .await?;
    pool.sessions.hear(&[Change::Session(sid.to_owned())]);
    tracing::info!(target: "audit", event = "logout", request_id, client, sid);
    Ok(ended)
}
