//! `/saml2/…`: what providers are to know of us, what their forms bring, and logout by the browser in both
//! directions.

use super::callback::{self, Step};
use super::logout::ended_by_provider;
use super::{Handled, Pool, Reply, RequestInfo, Shared, form};
use crate::access::{LOGIN_COOKIE, Place, find, network, set_for};
use crate::broker::{ATTEMPT_COOKIE_LIFETIME, LoginError, LogoutHeard, Posted};
use crate::catalogue::Catalogue;
use crate::config::SameSite;
use crate::hosted::{self, Failure, body, onward, see_other, set_cookie};
use crate::provider::ProviderError;
use crate::provider::saml::Arrived;
use axum::extract::{Path, RawQuery, State};
use http::{Method, StatusCode};
use std::net::IpAddr;

/// Our metadata for a provider.
pub(super) async fn metadata(State(pool): Shared, Path(provider): Path<String>) -> Reply {
    let text = pool.broker.saml_metadata(&pool.current.load(), &provider);
    Reply(match text {
        Some(text) => Ok(body(StatusCode::OK, "application/samlmetadata+xml", text.as_bytes().to_vec())),
        None => Err(Failure::not_found()),
    })
}

/// SAML bindings, section 3.5: a provider's form brings a response.
pub(super) async fn post(
    State(pool): Shared,
    Path(provider): Path<String>,
    info: RequestInfo,
    text: String,
) -> Reply {
    Reply(judge(&pool, &info, &provider, &text).await)
}

/// The browser's next step, in which it shows its session again: `SameSite=Lax` has kept that from the form.
pub(super) async fn resume(State(pool): Shared, Path(provider): Path<String>, info: RequestInfo) -> Reply {
    Reply(callback::finish(&pool, &info, &provider, Step::Resume).await)
}

async fn judge(pool: &Pool, info: &RequestInfo, provider: &str, text: &str) -> Handled {
    let catalogue = pool.current.load();
    let parameters = form(text).ok_or_else(Failure::bad_request)?;
    // The relay state names the attempt; that this browser carries it binds the login to it. It is never an
    // address.
    let id = parameters.get("RelayState").map(String::as_str).unwrap_or_default();
    let login = find(info.cookies(), &format!("{LOGIN_COOKIE}{id}"))
        .filter(|_| !id.is_empty())
        .and_then(|sealed| pool.broker.attempt(&catalogue, id, sealed));
    let again = login.as_ref().map(|login| login.again(&catalogue));
    // Any page can have a browser send a response that nobody asked for: those have a limit of their own.
    let failures = if login.is_some() { &pool.failures } else { &pool.unsolicited_failures };
    callback::not_too_often(failures, info, &catalogue, provider)?;
    let _place = in_progress(pool, info)?;
    let posted = Posted { parameters: &parameters, id, login };
    let judged = match pool.broker.judge(&catalogue, provider, posted).await {
        Ok(judged) => judged,
        // The form brought no session: the browser's next step does, and decides on the way on.
        Err(LoginError::NoAttempt) => {
            let id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
            return see_other(&resume_at(&catalogue, provider, &id));
        }
        Err(error) => {
            let failure = callback::refused(info, provider, error, failures);
            return Err(match again {
                Some(again) => failure.with_action("Try again", again),
                None => failure,
            });
        }
    };
    let mut answer = see_other(&resume_at(&catalogue, provider, &judged.id))?;
    if let Some(sealed) = judged.sealed {
        let name = format!("{LOGIN_COOKIE}{}", judged.id);
        set_cookie(&mut answer, &set_for(&name, &sealed, Some(ATTEMPT_COOKIE_LIFETIME), SameSite::Lax))?;
    }
    Ok(answer)
}

/// The place of a message among those that are verified: one address cannot fill the queue.
fn in_progress(pool: &Pool, info: &RequestInfo) -> Result<Place<IpAddr>, Failure> {
    pool.saml_messages.begin(info.client.map(network)).ok_or_else(Failure::unavailable)
}

/// The address of the browser's next step.
fn resume_at(catalogue: &Catalogue, provider: &str, id: &str) -> String {
    catalogue.config.public_url.join(&format!("/saml2/idpresponse/{provider}?state={id}"))
}

/// A logout message in an address.
pub(super) async fn logout_query(
    State(pool): Shared,
    Path(provider): Path<String>,
    info: RequestInfo,
    RawQuery(query): RawQuery,
) -> Reply {
    let query = query.unwrap_or_default();
    Reply(logout(&pool, &info, &provider, Arrived::Query(query.into()), &Method::GET).await)
}

/// A logout message in a form.
pub(super) async fn logout_form(
    State(pool): Shared,
    Path(provider): Path<String>,
    info: RequestInfo,
    text: String,
) -> Reply {
    Reply(logout(&pool, &info, &provider, Arrived::Form(text.into()), &Method::POST).await)
}

async fn logout(
    pool: &Pool,
    info: &RequestInfo,
    provider: &str,
    arrived: Arrived,
    method: &Method,
) -> Handled {
    let catalogue = pool.current.load();
    callback::not_too_often(&pool.failures, info, &catalogue, provider)?;
    let _place = in_progress(pool, info)?;
    let is_response = arrived.is_response();
    let heard = match pool.broker.logout_message(&catalogue, provider, arrived).await {
        Ok(heard) => heard,
        Err(LoginError::NoSuchProvider) => return Err(Failure::not_found()),
        // Our own session had ended before we asked, and some providers do not sign their answer.
        Err(error @ LoginError::Provider(ProviderError::Invalid { check: "unsigned", .. }))
            if is_response =>
        {
            tracing::info!(provider, request_id = info.request_id, %error, "an answer to a logout was not read");
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
            callback::count_failure(&pool.failures, info, &error);
            return Err(callback::failure(info, error));
        }
    };
    let (ended, answer) = match heard {
        LogoutHeard::Ended(ended, answer) => (ended, answer),
        LogoutHeard::Answered { relay_state, success } => {
            if !success {
                tracing::warn!(
                    provider,
                    request_id = info.request_id,
                    "the provider did not end all its sessions"
                );
            }
            // What comes back is one of our hosts, or nothing: the page itself sees to that.
            let app: String = url::form_urlencoded::byte_serialize(relay_state.as_bytes()).collect();
            return see_other(&catalogue.config.public_url.join(&format!("/logout?app={app}")));
        }
    };
    ended_by_provider(pool, info, provider, &ended);
    match answer {
        Some(answer) => onward(&answer, method),
        None => hosted::SignedOutPage { again: catalogue.config.public_url.join("/") }.answer(),
    }
}
