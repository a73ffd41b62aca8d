//! `/sessions`: lists the user's sessions, and ends one or all.

use super::authorize::{failed, scope_descriptions};
use super::branding::brand_of_pool;
use super::{AppState, Handled, Reply, RequestData, Shared, form, logout, session_principal, unavailable};
use crate::base::Timestamp;
use crate::config::LOCAL_PROVIDER;
use crate::directory::end_tokens_everywhere;
use crate::model::{Session, User};
use crate::pages::{AllowedApp, Device, ErrorResponse, SessionRow, SessionsPage, Texts, see_other};
use crate::store::StoreError;
use axum::extract::State;

pub(super) async fn get(State(app): Shared, info: RequestData) -> Reply {
    Reply(page(&app, &info).await)
}

pub(super) async fn post(State(app): Shared, info: RequestData, text: String) -> Reply {
    Reply(end(&app, &info, &text).await)
}

async fn page(app: &AppState, info: &RequestData) -> Handled {
    let catalogue = app.catalogue.load();
    let Some(principal) = session_principal(app, info).await? else { return Err(not_signed_in()) };
    let (now, idle) = (app.clock.now(), catalogue.config.session.idle);
    let mut sessions = sessions_of(app, &principal.user().id).await.map_err(|e| unavailable(info, &e))?;
    sessions.retain(|session| session.is_active(session.last_seen_at, idle, now));
    let row = |session: &Session| SessionRow {
        id: session.id.clone(),
        device: Device::of(&session.user_agent),
        address: session.address.clone(),
        provider: match session.provider == LOCAL_PROVIDER {
            true => info.texts().password.clone(),
            false => display_name(&catalogue.config.providers, &session.provider),
        },
        began: date(session.created_at),
        last_seen: ago(info.texts(), session.last_seen_at, now),
        is_current: session.id == principal.session().id,
    };
    SessionsPage {
        t: info.texts(),
        brand: brand_of_pool(app, &catalogue, &principal.session().pool_id).await,
        name: principal.user().display_name().to_owned(),
        home: catalogue.config.public_url.join("/"),
        action: catalogue.config.public_url.join("/sessions"),
        rows: sessions.iter().map(row).collect(),
        apps: allowed_apps(app, info, principal.user()).await?,
    }
    .answer()
}

/// Ends one of the user's sessions by its id, or all of them.
async fn end(app: &AppState, info: &RequestData, text: &str) -> Handled {
    info.same_origin(&logout::own_origin(app))?;
    let Some(principal) = session_principal(app, info).await? else { return Err(not_signed_in()) };
    let parameters = form(text).ok_or_else(ErrorResponse::bad_request)?;
    if let Some(client_id) = parameters.get("withdraw") {
        return withdraw(app, info, principal.user(), client_id).await;
    }
    let all = parameters.contains_key("all");
    let own = principal.session().id.as_str();
    let store = |error: StoreError| unavailable(info, &error);
    if all {
        let (user, now, entropy) = (principal.user(), app.clock.now(), &*app.entropy);
        let end = app.store.transaction(|tx| Box::pin(end_tokens_everywhere(tx, user, now, entropy)));
        end.await.map_err(store)?;
    }
    let sessions = sessions_of(app, &principal.user().id).await.map_err(store)?;
    let meant = |session: &&Session| all || parameters.get("session") == Some(&session.id);
    for session in sessions.iter().filter(meant).filter(|session| session.id != own) {
        logout::end_session(app, &info.request_id, &info.client(), &session.id).await.map_err(store)?;
    }
    match all || parameters.get("session").is_some_and(|id| id == own) {
        true => logout::sign_out(app, info, own, "").await,
        false => see_other(&app.catalogue.load().config.public_url.join("/sessions")),
    }
}

/// Returns the app clients to which the user has consented.
async fn allowed_apps(
    app: &AppState,
    info: &RequestData,
    user: &User,
) -> Result<Vec<AllowedApp>, ErrorResponse> {
    let consents = app.directory.deps.consents(user).await.map_err(|error| failed(info, &error))?;
    let mut apps = Vec::with_capacity(consents.len());
    for consent in consents {
        let found = app.directory.pools.client(&consent.client_id).await;
        let found = found.map_err(|error| failed(info, &error))?;
        let name = found.map_or_else(|| consent.client_id.clone(), |of| of.client.settings.name.clone());
        let scopes = scope_descriptions(info.texts(), &consent.scope).join(", ");
        apps.push(AllowedApp { id: consent.client_id, name, scopes });
    }
    Ok(apps)
}

/// Withdraws the user's consent to an app client.
async fn withdraw(app: &AppState, info: &RequestData, user: &User, client_id: &str) -> Handled {
    let withdrawn = app.directory.deps.withdraw_consent(user, client_id).await;
    withdrawn.map_err(|error| failed(info, &error))?;
    tracing::info!(
        target: "audit",
        event = "consent_withdrawn",
        request_id = info.request_id,
        client = info.client(),
        client_id,
        sub = user.id,
    );
    see_other(&app.catalogue.load().config.public_url.join("/sessions"))
}

fn not_signed_in() -> ErrorResponse {
    ErrorResponse::sign_in_required().with_advice("Sign in to see your sessions.")
}

async fn sessions_of(app: &AppState, user_id: &str) -> Result<Vec<Session>, StoreError> {
    app.store.transaction(|tx| Box::pin(async move { tx.sessions_of(user_id).await })).await
}

fn display_name(providers: &[crate::config::Provider], name: &str) -> String {
    let known = providers.iter().find(|provider| provider.name == name);
    known.map_or(name, |provider| &provider.display_name).to_owned()
}

fn date(at: Timestamp) -> String {
    let date = chrono::DateTime::from_timestamp(at.seconds(), 0).unwrap_or_default();
    // ISO 8601, which every language reads.
    date.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// Formats the time since `then`.
fn ago(t: &Texts, then: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    let (count, words) = match seconds {
        0..90 => return t.just_now.clone(),
        90..5400 => (seconds.div_ceil(60), &t.minutes_ago),
        5400..172_800 => (seconds.div_ceil(3600), &t.hours_ago),
        _ => (seconds / 86400, &t.days_ago),
    };
    words.replace("{}", &count.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_words_of_the_language() {
        let words = |language, seconds| {
            ago(Texts::of(&[language]), Timestamp::from_seconds(0), Timestamp::from_seconds(seconds))
        };
        assert_eq!(words("en", 30), "just now");
        assert_eq!(words("en", 300), "5 min ago");
        assert_eq!(words("de", 7200), "vor 2 Std.");
        assert_eq!(words("fr", 3 * 86400), "il y a 3 j");
    }
}
