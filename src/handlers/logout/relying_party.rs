//! Sign-out by an app client: Cognito's `logout_uri`, and RP-initiated logout (OpenID Connect
//! RP-Initiated Logout 1.0, section 2).

use super::{end_session, frames, session_to_end, sign_out_unavailable};
use crate::authn::{POOL_COOKIE, clear_cookie_value};
use crate::directory::PoolOfClient;
use crate::handlers::authorize::failed;
use crate::handlers::{AppState, Handled, RequestData, form};
use crate::jose::Unverified;
use crate::pages::{ErrorResponse, redirect_page, see_other, set_cookie};
use serde_json::Value;
use std::sync::Arc;
use url::Url;

/// Where a client sends the browser after a sign-out.
pub(super) struct Target {
    of: Arc<PoolOfClient>,
    url: String,
    /// The user of the ID token that the client sent as a hint.
    user: Option<String>,
}

/// Reads the request of a client; `None` if the request names none.
///
/// # Errors
/// The client or its address is unknown: RP-Initiated Logout 1.0, section 3, "the OP MUST NOT
/// perform post-logout redirection if" the address "does not exactly match one of the previously
/// registered" values.
pub(super) async fn read(app: &AppState, info: &RequestData) -> Result<Option<Target>, ErrorResponse> {
    let Some(mut form) = info.parameters() else { return Err(ErrorResponse::bad_request()) };
    let hint = form.remove("id_token_hint");
    let named = form.remove("client_id").or_else(|| hint.as_deref().and_then(audience));
    let Some(client_id) = named else { return Ok(None) };
    let found = app.directory.pools.client(&client_id).await.map_err(|error| {
        tracing::error!(request_id = info.request_id, %error, "cannot read an app client");
        ErrorResponse::unavailable()
    })?;
    let of = found.ok_or_else(ErrorResponse::bad_request)?;
    let user = match hint {
        Some(hint) => match hinted_user(app, info, &of, &hint).await? {
            Some(user) => Some(user),
            // The page asks the user.
            None => return Ok(None),
        },
        // Anybody with an initial access token could have chosen where the browser goes.
        None if of.client.settings.extensions.is_registered => return Ok(None),
        None => None,
    };
    let settings = &of.client.settings;
    let asked = form.remove("logout_uri").or_else(|| form.remove("post_logout_redirect_uri"));
    let url = match asked {
        Some(asked) if settings.logout_urls.contains(&asked) => with_state(&asked, form.get("state"))?,
        Some(_) => return Err(ErrorResponse::bad_request()),
        // Cognito: with `redirect_uri` the browser goes on to the sign-in page.
        None if form.contains_key("redirect_uri") => {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("client_id", &client_id).extend_pairs(&form);
            app.catalogue.load().config.public_url.join(&format!("/login?{}", query.finish()))
        }
        None => return Ok(None),
    };
    Ok(Some(Target { of, url, user }))
}

/// Returns whether a form is the request of a client, and not of Narthex's own page. RP-Initiated
/// Logout 1.0, section 2: servers "MUST support the use of the HTTP GET and POST methods".
pub(super) fn is_request(text: &str) -> bool {
    form(text).is_some_and(|form| form.contains_key("client_id") || form.contains_key("id_token_hint"))
}

/// Returns the client that an ID token names, before its verification.
fn audience(hint: &str) -> Option<String> {
    let Unverified { claims, .. } = Unverified::read(hint).ok()?;
    claims.get("aud").and_then(Value::as_str).map(str::to_owned)
}

/// Returns the user of an ID token of the client, which may have expired. Section 2: "the OP MUST
/// validate that it was the issuer of the ID Token", and that a `client_id` "matches the Client
/// Identifier used when issuing the ID Token".
async fn hinted_user(
    app: &AppState,
    info: &RequestData,
    of: &PoolOfClient,
    hint: &str,
) -> Result<Option<String>, ErrorResponse> {
    let issuer = app.catalogue.load().issuer_of(&of.pool.id);
    let user = app.directory.tokens.user_of_id_token(&of.pool, &issuer, &of.client.id, hint).await;
    user.map_err(|error| failed(info, &error))
}

fn with_state(url: &str, state: Option<&String>) -> Result<String, ErrorResponse> {
    let mut url = Url::parse(url).map_err(|_| ErrorResponse::internal())?;
    if let Some(state) = state {
        url.query_pairs_mut().append_pair("state", state);
    }
    Ok(url.into())
}

/// Ends the browser's session, if its user is of the client's pool, and leads back to the client.
pub(super) async fn sign_out(app: &AppState, info: &RequestData, target: Target) -> Handled {
    // Only a page that the user opens may end a session, and no image or frame of another site.
    if info.header("sec-fetch-dest").is_some_and(|destination| destination != "document") {
        return Err(ErrorResponse::bad_request());
    }
    let principal = session_to_end(app, info).await?;
    let principal = principal.filter(|principal| principal.session().pool_id == target.of.pool.id);
    // Section 2: if the ID token is of another user, the server "SHOULD ask the End-User whether to
    // log out".
    if let (Some(principal), Some(user)) = (&principal, &target.user)
        && principal.user().id != *user
    {
        return super::page(app, info).await;
    }
    let frames = match &principal {
        Some(principal) => frames(app, info, &principal.session().id).await?,
        None => Vec::new(),
    };
    let mut response = match frames.is_empty() {
        true => see_other(&target.url)?,
        false => redirect_page(&target.url, &frames, info.texts())?,
    };
    if let Some(principal) = principal {
        end_session(app, &info.request_id, &info.client(), &principal.session().id)
            .await
            .map_err(|error| sign_out_unavailable(app, info, &error))?;
        set_cookie(&mut response, &clear_cookie_value(POOL_COOKIE))?;
    }
    Ok(response)
}
