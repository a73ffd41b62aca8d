//! From the proxy to the pool's router and back, in process.

use crate::base::Duration;
use crate::catalogue::Catalogue;
use crate::gateway::connection;
use crate::gateway::request::local_response::Stop;
use crate::gateway::request::path::without_prefix;
use crate::gateway::request::{self, Incoming};
use crate::gateway::state::gateway::Gateway;
use crate::hosted::Failure;
use crate::oauth::{self, Origin};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use pingora_proxy::Session;

/// How much a page's form may hold.
const LARGEST_BODY: usize = 64 * 1024;
/// The same for a SAML provider's form: a person may be in a thousand groups.
const LARGEST_SAML_BODY: usize = 448 * 1024;
/// How long it may take to arrive.
const BODY: Duration = Duration::from_secs(15);

/// The answer of the pool's router.
pub async fn to_pool(
    gateway: &Gateway,
    session: &mut Session,
    catalogue: &Catalogue,
    incoming: &Incoming,
) -> Stop {
    let visitor = &incoming.visitor(session);
    let target = request::target(session).unwrap_or("/");
    // The same segments that were compared, however they are encoded.
    let rest = without_prefix(target, catalogue.config.public_url.path().matches('/').count());
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    let largest = if rest.starts_with("/saml2/") { LARGEST_SAML_BODY } else { LARGEST_BODY };
    let mut request = http::Request::builder().method(session.req_header().method.clone()).uri(rest);
    if let Some(headers) = request.headers_mut() {
        *headers = session.req_header().headers.clone();
    }
    let request =
        request.extension(Origin { request_id: incoming.request_id.clone(), client: incoming.client });

    if request::send_continue(session).await.is_err() {
        return Stop::from(Failure::bad_request().answer(visitor)).closing();
    }
    let body = match tokio::time::timeout(BODY, read_body(session, largest)).await {
        Ok(Ok(body)) => body,
        Ok(Err(failure)) => return Stop::from(failure.answer(visitor)).closing(),
        Err(_) => return Stop::from(Failure::bad_request().answer(visitor)).closing(),
    };
    match request.body(Body::from(body)) {
        Ok(request) => oauth::answer(&gateway.router, request, visitor).await.into(),
        Err(_) => Failure::bad_request().answer(visitor).into(),
    }
}

async fn read_body(session: &mut Session, largest: usize) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    while let Some(chunk) = session.read_request_body().await.map_err(|_| Failure::bad_request())? {
        if body.len() + chunk.len() > largest {
            return Err(Failure::too_large());
        }
        connection::is_of_use(session, chunk.len());
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
