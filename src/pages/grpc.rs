//! Error responses for gRPC. Clients read the outcome from `grpc-status`. Some report an error
//! response without it as an unknown error.

use super::{ErrorResponse, HttpResponse};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// gRPC status codes by HTTP status, according to "HTTP to gRPC Status Code Mapping". In addition,
/// exceeded sizes map to 8 (RESOURCE_EXHAUSTED) and status 500 to 13 (INTERNAL).
const STATUSES: [(StatusCode, u16); 10] = [
    (StatusCode::BAD_REQUEST, 13),
    (StatusCode::UNAUTHORIZED, 16),
    (StatusCode::FORBIDDEN, 7),
    (StatusCode::NOT_FOUND, 12),
    (StatusCode::PAYLOAD_TOO_LARGE, 8),
    (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, 8),
    (StatusCode::TOO_MANY_REQUESTS, 14),
    (StatusCode::BAD_GATEWAY, 14),
    (StatusCode::SERVICE_UNAVAILABLE, 14),
    (StatusCode::INTERNAL_SERVER_ERROR, 13),
];
const UNKNOWN: u16 = 2;

/// Renders `failure` as "Trailers-Only": one header block with status 200 and the gRPC status.
pub fn refusal(failure: &ErrorResponse) -> HttpResponse {
    let status = STATUSES.iter().find(|(http, _)| *http == failure.status).map_or(UNKNOWN, |(_, grpc)| *grpc);
    // Titles and advice contain no characters that require percent-encoding in `grpc-message`.
    let message = format!("{}. {}", failure.title, failure.advice);
    let mut response = HttpResponse::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(STATUS, HeaderValue::from(status));
    headers.insert(MESSAGE, HeaderValue::from_str(&message).unwrap_or(HeaderValue::from_static("refused")));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_headers_alone() {
        for (failure, status) in [
            (ErrorResponse::sign_in_required(), "16"),
            (ErrorResponse::forbidden(), "7"),
            (ErrorResponse::upstream_down(), "14"),
            (ErrorResponse::cookie_lost(), "2"),
        ] {
            let response = refusal(&failure);
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()[STATUS], status);
            let message = response.headers()[MESSAGE].to_str().unwrap();
            assert!(message.starts_with(failure.title) && !message.contains('%'), "{message}");
            assert!(response.body().is_empty());
        }
    }
}
