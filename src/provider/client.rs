//! What this client of a provider says at its token endpoint, and what the endpoint's errors mean.

use super::{OutboundError, ProviderError};
use crate::base::{Duration, Timestamp};
use crate::config::{Client, ClientSecret, SignedSecret};
use crate::jose::{self, Algorithm, SigningKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oauth2::{ErrorResponseType, RedirectUrl, RequestTokenError, StandardErrorResponse};
use serde_json::json;

/// How long a secret counts that was signed for one call.
const SIGNED_FOR: Duration = Duration::from_secs(300);

/// The token endpoint's errors that speak of the person's grant (RFC 6749, section 5.2; OpenID Connect
/// Core 1.0, section 3.1.2.6; GitHub's and Slack's own), and not of the client or the server.
const FINAL: [&str; 12] = [
    "invalid_grant",
    "access_denied",
    "login_required",
    "interaction_required",
    "consent_required",
    "account_inactive",
    "bad_refresh_token",
    "expired_token",
    "invalid_refresh_token",
    "invalid_token",
    "token_expired",
    "token_revoked",
];

/// Whether an error that answers a refresh request is about the refresh token, and so will not pass.
///
/// Some servers answer `invalid_request` for a token that they do not know. All else in our request is the same for
/// everybody, so it is about the token, unless the description names another part of the request.
fn is_about_token(code: &str, description: Option<&str>) -> bool {
    const OTHER_PARTS: [&str; 4] = ["client", "grant_type", "scope", "content"];
    let description = description.unwrap_or_default().to_ascii_lowercase();
    let names_other_part = OTHER_PARTS.iter().any(|part| description.contains(part));
    let names_token = description.contains("refresh");
    FINAL.contains(&code) || (code == "invalid_request" && (names_token || !names_other_part))
}

/// What proves to the provider `audience` who we are.
pub fn secret(
    client: &Client,
    audience: &str,
    now: Timestamp,
) -> Result<Option<oauth2::ClientSecret>, ProviderError> {
    let text = match &client.secret {
        None => return Ok(None),
        Some(ClientSecret::Shared(secret)) => secret.expose().to_owned(),
        Some(ClientSecret::Signed(key)) => signed(key, &client.id, audience, now)?,
    };
    Ok(Some(oauth2::ClientSecret::new(text)))
}

/// Apple's client secret: a JWT of the team's, which names the client and is signed with ES256.
fn signed(key: &SignedSecret, client: &str, audience: &str, now: Timestamp) -> Result<String, ProviderError> {
    let unusable =
        |why: String| ProviderError::Unavailable(format!("our private key for it cannot be used: {why}"));
    let base64: String =
        key.private_key.expose().lines().map(str::trim).filter(|line| !line.starts_with('-')).collect();
    let pkcs8 = STANDARD.decode(base64).map_err(|error| unusable(error.to_string()))?;
    let pkcs8 = zeroize::Zeroizing::new(pkcs8);
    let signing = SigningKey::read(&key.key_id, Algorithm::Es256, &pkcs8);
    let claims = json!({
        "iss": key.team_id, "sub": client, "aud": audience,
        "iat": now.seconds(), "exp": now.plus(SIGNED_FOR).seconds(),
    });
    signing
        .and_then(|signing| jose::sign(&signing, &[], &claims))
        .map_err(|error| unusable(error.to_string()))
}

/// The address that browsers come back to.
pub fn callback(uri: &str) -> Result<RedirectUrl, ProviderError> {
    RedirectUrl::new(uri.to_owned())
        .map_err(|error| ProviderError::Unavailable(format!("our callback is no URL: {error}")))
}

type Failed<T> = RequestTokenError<OutboundError, StandardErrorResponse<T>>;

/// Why a code was not redeemed.
pub fn not_redeemed<T: ErrorResponseType + AsRef<str> + std::fmt::Display + 'static>(
    error: Failed<T>,
) -> ProviderError {
    match error {
        RequestTokenError::ServerResponse(answer) => {
            ProviderError::invalid("token endpoint", format!("it refused the code: {}", words(&answer)))
        }
        error => unanswered(error),
    }
}

/// Why tokens were not renewed.
pub fn not_renewed<T: ErrorResponseType + AsRef<str> + std::fmt::Display + 'static>(
    error: Failed<T>,
) -> ProviderError {
    match error {
        RequestTokenError::ServerResponse(answer)
            if is_about_token(answer.error().as_ref(), answer.error_description().map(String::as_str)) =>
        {
            let description = answer.error_description().cloned().unwrap_or_default();
            ProviderError::Refused { code: answer.error().as_ref().to_owned(), description }
        }
        // A secret that was changed, or a fault over there, is not the person's.
        RequestTokenError::ServerResponse(answer) => ProviderError::Unavailable(words(&answer)),
        error => unanswered(error),
    }
}

fn words<T: ErrorResponseType + AsRef<str> + std::fmt::Display + 'static>(
    answer: &StandardErrorResponse<T>,
) -> String {
    let description = answer.error_description().map_or("", String::as_str);
    format!("{} {description}", answer.error().as_ref())
}

fn unanswered<T: ErrorResponseType + std::fmt::Display + 'static>(error: Failed<T>) -> ProviderError {
    ProviderError::Unavailable(match error {
        RequestTokenError::Request(error) => error.to_string(),
        RequestTokenError::Parse(error, _) => format!("its token endpoint's answer cannot be read: {error}"),
        RequestTokenError::Other(why) => why,
        RequestTokenError::ServerResponse(_) => "it answered an error".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_refresh_token_is_told_from_a_faulty_request() {
        for (code, description, is_final) in [
            ("invalid_grant", None, true),
            ("invalid_token", None, true),
            ("invalid_request", None, true),
            ("invalid_request", Some(""), true),
            ("invalid_request", Some("Unknown refresh token"), true),
            ("invalid_request", Some("The refresh token was issued to another client"), true),
            ("invalid_request", Some("Client authentication failed"), false),
            ("invalid_request", Some("Missing parameter: grant_type"), false),
            ("invalid_request", Some("The Content-Type is wrong"), false),
            ("invalid_client", None, false),
            ("invalid_scope", None, false),
            ("server_error", None, false),
            ("temporarily_unavailable", Some("token service"), false),
        ] {
            assert_eq!(is_about_token(code, description), is_final, "{code} {description:?}");
        }
    }
}
