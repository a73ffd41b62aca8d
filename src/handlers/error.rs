//! Error responses of OAuth endpoints (RFC 6749, section 5.2).

use crate::base::Duration;
use crate::pages::{ErrorResponse, HttpResponse, with_body};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

/// An OAuth error.
#[derive(Debug)]
pub struct OAuthError {
    /// The registered error code.
    pub code: &'static str,
    /// The description for developers.
    pub description: String,
    /// The time after which the client may retry, if it was rate-limited.
    pub retry_after: Option<Duration>,
}

/// An unsuccessful outcome of an OAuth endpoint.
#[derive(Debug)]
pub enum EndpointError {
    /// An OAuth error.
    Error(OAuthError),
    /// Another failure.
    Failure(ErrorResponse),
}

impl From<ErrorResponse> for EndpointError {
    fn from(failure: ErrorResponse) -> Self {
        Self::Failure(failure)
    }
}

impl From<OAuthError> for EndpointError {
    fn from(error: OAuthError) -> Self {
        Self::Error(error)
    }
}

impl OAuthError {
    /// Creates an error with this code.
    pub fn new(code: &'static str, description: impl Into<String>) -> Self {
        Self { code, description: description.into(), retry_after: None }
    }

    /// Creates `invalid_request`: the request is malformed.
    pub fn invalid_request(description: impl Into<String>) -> Self {
        Self::new("invalid_request", description)
    }

    /// Returns the error as a JSON response.
    pub fn to_response(&self) -> HttpResponse {
        let text = serde_json::json!({ "error": self.code, "error_description": self.description });
        let status = match (self.code, self.retry_after) {
            (_, Some(_)) => StatusCode::TOO_MANY_REQUESTS,
            ("invalid_client" | "invalid_token", None) => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        let mut response = with_body(status, "application/json", text.to_string());
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            // "the authorization server MUST respond with an HTTP 401 (Unauthorized) status code
            // and include the "WWW-Authenticate" response header field"
            let challenge = match self.code {
                "invalid_token" => "Bearer realm=\"narthex\", error=\"invalid_token\"",
                _ => "Basic realm=\"narthex\"",
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        let seconds = self.retry_after.map(|wait| wait.as_secs().max(1));
        headers.extend(seconds.map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds))));
        response
    }
}
