//! What a gRPC client is told. It takes an answer for an outcome only by `grpc-status`; what comes in the
//! place of it, together with the end of the stream, some clients read as an unknown fault.

use super::{ErrorResponse, HttpResponse};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// gRPC's status codes for HTTP's, as its "HTTP to gRPC Status Code Mapping" has them; sizes are told as
/// what they are.
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

/// `failure` as "Trailers-Only": one block of headers, with the status 200 and the outcome in it.
pub fn refusal(failure: &ErrorResponse) -> HttpResponse {
    let status = STATUSES.iter().find(|(http, _)| *http == failure.status).map_or(UNKNOWN, |(_, grpc)| *grpc);
    // Our own texts hold nothing that gRPC would have percent-encoded here.
    let message = format!("{}. {}", failure.title, failure.advice);
    let mut answer = HttpResponse::new(Bytes::new());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(STATUS, HeaderValue::from(status));
    headers.insert(MESSAGE, HeaderValue::from_str(&message).unwrap_or(HeaderValue::from_static("refused")));
    answer
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
            let answer = refusal(&failure);
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.headers()[STATUS], status);
            let message = answer.headers()[MESSAGE].to_str().unwrap();
            assert!(message.starts_with(failure.title) && !message.contains('%'), "{message}");
            assert!(answer.body().is_empty());
        }
    }
}
