//! What this client of a provider says at its token endpoint, and what the endpoint's errors mean.

use super::{OutboundError, ProviderError};
use crate::base::{Duration, Entropy, RandomToken, Secret, Timestamp};
use crate::config::{Client, ClientAuth, ClientSecret, PrivateKey, SignedSecret};
use crate::jose::{self, Algorithm, HeaderParameter, SigningKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oauth2::{AuthType, ErrorResponseType, RedirectUrl, RequestTokenError, StandardErrorResponse};
use serde_json::json;

/// Lifetime of a secret that is signed for one call.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(300);

/// The token endpoint's errors that speak of the person's grant (RFC 6749, section 5.2; OpenID
/// Connect Core 1.0, section 3.1.2.6; GitHub's and Slack's own), and not of the client or the
/// server.
const PERMANENT_GRANT_ERRORS: [&str; 12] = [
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

/// Whether an error that answers a refresh request is about the refresh token, and so will not
/// pass.
///
/// Some servers answer `invalid_request` for a token that they do not know. All else in our request
/// is the same for everybody, so it is about the token, unless the description names another part
/// of the request.
fn is_about_token(code: &str, description: Option<&str>) -> bool {
    const OTHER_PARTS: [&str; 4] = ["client", "grant_type", "scope", "content"];
    let description = description.unwrap_or_default().to_ascii_lowercase();
    let names_other_part = OTHER_PARTS.iter().any(|part| description.contains(part));
    let names_token = description.contains("refresh");
    PERMANENT_GRANT_ERRORS.contains(&code)
        || (code == "invalid_request" && (names_token || !names_other_part))
}

/// How a token request proves who sends it (OpenID Connect Core 1.0, section 9).
pub struct Authentication {
    /// Where the secret is sent, if there is one.
    pub auth_type: AuthType,
    /// The client secret.
    pub secret: Option<oauth2::ClientSecret>,
    /// The parameters that the request carries beside: a signed assertion.
    pub parameters: Parameters,
}

/// The names and values of request parameters.
pub type Parameters = Vec<(&'static str, String)>;

/// What a client knows of its provider when it authenticates.
pub struct Recipient<'a> {
    /// The provider's issuer.
    pub issuer: &'a str,
    /// Its token endpoint.
    pub token_endpoint: &'a str,
    /// The methods that it says it supports, where it says so.
    pub supported: Option<&'a [String]>,
    /// The method that a preset knows to work.
    pub usual: ClientAuth,
}

/// Authenticates `client` to a provider.
///
/// # Errors
/// Where our private key cannot be used.
pub fn authenticate(
    client: &Client,
    recipient: &Recipient<'_>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Authentication, ProviderError> {
    let secret = match &client.secret {
        None => None,
        Some(ClientSecret::Shared(secret)) => Some(secret.expose().to_owned()),
        Some(ClientSecret::Signed(key)) => Some(apple_client_secret(key, &client.id, recipient.issuer, now)?),
        Some(ClientSecret::Key(key)) => {
            let assertion = assertion(key, &client.id, recipient.token_endpoint, now, entropy)?;
            let parameters =
                vec![("client_assertion_type", ASSERTION_TYPE.to_owned()), ("client_assertion", assertion)];
            return Ok(Authentication { auth_type: AuthType::RequestBody, secret: None, parameters });
        }
    };
    let method = client.auth.unwrap_or(recipient.usual);
    let auth_type = match method {
        ClientAuth::Basic => AuthType::BasicAuth,
        ClientAuth::Post | ClientAuth::PrivateKeyJwt | ClientAuth::None => AuthType::RequestBody,
        ClientAuth::AsMetadataSays => as_metadata_says(&client.id, secret.as_deref(), recipient.supported),
    };
    let secret = secret.filter(|_| method != ClientAuth::None).map(oauth2::ClientSecret::new);
    Ok(Authentication { auth_type, secret, parameters: Vec::new() })
}

/// RFC 6749, section 2.3.1: Basic is the way every server must know; OpenID Connect Discovery 1.0,
/// section 3: it is also what a document without the list means.
///
/// Basic credentials are form-encoded first, which some servers do not undo: what the encoding
/// changes is sent in the body, where the server says that it takes it there.
fn as_metadata_says(id: &str, secret: Option<&str>, supported: Option<&[String]>) -> AuthType {
    let Some(supported) = supported else { return AuthType::BasicAuth };
    let supports = |method: &str| supported.iter().any(|known| known == method);
    let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._*".contains(&b));
    let is_ambiguous = !is_plain(id) || !is_plain(secret.unwrap_or_default());
    match supports("client_secret_basic") {
        true if is_ambiguous && supports("client_secret_post") => AuthType::RequestBody,
        true => AuthType::BasicAuth,
        false => AuthType::RequestBody,
    }
}

/// RFC 7523, section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client assertion (RFC 7523, section 3). OpenID Connect Core 1.0, section 9: "The Audience
/// SHOULD be the URL of the Authorization Server's Token Endpoint."
fn assertion(
    key: &PrivateKey,
    client: &str,
    audience: &str,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<String, ProviderError> {
    let signing = signing_key(key)?;
    let claims = json!({
        "iss": client, "sub": client, "aud": audience, "jti": RandomToken::random(entropy).text(),
        "iat": now.seconds(), "nbf": now.seconds(), "exp": now.plus(ASSERTION_LIFETIME).seconds(),
    });
    let header: Vec<_> =
        key.thumbprint.iter().map(|(name, text)| (*name, HeaderParameter::Text(text))).collect();
    jose::sign(&signing, &header, &claims).map_err(|error| unusable(&error))
}

/// The private key of the file. What it signs with follows from its kind.
fn signing_key(key: &PrivateKey) -> Result<SigningKey, ProviderError> {
    let pkcs8 = pkcs8(&key.pem)?;
    let read = |algorithm: &Algorithm| SigningKey::read(&key.id, *algorithm, &pkcs8).ok();
    [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa].iter().find_map(read).ok_or_else(|| {
        unusable(
            &"it is not RSA of 2048 bits or more, P-256 or Ed25519; help: make one with `openssl genpkey`",
        )
    })
}

fn unusable(why: &dyn std::fmt::Display) -> ProviderError {
    ProviderError::Unavailable(format!("our private key for it cannot be used: {why}"))
}

/// The DER of a PEM text (RFC 7468, section 10).
fn pkcs8(pem: &Secret) -> Result<zeroize::Zeroizing<Vec<u8>>, ProviderError> {
    let base64: String = pem.expose().lines().map(str::trim).filter(|line| !line.starts_with('-')).collect();
    let base64 = zeroize::Zeroizing::new(base64);
    STANDARD.decode(&*base64).map(zeroize::Zeroizing::new).map_err(|error| unusable(&error))
}

/// Apple's client secret: a JWT of the team's, which names the client and is signed with ES256.
fn apple_client_secret(
    key: &SignedSecret,
    client: &str,
    audience: &str,
    now: Timestamp,
) -> Result<String, ProviderError> {
    let pkcs8 = pkcs8(&key.private_key)?;
    let signing = SigningKey::read(&key.key_id, Algorithm::Es256, &pkcs8);
    let claims = json!({
        "iss": key.team_id, "sub": client, "aud": audience,
        "iat": now.seconds(), "exp": now.plus(ASSERTION_LIFETIME).seconds(),
    });
    signing.and_then(|signing| jose::sign(&signing, &[], &claims)).map_err(|error| unusable(&error))
}

/// The address that browsers come back to.
pub fn callback(uri: &str) -> Result<RedirectUrl, ProviderError> {
    RedirectUrl::new(uri.to_owned())
        .map_err(|error| ProviderError::Unavailable(format!("our callback is no URL: {error}")))
}

type Failed<T> = RequestTokenError<OutboundError, StandardErrorResponse<T>>;

/// Why a code was not redeemed.
pub fn code_exchange_error<T: ErrorResponseType + AsRef<str> + std::fmt::Display + 'static>(
    error: Failed<T>,
) -> ProviderError {
    match error {
        RequestTokenError::ServerResponse(answer) => ProviderError::invalid(
            "token endpoint",
            format!("it refused the code: {}", error_description(&answer)),
        ),
        error => transport_error(error),
    }
}

/// Why tokens were not renewed.
pub fn refresh_error<T: ErrorResponseType + AsRef<str> + std::fmt::Display + 'static>(
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
        RequestTokenError::ServerResponse(answer) => ProviderError::Unavailable(error_description(&answer)),
        error => transport_error(error),
    }
}

fn error_description<T: ErrorResponseType + AsRef<str> + std::fmt::Display + 'static>(
    answer: &StandardErrorResponse<T>,
) -> String {
    let description = answer.error_description().map_or("", String::as_str);
    format!("{} {description}", answer.error().as_ref())
}

fn transport_error<T: ErrorResponseType + std::fmt::Display + 'static>(error: Failed<T>) -> ProviderError {
    let unreadable =
        |why: &dyn std::fmt::Display| ProviderError::Unreadable(format!("its token endpoint: {why}"));
    match error {
        RequestTokenError::Request(error) => error.of("its token endpoint"),
        RequestTokenError::Parse(error, _) => unreadable(&error),
        RequestTokenError::Other(why) => unreadable(&why),
        RequestTokenError::ServerResponse(_) => unreadable(&"it answered an error"),
    }
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
