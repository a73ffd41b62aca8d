//! From the proxy to the pool's router and back, in process.

use super::incoming::{self, Incoming};
use super::proxy::Gateway;
use super::stop::Stop;
use crate::catalogue::Catalogue;
use crate::hosted::Failure;
use crate::oauth::{self, Origin};
use axum::body::Body;
use bytes::BytesMut;
use pingora_proxy::Session;

/// How much a page's form may hold.
const LARGEST_BODY: usize = 64 * 1024;

/// The answer of the pool's router.
pub async fn to_pool(
    gateway: &Gateway,
    session: &mut Session,
    catalogue: &Catalogue,
    incoming: &Incoming,
) -> Stop {
    let visitor = &incoming.visitor;
    let target = incoming::target(session).unwrap_or("/");
    let rest = &target[catalogue.config.public_url.path().len().min(target.len())..];
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    let mut request = http::Request::builder().method(session.req_header().method.clone()).uri(rest);
    if let Some(headers) = request.headers_mut() {
        *headers = session.req_header().headers.clone();
    }
    let request =
        request.extension(Origin { request_id: visitor.request_id.clone(), client: incoming.client });

    let mut body = BytesMut::new();
    loop {
        match session.read_request_body().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= LARGEST_BODY => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return Stop::from(Failure::too_large().answer(visitor)).closing(),
            Ok(None) => break,
            Err(_) => return Stop::from(Failure::bad_request().answer(visitor)).closing(),
        }
    }
    match request.body(Body::from(body.freeze())) {
        Ok(request) => oauth::answer(&gateway.router, request, visitor).await.into(),
        Err(_) => Failure::bad_request().answer(visitor).into(),
    }
}
