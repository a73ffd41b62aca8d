//! `/logout`: ends the browser's session, here and at every app.

use super::{Handled, Pool, Reply, RequestInfo, Shared, signed_in, unavailable};
use crate::access::{POOL_COOKIE, clear};
use crate::hosted::{Failure, SignOutPage, SignedOutPage, see_other, set_cookie};
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
    // elsewhere.
    let to = info.parameters().and_then(|mut form| form.remove("app"));
    let again = catalogue.routes().find(|route| to.as_deref() == Some(route.config.host.as_str()));
    let mut answer = SignedOutPage { again: again.map(|route| format!("{}/", route.origin)) }.answer()?;
    set_cookie(&mut answer, &clear(POOL_COOKIE))?;
    Ok(answer)
}

async fn end(pool: &Pool, info: &RequestInfo) -> Handled {
    // A browser says where a form comes from; SameSite=Lax has kept the cookie out already where
    // that is another site.
    if matches!(info.header("sec-fetch-site"), Some(site) if site != "same-origin") {
        return Err(Failure::bad_request());
    }
    if let Some(principal) = signed_in(pool, info).await? {
        end_session(pool, &info.request_id, &info.client(), &principal.session().id)
            .await
            .map_err(|error| unavailable(info, &error))?;
    }
    let mut answer = see_other(&pool.current.load().config.public_url.join("/logout"))?;
    set_cookie(&mut answer, &clear(POOL_COOKIE))?;
    Ok(answer)
}

/// Ends a session everywhere and says so in the audit.
///
/// # Errors
/// Where the store does not answer; the session goes on then.
pub async fn end_session(pool: &Pool, request_id: &str, client: &str, sid: &str) -> Result<(), StoreError> {
    let (now, entropy) = (pool.clock.now(), &*pool.entropy);
    pool.store.transaction(|tx| Box::pin(async move { tx.end_session(sid, now, entropy).await })).await?;
    pool.sessions.hear(&[Change::Session(sid.to_owned())]);
    tracing::info!(target: "audit", event = "logout", request_id, client, sid);
    Ok(())
}
