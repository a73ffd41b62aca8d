//! `/saml2/…`: service provider metadata, responses by POST, and single logout in both directions.

use super::callback::{self, Step};
use super::logout::ended_by_provider;
use super::{AppState, Handled, Reply, RequestData, Shared, form};
use crate::authn::{
    ConcurrencyPermit, LOGIN_COOKIE, cookie_value, rate_limit_key, set_cookie_value_same_site,
};
use crate::broker::{ATTEMPT_COOKIE_LIFETIME, LoginError, LogoutOutcome, SamlPost};
use crate::catalogue::Catalogue;
use crate::config::SameSite;
use crate::pages::{self, ErrorResponse, browser_action, see_other, set_cookie, with_body};
use crate::provider::ProviderError;
use crate::provider::saml::LogoutBinding;
use axum::extract::{Path, RawQuery, State};
use http::{Method, StatusCode};
use std::net::IpAddr;

/// Returns the service provider metadata for a provider.
pub(super) async fn metadata(State(app): Shared, Path(provider): Path<String>) -> Reply {
    let text = app.broker.saml_metadata(&app.catalogue.load(), &provider);
    Reply(match text {
        Some(text) => Ok(with_body(StatusCode::OK, "application/samlmetadata+xml", text.as_bytes().to_vec())),
        None => Err(ErrorResponse::not_found()),
    })
}

/// Receives a response by POST (SAML bindings, section 3.5).
pub(super) async fn post(
    State(app): Shared,
    Path(provider): Path<String>,
    info: RequestData,
    text: String,
) -> Reply {
    Reply(validate_response(&app, &info, &provider, &text).await)
}

/// Continues a login after the POST. This request includes the session cookie, which `SameSite=Lax`
/// withholds from the POST.
pub(super) async fn resume(State(app): Shared, Path(provider): Path<String>, info: RequestData) -> Reply {
    Reply(callback::finish(&app, &info, &provider, Step::Resume).await)
}

async fn validate_response(app: &AppState, info: &RequestData, provider: &str, text: &str) -> Handled {
    let catalogue = app.catalogue.load();
    let parameters = form(text).ok_or_else(ErrorResponse::bad_request)?;
    // The relay state names the attempt; the attempt's cookie binds the login to this browser. It
    // is never used as an address.
    let id = parameters.get("RelayState").map(String::as_str).unwrap_or_default();
    let login = cookie_value(info.cookies(), &format!("{LOGIN_COOKIE}{id}"))
        .filter(|_| !id.is_empty())
        .and_then(|sealed| app.broker.attempt(&catalogue, id, sealed));
    let again = login.as_ref().map(|login| login.restart_url(&catalogue));
    // Any page can make a browser send an unsolicited response, so those have a separate limit.
    let failures =
        if login.is_some() { &app.limits.failed_sign_ins } else { &app.limits.unsolicited_failures };
    callback::check_rate_limit(failures, info, &catalogue, provider)?;
    let _place = verification_permit(app, info)?;
    let posted = SamlPost { parameters: &parameters, id, login };
    let validated = match app.broker.validate_saml_response(&catalogue, provider, posted).await {
        Ok(validated) => validated,
        // The POST had no session cookie: the next step has it, and decides how to continue.
        Err(LoginError::NoAttempt) => {
            let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
            return see_other(&resume_at(&catalogue, provider, &id));
        }
        Err(error) => {
            let failure = callback::audit_refusal(info, provider, error, failures);
            return Err(match again {
                Some(again) => failure.with_action("Try again", again),
                None => failure,
            });
        }
    };
    let mut response = see_other(&resume_at(&catalogue, provider, &validated.id))?;
    if let Some(sealed) = validated.sealed {
        let name = format!("{LOGIN_COOKIE}{}", validated.id);
        set_cookie(
            &mut response,
            &set_cookie_value_same_site(&name, &sealed, Some(ATTEMPT_COOKIE_LIFETIME), SameSite::Lax),
        )?;
    }
    Ok(response)
}

/// Reserves a slot for verification, so that one address cannot fill the queue.
fn verification_permit(
    app: &AppState,
    info: &RequestData,
) -> Result<ConcurrencyPermit<IpAddr>, ErrorResponse> {
    app.limits
        .saml_messages
        .try_acquire(info.client.map(rate_limit_key))
        .ok_or_else(ErrorResponse::unavailable)
}

/// Returns the address of the browser's next step.
fn resume_at(catalogue: &Catalogue, provider: &str, id: &str) -> String {
    catalogue.config.public_url.join(&format!("/saml2/idpresponse/{provider}?state={id}"))
}

/// Receives a logout message in a query.
pub(super) async fn logout_query(
    State(app): Shared,
    Path(provider): Path<String>,
    info: RequestData,
    RawQuery(query): RawQuery,
) -> Reply {
    let query = query.unwrap_or_default();
    Reply(logout(&app, &info, &provider, LogoutBinding::Query(query.into()), &Method::GET).await)
}

/// Receives a logout message in a form.
pub(super) async fn logout_form(
    State(app): Shared,
    Path(provider): Path<String>,
    info: RequestData,
    text: String,
) -> Reply {
    Reply(logout(&app, &info, &provider, LogoutBinding::Form(text.into()), &Method::POST).await)
}

async fn logout(
    app: &AppState,
    info: &RequestData,
    provider: &str,
    arrived: LogoutBinding,
    method: &Method,
) -> Handled {
    let catalogue = app.catalogue.load();
    callback::check_rate_limit(&app.limits.failed_sign_ins, info, &catalogue, provider)?;
    let _place = verification_permit(app, info)?;
    let is_response = arrived.is_response();
    let outcome = match app.broker.logout_message(&catalogue, provider, arrived).await {
        Ok(outcome) => outcome,
        Err(LoginError::NoSuchProvider) => return Err(ErrorResponse::not_found()),
        // Narthex's session ended before the logout request, and some providers do not sign the
        // response.
        Err(error @ LoginError::Provider(ProviderError::Invalid { check: "unsigned", .. }))
            if is_response =>
        {
            tracing::info!(provider, request_id = info.request_id, %error, "rejected a logout response");
            return see_other(&catalogue.config.public_url.join("/logout"));
        }
        Err(error) => {
            tracing::warn!(
                target: "audit",
                event = "saml_logout_failed",
                request_id = info.request_id,
                client = info.client(),
                provider,
                reason = error.reason(),
                detail = %error,
            );
            callback::record_failure(&app.limits.failed_sign_ins, info, &error);
            return Err(callback::error_page(info, error));
        }
    };
    let (ended, response) = match outcome {
        LogoutOutcome::Ended(ended, response) => (ended, response),
        LogoutOutcome::Answered { relay_state, success } => {
            if !success {
                tracing::warn!(
                    provider,
                    request_id = info.request_id,
                    "the provider did not end all its sessions"
                );
            }
            // The value is one of Narthex's hosts, or is ignored by the page.
            let host: String = url::form_urlencoded::byte_serialize(relay_state.as_bytes()).collect();
            return see_other(&catalogue.config.public_url.join(&format!("/logout?app={host}")));
        }
    };
    ended_by_provider(app, info, provider, &ended);
    match response {
        Some(response) => browser_action(&response, method, info.texts()),
        None => {
            let brand = super::branding::brand_of_pool(app, &catalogue, &catalogue.pool.id).await;
            let sign_in_again = catalogue.config.public_url.join("/");
            pages::SignedOutPage { t: info.texts(), brand, sign_in_again }.answer()
        }
    }
}
