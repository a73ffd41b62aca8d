//! `/logout`: ends the browser's session at every app and, if supported, at the provider.

mod clients;
mod relying_party;

pub use clients::{ClientsError, notify_clients};

use super::authorize::failed;
use super::branding::brand_of_pool;
use super::{AppState, Handled, Reply, RequestData, Shared, form_as_query, principal, sign_out_unavailable};
use crate::authn::{POOL_COOKIE, SessionPrincipal, clear_cookie_value};
use crate::broker::{self, EndedSession};
use crate::config::Host;
use crate::model::Session;
use crate::pages::{
    ErrorResponse, SignOutPage, SignedOutPage, browser_action, redirect_page, see_other, set_cookie,
};
use crate::provider::BrowserAction;
use crate::store::{Change, StoreError};
use axum::extract::State;
use http::Method;
use url::Url;

pub(super) async fn get(State(app): Shared, info: RequestData) -> Reply {
    Reply(match relying_party::read(&app, &info).await {
        Ok(Some(target)) => relying_party::sign_out(&app, &info, target).await,
        Ok(None) => page(&app, &info).await,
        Err(failure) => Err(failure),
    })
}

pub(super) async fn post(State(app): Shared, info: RequestData, text: String) -> Reply {
    Reply(match relying_party::is_request(&text) {
        true => form_as_query(&app, "/logout", &text),
        false => end(&app, &info).await,
    })
}

/// Returns a page that asks for confirmation, because any site can navigate a browser here.
async fn page(app: &AppState, info: &RequestData) -> Handled {
    let catalogue = app.catalogue.load();
    let principal = session_to_end(app, info).await?;
    if let Some(principal) = principal {
        return SignOutPage {
            t: info.texts(),
            brand: brand_of_pool(app, &catalogue, &principal.session().pool_id).await,
            name: principal.user().display_name().to_owned(),
            action: catalogue.config.public_url.join("/logout"),
            stay: catalogue.config.public_url.join("/"),
        }
        .answer();
    }
    // The target after sign-out is limited to Narthex's own hosts, to prevent open redirects. A
    // provider returns it as the state.
    let to = info.parameters().and_then(|mut form| form.remove("app").or(form.remove("state")));
    let host = to.as_deref().and_then(Host::parse);
    let shortest = host.as_ref().and_then(|host| {
        let routes = catalogue.routes_of(host).min_by_key(|route| route.path.len());
        routes.map(|route| format!("{}{}", catalogue.config.public_url.origin_of(host), route.start_page()))
    });
    let again = shortest.unwrap_or_else(|| catalogue.config.public_url.join("/"));
    let brand = brand_of_pool(app, &catalogue, &catalogue.pool.id).await;
    let mut response = match &catalogue.config.signed_out_url {
        // An intermediate page is needed, because CSP `form-action` prohibits redirects after a
        // form.
        Some(url) => browser_action(&BrowserAction::Redirect(url.clone()), &Method::POST, info.texts())?,
        None => SignedOutPage { t: info.texts(), brand, sign_in_again: again }.answer()?,
    };
    set_cookie(&mut response, &clear_cookie_value(POOL_COOKIE))?;
    Ok(response)
}

async fn end(app: &AppState, info: &RequestData) -> Handled {
    info.same_origin(&own_origin(app))?;
    match session_to_end(app, info).await? {
        Some(principal) => sign_out(app, info, &principal.session().id, "").await,
        None => see_other(&app.catalogue.load().config.public_url.join("/logout")),
    }
}

/// Returns the session to end.
async fn session_to_end(
    app: &AppState,
    info: &RequestData,
) -> Result<Option<SessionPrincipal>, ErrorResponse> {
    principal(app, info).await.map_err(|error| sign_out_unavailable(app, info, &error))
}

/// Returns the origin of the user pool's pages.
pub(super) fn own_origin(app: &AppState) -> String {
    let catalogue = app.catalogue.load();
    catalogue.config.public_url.origin_of(catalogue.config.public_url.host())
}

/// Ends the browser's session and redirects.
pub(super) async fn sign_out(app: &AppState, info: &RequestData, sid: &str, host: &str) -> Handled {
    let frames = frames(app, info, sid).await?;
    let ended = end_session(app, &info.request_id, &info.client(), sid)
        .await
        .map_err(|error| sign_out_unavailable(app, info, &error))?;
    let mut response = match after_sign_out(app, ended.as_ref(), host).await? {
        BrowserAction::Redirect(url) => redirect_page(url.as_str(), &frames, info.texts())?,
        form @ BrowserAction::Form { .. } => browser_action(&form, &Method::POST, info.texts())?,
    };
    set_cookie(&mut response, &clear_cookie_value(POOL_COOKIE))?;
    Ok(response)
}

/// Returns the addresses of app clients that the browser opens before its session ends.
async fn frames(app: &AppState, info: &RequestData, sid: &str) -> Result<Vec<Url>, ErrorResponse> {
    clients::frames(app, sid).await.map_err(|error| match error {
        ClientsError::Store(error) => sign_out_unavailable(app, info, &error),
        ClientsError::Directory(error) => failed(info, &error),
    })
}

/// Returns the browser's target after sign-out: the provider, if its session also ends, and then
/// the confirmation page.
///
/// # Errors
/// The address of Narthex's own page is not a URL, which is impossible.
pub async fn after_sign_out(
    app: &AppState,
    ended: Option<&EndedSession>,
    host: &str,
) -> Result<BrowserAction, ErrorResponse> {
    let catalogue = app.catalogue.load();
    if let Some(ended) = ended
        && let Some(at_provider) = app.broker.logout(&catalogue, ended, host).await
    {
        return Ok(at_provider);
    }
    let own = catalogue.config.public_url.join(&format!("/logout?app={host}"));
    Url::parse(&own).map(BrowserAction::Redirect).map_err(|_| ErrorResponse::internal())
}

/// Ends a session on all nodes and writes that to the audit log. Returns the session, unless it had
/// ended already.
///
/// # Errors
/// The database fails; the session then stays active.
pub async fn end_session(
    app: &AppState,
    request_id: &str,
    client: &str,
    sid: &str,
) -> Result<Option<EndedSession>, StoreError> {
    let entropy = &*app.entropy;
    let ended = app
        .store
        .transaction(|tx| Box::pin(async move { broker::end_session(tx, sid, entropy).await }))
        .await?;
    app.sessions.apply_changes(&[Change::Session(sid.to_owned())]);
    tracing::info!(target: "audit", event = "logout", request_id, client, sid);
    Ok(ended)
}

/// Evicts and audits sessions that their provider ended; warns if there are none.
pub(super) fn ended_by_provider(app: &AppState, info: &RequestData, provider: &str, ended: &[Session]) {
    let changes: Vec<Change> = ended.iter().map(|session| Change::Session(session.id.clone())).collect();
    app.sessions.apply_changes(&changes);
    if ended.is_empty() {
        tracing::warn!(
            target: "audit",
            event = "logout_without_session",
            request_id = info.request_id,
            provider,
            "a logout message of `{provider}` names no session that exists; help: where people stay signed in, have \
             the provider send the `sid` or `sub` of its ID tokens"
        );
    }
    for session in ended {
        tracing::info!(
            target: "audit",
            event = "session_ended",
            request_id = info.request_id,
            provider,
            sid = session.id,
            sub = session.user_id,
            reason = "the provider ended it",
        );
    }
}
