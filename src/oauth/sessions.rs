//! `/sessions`: where a person sees every session of theirs, and ends one or all.

use super::{Handled, Pool, Reply, RequestInfo, Shared, form, logout, signed_in, unavailable};
use crate::base::Timestamp;
use crate::hosted::{Device, Failure, SessionRow, SessionsPage, see_other};
use crate::model::Session;
use crate::store::StoreError;
use axum::extract::State;

pub(super) async fn get(State(pool): Shared, info: RequestInfo) -> Reply {
    Reply(page(&pool, &info).await)
}

pub(super) async fn post(State(pool): Shared, info: RequestInfo, text: String) -> Reply {
    Reply(end(&pool, &info, &text).await)
}

async fn page(pool: &Pool, info: &RequestInfo) -> Handled {
    let catalogue = pool.current.load();
    let Some(principal) = signed_in(pool, info).await? else { return Err(nobody()) };
    let (now, idle) = (pool.clock.now(), catalogue.config.session.idle);
    let mut sessions = sessions_of(pool, &principal.user().id).await.map_err(|e| unavailable(info, &e))?;
    sessions.retain(|session| session.stands(session.last_seen_at, idle, now));
    let row = |session: &Session| SessionRow {
        id: session.id.clone(),
        device: Device::of(&session.user_agent),
        address: session.address.clone(),
        provider: display_name(&catalogue.config.providers, &session.provider),
        began: date(session.created_at),
        last_seen: ago(session.last_seen_at, now),
        here: session.id == principal.session().id,
    };
    SessionsPage {
        name: principal.user().display_name().to_owned(),
        home: catalogue.config.public_url.join("/"),
        action: catalogue.config.public_url.join("/sessions"),
        rows: sessions.iter().map(row).collect(),
    }
    .answer()
}

/// What a form of this page asks for: one session by its id, or all.
async fn end(pool: &Pool, info: &RequestInfo, text: &str) -> Handled {
    info.same_origin(&logout::own_origin(pool))?;
    let Some(principal) = signed_in(pool, info).await? else { return Err(nobody()) };
    let asked = form(text).ok_or_else(Failure::bad_request)?;
    let all = asked.contains_key("all");
    let own = principal.session().id.as_str();
    let store = |error: StoreError| unavailable(info, &error);
    let sessions = sessions_of(pool, &principal.user().id).await.map_err(store)?;
    let meant = |session: &&Session| all || asked.get("session") == Some(&session.id);
    for session in sessions.iter().filter(meant).filter(|session| session.id != own) {
        logout::end_session(pool, &info.request_id, &info.client(), &session.id).await.map_err(store)?;
    }
    match all || asked.get("session").is_some_and(|id| id == own) {
        true => logout::sign_out(pool, info, own, "").await,
        false => see_other(&pool.current.load().config.public_url.join("/sessions")),
    }
}

fn nobody() -> Failure {
    Failure::sign_in_required().with_advice("Sign in to see your sessions.")
}

async fn sessions_of(pool: &Pool, user_id: &str) -> Result<Vec<Session>, StoreError> {
    pool.store.transaction(|tx| Box::pin(async move { tx.sessions_of(user_id).await })).await
}

fn display_name(providers: &[crate::config::Provider], name: &str) -> String {
    let known = providers.iter().find(|provider| provider.name == name);
    known.map_or(name, |provider| &provider.display_name).to_owned()
}

fn date(at: Timestamp) -> String {
    let date = chrono::DateTime::from_timestamp(at.seconds(), 0).unwrap_or_default();
    date.format("%-d %b %Y, %H:%M UTC").to_string()
}

/// How long ago `then` was, in words.
fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.since(then).as_secs();
    let (count, unit) = match seconds {
        0..90 => return "just now".to_owned(),
        90..5400 => (seconds.div_ceil(60), "minutes"),
        5400..172_800 => (seconds.div_ceil(3600), "hours"),
        _ => (seconds / 86400, "days"),
    };
    format!("{count} {unit} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_words() {
        let words = |seconds| ago(Timestamp::from_seconds(0), Timestamp::from_seconds(seconds));
        assert_eq!(words(30), "just now");
        assert_eq!(words(300), "5 minutes ago");
        assert_eq!(words(7200), "2 hours ago");
        assert_eq!(words(3 * 86400), "3 days ago");
    }
}
