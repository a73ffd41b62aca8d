//! Devices without a browser (RFC 8628): `/oauth2/device_authorization` for the device, `/device`
//! for its user.

use super::client::{SignInClient, app_client};
use super::consent::scope_descriptions;
use super::request::granted_scope;
use super::response::failed;
use super::{OTHER_ACCOUNT, page_url};
use crate::authn::{SessionPrincipal, rate_limit_key};
use crate::base::{Duration, Entropy, RandomToken, sha256};
use crate::catalogue::Catalogue;
use crate::handlers::client::{self, AuthenticatedClient, limit_stored_requests};
use crate::handlers::error::{EndpointError, OAuthError};
use crate::handlers::logout::own_origin;
use crate::handlers::{AppState, Handled, Reply, RequestData, Shared, form, session_principal, unavailable};
use crate::model::{AuthorizationRequest, DeviceRequest, DeviceState};
use crate::pages::{
    ConsentPage, ErrorResponse, Field, Form as PageForm, FormPage, HttpResponse, Link, see_other, with_body,
};
use axum::body::Bytes;
use axum::extract::State;
use http::StatusCode;
use std::sync::Arc;

/// Lifetime of the codes.
const LIFETIME: Duration = Duration::from_secs(600);
/// The interval at which a device may ask for its tokens (RFC 8628, section 3.2: "If no value is
/// provided, clients MUST use 5 as the default.").
const INTERVAL: Duration = Duration::from_secs(5);
/// The letters of user codes: RFC 8628, section 6.1, consonants that spell no words.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Letters of a user code: 34 bits.
const CODE_LENGTH: usize = 8;
/// Codes that are tried before one is found that no other device has.
const MAX_ATTEMPTS: usize = 3;

/// Answers a device that wants to sign a user in.
pub async fn device_authorization(State(app): Shared, info: RequestData, body: Bytes) -> Reply {
    let begin = async |request: AuthenticatedClient<'_>| begin(&app, &info, &request).await;
    Reply(client::answer(&app, &info, "device_authorization", &body, begin).await)
}

async fn begin(
    app: &AppState,
    info: &RequestData,
    request: &AuthenticatedClient<'_>,
) -> Result<HttpResponse, EndpointError> {
    let of = request.in_directory(app, info).await?;
    let settings = &of.client.settings;
    if !settings.extensions.device_authorization {
        let why = "this client may not use that grant: `device_authorization` is not set";
        return Err(OAuthError::new("unauthorized_client", why).into());
    }
    let scope = granted_scope(settings, request.parameter("scope")).ok_or_else(|| {
        OAuthError::new("invalid_scope", "the client may not have a scope that it asks for")
    })?;
    limit_stored_requests(app, info, request)?;
    for _ in 0..MAX_ATTEMPTS {
        let (code, user_code) = (RandomToken::random(&*app.entropy), user_code(&*app.entropy));
        let now = app.clock.now();
        let row = &DeviceRequest {
            hash: code.hash(),
            user_code: sha256(&user_code),
            client_id: request.id.clone(),
            scope: scope.clone(),
            state: DeviceState::Waiting,
            session_id: String::new(),
            polled_at: crate::base::Timestamp::from_millis(0),
            poll_interval: INTERVAL,
            expires_at: now.plus(LIFETIME),
        };
        let add = app.store.transaction(|tx| Box::pin(async move { tx.add_device_request(row).await }));
        if add.await.map_err(|error| unavailable(info, &error))? {
            let page = app.catalogue.load().config.public_url.join("/device");
            let shown = shown(&user_code);
            let text = serde_json::json!({
                "device_code": code.text(),
                "user_code": shown,
                "verification_uri": page,
                "verification_uri_complete": format!("{page}?user_code={shown}"),
                "expires_in": LIFETIME.as_secs(),
                "interval": INTERVAL.as_secs(),
            });
            return Ok(with_body(StatusCode::OK, "application/json", text.to_string()));
        }
    }
    Err(ErrorResponse::internal().into())
}

/// Returns a random user code.
fn user_code(entropy: &dyn Entropy) -> String {
    let mut code = String::with_capacity(CODE_LENGTH);
    let mut bytes = [0; 2 * CODE_LENGTH];
    while code.len() < CODE_LENGTH {
        entropy.fill(&mut bytes);
        // 240 is a multiple of 20: each letter is equally likely.
        let letters = bytes.iter().filter(|byte| **byte < 240).map(|byte| LETTERS[usize::from(*byte) % 20]);
        code.extend(letters.take(CODE_LENGTH - code.len()).map(char::from));
    }
    code
}

/// Returns a user code in two groups.
fn shown(code: &str) -> String {
    let (first, second) = code.split_at(code.len() / 2);
    format!("{first}-{second}")
}

/// Returns the letters of a code as a person typed it. RFC 8628, section 6.1: "The server should
/// ignore any characters like punctuation that are not in the user-code character set." `None` for
/// another number of letters.
fn typed(text: &str) -> Option<String> {
    let letters = text.chars().map(|c| c.to_ascii_uppercase());
    let letters: String = letters.filter(|c| c.is_ascii() && LETTERS.contains(&(*c as u8))).collect();
    Some(letters).filter(|letters| letters.len() == CODE_LENGTH)
}

/// The request of a device whose user is signed in.
struct DeviceContext {
    catalogue: Arc<Catalogue>,
    code: String,
    device: DeviceRequest,
    client: SignInClient,
    principal: SessionPrincipal,
}

/// Shows the page for a code, or for the code of the address.
pub async fn device(State(app): Shared, info: RequestData) -> Reply {
    let code = info.parameters().unwrap_or_default().remove("user_code").unwrap_or_default();
    Reply(match code.is_empty() {
        true => code_page(&app, &info, "", ""),
        false => confirmation(&app, &info, &code).await,
    })
}

/// Answers the form with a code.
pub async fn device_form(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(enter(&app, &info, &body).await)
}

/// Answers the form with the user's decision.
pub async fn device_decision(State(app): Shared, info: RequestData, body: String) -> Reply {
    Reply(decide(&app, &info, &body).await)
}

async fn enter(app: &AppState, info: &RequestData, body: &str) -> Handled {
    info.same_origin(&own_origin(app))?;
    let fields = form(body).ok_or_else(ErrorResponse::bad_request)?;
    let text = fields.get("user_code").map_or("", String::as_str);
    match typed(text) {
        // A redirect, so that a reload sends no form.
        Some(code) => {
            let page = app.catalogue.load().config.public_url.join("/device");
            see_other(&format!("{page}?user_code={}", shown(&code)))
        }
        None => code_page(app, info, text, &info.texts().device_wrong_code),
    }
}

/// Returns the page for a code.
fn code_page(app: &AppState, info: &RequestData, typed: &str, problem: &str) -> Handled {
    let t = info.texts();
    let field = Field { max_length: 32, ..Field::new("user_code", &t.code, "off") };
    let form = PageForm {
        action: app.catalogue.load().config.public_url.join("/device"),
        hidden: Vec::new(),
        fields: vec![field.value(typed).problem(problem)],
        submit: t.go_on.clone(),
    };
    let page = FormPage { lead: t.device_lead.clone(), ..FormPage::new(t, &t.device_title) };
    FormPage { form: Some(form), ..page }.answer()
}

/// Finds the request of a code and its client, and the user's session; the inner error is what the
/// browser gets in their place.
async fn read(
    app: &AppState,
    info: &RequestData,
    text: &str,
) -> Result<Result<DeviceContext, Handled>, ErrorResponse> {
    // Section 5.1: "The authorization server SHOULD rate-limit user code attempts".
    let address = info.client.map(rate_limit_key);
    app.limits.user_code_guesses.check(address.as_ref()).map_err(|_| ErrorResponse::too_many_failures())?;
    // An image or a frame of another site must not use up the guesses of a visitor's address.
    if info.header("sec-fetch-dest").is_some_and(|destination| destination != "document") {
        return Err(ErrorResponse::bad_request());
    }
    let catalogue = app.catalogue.load();
    let found = match typed(text) {
        Some(code) => {
            let found = app.store.device_request_of_user(&sha256(&code)).await;
            found.map_err(|error| unavailable(info, &error))?.map(|device| (code, device))
        }
        None => None,
    };
    let is_waiting = |of: &DeviceRequest| of.state == DeviceState::Waiting && app.clock.now() < of.expires_at;
    let Some((code, device)) = found.filter(|(_, device)| is_waiting(device)) else {
        app.limits.user_code_guesses.record(address);
        return Ok(Err(code_page(app, info, text, &info.texts().device_wrong_code)));
    };
    let client = app_client(app, &catalogue, &device.client_id).await;
    let client = client.map_err(|error| failed(info, &error))?.ok_or_else(ErrorResponse::not_found)?;
    let principal = session_principal(app, info).await?;
    match principal.filter(|principal| client.accepts(principal.session())) {
        Some(principal) => Ok(Ok(DeviceContext { catalogue, code, device, client, principal })),
        None => {
            let request = AuthorizationRequest {
                client_id: device.client_id,
                user_code: shown(&code),
                ..AuthorizationRequest::default()
            };
            Ok(Err(see_other(&page_url(&catalogue, "/oauth2/authorize", Some(&request), &[]))))
        }
    }
}

/// Returns the page that asks whether the device is the user's.
async fn confirmation(app: &AppState, info: &RequestData, text: &str) -> Handled {
    let DeviceContext { catalogue, code, device, client, principal } = match read(app, info, text).await? {
        Ok(context) => context,
        Err(answer) => return answer,
    };
    let t = info.texts();
    let user_code = shown(&code);
    let request = AuthorizationRequest {
        client_id: device.client_id,
        user_code: user_code.clone(),
        ..AuthorizationRequest::default()
    };
    let other = [("prompt", OTHER_ACCOUNT)];
    ConsentPage {
        t,
        brand: client.brand(&catalogue),
        title: t.app_asks.replace("{}", &client.of.client.settings.name),
        account: principal.user().display_name().to_owned(),
        code: user_code.clone(),
        scopes: scope_descriptions(t, &device.scope),
        site: String::new(),
        action: catalogue.config.public_url.join("/device/decision"),
        hidden: vec![("user_code", user_code), ("user", principal.user().id.clone())],
        other_account: page_url(&catalogue, "/oauth2/authorize", Some(&request), &other),
    }
    .answer()
}

async fn decide(app: &AppState, info: &RequestData, body: &str) -> Handled {
    info.same_origin(&own_origin(app))?;
    let fields = form(body).ok_or_else(ErrorResponse::bad_request)?;
    let text = fields.get("user_code").map_or("", String::as_str);
    let DeviceContext { catalogue, device, principal, .. } = match read(app, info, text).await? {
        Ok(context) => context,
        Err(answer) => return answer,
    };
    // Somebody else may have signed in since the page was shown.
    if fields.get("user") != Some(&principal.user().id) {
        return confirmation(app, info, text).await;
    }
    let is_allowed = fields.get("decision").is_some_and(|decision| decision == "allow");
    let decision = if is_allowed { DeviceState::Allowed } else { DeviceState::Denied };
    if is_allowed {
        let (user, scope) = (&principal.user().id, &device.scope);
        let granted = app.directory.deps.grant_consent(user, &device.client_id, scope).await;
        granted.map_err(|error| failed(info, &error))?;
    }
    let (hash, session) = (&device.hash, &*principal.session().id);
    let record = app
        .store
        .transaction(|tx| Box::pin(async move { tx.decide_device_request(hash, decision, session).await }));
    if !record.await.map_err(|error| unavailable(info, &error))? {
        return code_page(app, info, "", &info.texts().device_wrong_code);
    }
    tracing::info!(
        target: "audit",
        event = "device_decided",
        request_id = info.request_id,
        client = info.client(),
        client_id = device.client_id,
        sub = principal.user().id,
        scope = device.scope,
        is_allowed,
    );
    let t = info.texts();
    let (title, lead) = match is_allowed {
        true => (&t.device_allowed, &t.device_allowed_effect),
        false => (&t.device_denied, &t.device_denied_effect),
    };
    let home = Link {
        before: String::new(),
        label: t.your_apps.clone(),
        href: catalogue.config.public_url.join("/"),
    };
    FormPage { lead: lead.clone(), links: vec![home], ..FormPage::new(t, title) }.answer()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::SystemEntropy;

    #[test]
    fn a_user_code_has_eight_letters_and_is_read_as_people_type_it() {
        for _ in 0..100 {
            let code = user_code(&SystemEntropy);
            assert_eq!(typed(&shown(&code)).as_deref(), Some(&*code));
            assert_eq!(typed(&format!(" {} ", shown(&code).to_lowercase())).as_deref(), Some(&*code));
        }
        for text in ["", "BCDF", "BCDF-GHJ", "BCDF-GHJKL", "AEIO-UYAE", "１２３４-５６７８"] {
            assert_eq!(typed(text), None, "{text}");
        }
    }
}
