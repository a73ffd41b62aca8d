//! In-process requests from the proxy to the user pool's router.

use crate::aws;
use crate::base::Duration;
use crate::catalogue::Catalogue;
use crate::gateway::connection;
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::request::path::without_prefix;
use crate::gateway::request::{self, RequestInfo};
use crate::gateway::state::gateway::Gateway;
use crate::handlers::{self, RequestOrigin};
use crate::pages::ErrorResponse;
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http::header::HOST;
use pingora_proxy::Session;

/// The maximum size of a page's form in bytes.
const MAX_FORM_BYTES: usize = 64 * 1024;
/// The maximum size of a request of the Cognito API in bytes. A customization of the pages may have
/// 131,072 characters of CSS, and an image of 100 KB in base64.
const MAX_API_REQUEST_BYTES: usize = 448 * 1024;
/// The maximum size of a SAML provider's form in bytes. A user may be in a thousand groups.
const MAX_SAML_FORM_BYTES: usize = 448 * 1024;
/// The timeout for receiving a form.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Returns the response of the user pool's router.
pub async fn dispatch_to_user_pool(
    gateway: &Gateway,
    session: &mut Session,
    catalogue: &Catalogue,
    incoming: &RequestInfo,
) -> LocalResponse {
    let visitor = &incoming.response_context(session);
    let target = request::target(session).unwrap_or("/");
    // Removes the segments that were matched, in any encoding.
    let rest = without_prefix(target, catalogue.config.public_url.path().matches('/').count());
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    let is_api_request = aws::is_api_request(&rest, &session.req_header().headers);
    let largest = match is_api_request {
        true => MAX_API_REQUEST_BYTES,
        false if rest.starts_with("/saml2/") => MAX_SAML_FORM_BYTES,
        false => MAX_FORM_BYTES,
    };
    let mut request = http::Request::builder().method(session.req_header().method.clone()).uri(rest);
    if let Some(headers) = request.headers_mut() {
        *headers = session.req_header().headers.clone();
        // HTTP/2 names the host in `:authority`, which signatures cover as `host`.
        let authority = session.req_header().uri.authority();
        let authority = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        if let (false, Some(authority)) = (headers.contains_key(HOST), authority) {
            headers.insert(HOST, authority);
        }
    }
    let request = request.extension(RequestOrigin {
        request_id: incoming.request_id.clone(),
        client: incoming.client,
        target: target.to_owned(),
    });

    if request::send_continue(session).await.is_err() {
        return LocalResponse::from(ErrorResponse::bad_request().into_response(visitor)).close_connection();
    }
    let body = match tokio::time::timeout(BODY_TIMEOUT, read_body(session, largest)).await {
        Ok(Ok(body)) => body,
        Ok(Err(BodyError::TooLarge)) if is_api_request => {
            return LocalResponse::from(aws::entity_too_large(&incoming.request_id)).close_connection();
        }
        Ok(Err(error)) => {
            let failure = match error {
                BodyError::TooLarge => ErrorResponse::too_large(),
                BodyError::Unreadable => ErrorResponse::bad_request(),
            };
            return LocalResponse::from(failure.into_response(visitor)).close_connection();
        }
        Err(_) => {
            return LocalResponse::from(ErrorResponse::bad_request().into_response(visitor))
                .close_connection();
        }
    };
    match request.body(Body::from(body)) {
        Ok(request) => handlers::answer(&gateway.router, request, visitor).await.into(),
        Err(_) => ErrorResponse::bad_request().into_response(visitor).into(),
    }
}

/// Why a body was not read.
enum BodyError {
    /// It is above the limit.
    TooLarge,
    /// The connection ended, or the framing is wrong.
    Unreadable,
}

async fn read_body(session: &mut Session, largest: usize) -> Result<Bytes, BodyError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = session.read_request_body().await.map_err(|_| BodyError::Unreadable)? {
        if body.len() + chunk.len() > largest {
            return Err(BodyError::TooLarge);
        }
        connection::record_activity(session, chunk.len());
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
