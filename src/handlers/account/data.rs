//! `/account/data`: what is stored about the user, as a file.

use super::context::AccountContext;
use crate::handlers::authorize::failed;
use crate::handlers::{AppState, Handled, Reply, RequestData, Shared, unavailable};
use crate::model::Session;
use crate::pages::with_body;
use axum::extract::State;
use http::header::CONTENT_DISPOSITION;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

/// Maximum groups in the file.
const MAX_GROUPS: u32 = 1000;

pub async fn data(State(app): Shared, info: RequestData) -> Reply {
    Reply(file(&app, &info).await)
}

async fn file(app: &AppState, info: &RequestData) -> Handled {
    let context = AccountContext::read(app, info).await?;
    let user = context.principal.user();
    let groups = app.store.groups_of_user(user.no, 0, MAX_GROUPS).await;
    let groups = groups.map_err(|error| unavailable(info, &error))?;
    let id = &*user.id;
    let sessions = app.store.transaction(|tx| Box::pin(async move { tx.sessions_of(id).await })).await;
    let sessions = sessions.map_err(|error| unavailable(info, &error))?;
    let consents = app.directory.deps.consents(user).await.map_err(|error| failed(info, &error))?;
    let attributes: serde_json::Map<String, Value> =
        user.attributes.iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let content = json!({
        "sub": user.id,
        "username": user.username,
        "status": user.status.name(),
        "created_at": user.created_at.seconds(),
        "updated_at": user.updated_at.seconds(),
        "attributes": attributes,
        "groups": groups.iter().map(|group| &group.name).collect::<Vec<_>>(),
        "provider_accounts": user.identities.iter().map(|of| json!({
            "provider": of.provider, "issuer": of.issuer, "subject": of.subject,
        })).collect::<Vec<_>>(),
        "sessions": sessions.iter().map(session).collect::<Vec<_>>(),
        "apps_with_access": consents.iter().map(|of| json!({
            "client_id": of.client_id, "scope": of.scope, "granted_at": of.granted_at.seconds(),
        })).collect::<Vec<_>>(),
    });
    let text = serde_json::to_string_pretty(&content).unwrap_or_default();
    let mut response = with_body(StatusCode::OK, "application/json", text);
    let name = HeaderValue::from_static("attachment; filename=\"account.json\"");
    response.headers_mut().insert(CONTENT_DISPOSITION, name);
    Ok(response)
}

fn session(of: &Session) -> Value {
    json!({
        "provider": of.provider,
        "user_agent": of.user_agent,
        "address": of.address,
        "created_at": of.created_at.seconds(),
        "last_seen_at": of.last_seen_at.seconds(),
    })
}
