//! The emulator's HTTP server: the routes of the sign-in host and of the Cognito API, without TLS,
//! and the emulator's own calls.

use super::Emulator;
use super::hosts::{has_local_host, local_origin};
use crate::app::output::complain;
use crate::aws;
use crate::base::{RandomToken, SystemEntropy, base64url_encode};
use crate::handlers::{self, RequestOrigin, form};
use crate::pages::{self, ClientKind, HttpResponse, ResponseContext, STYLE_PATH, Site, Texts};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{RawQuery, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use http::header::{ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The path of the messages.
pub const MESSAGES_PATH: &str = "/.narthex/emulator/messages";
/// The path of the reset.
pub const RESET_PATH: &str = "/.narthex/emulator/reset";
/// The path of health checks, as on a server.
const HEALTH_PATH: &str = "/.narthex/healthz";
/// The maximum size of a request's body, in bytes.
const MAX_BODY_BYTES: usize = 512 * 1024;
/// The timeout for receiving a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// Serves on a listener until `shutdown` changes.
pub async fn serve(listener: TcpListener, emulator: Arc<Emulator>, mut shutdown: watch::Receiver<bool>) {
    let router = Router::new()
        .route(RESET_PATH, post(reset))
        .route(MESSAGES_PATH, get(messages))
        .route(HEALTH_PATH, get(|| async { "alive\n" }))
        .route(STYLE_PATH, get(|| async { body_of(pages::style()) }))
        .route("/favicon.ico", get(|| async { body_of(pages::icon()) }))
        .fallback(forward)
        .with_state(emulator)
        .layer(from_fn(refuse_other_sites));
    // Without Nagle's algorithm: a client may wait for a small response.
    let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
    let ended = async move { drop(shutdown.changed().await) };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(ended).await {
        complain!("narthex: the emulator ended: {error}");
    }
}

/// Refuses requests for the host of a site, and those of its pages: any access key is right here.
async fn refuse_other_sites(request: Request, next: Next) -> Response {
    if !has_local_host(request.headers()) {
        return refused("the emulator answers for hosts of this machine only, such as localhost");
    }
    match local_origin(request.headers()) {
        Ok(_) => next.run(request).await,
        Err(()) => refused("the emulator answers pages of this machine only: open the app at localhost"),
    }
}

/// Deletes everything.
async fn reset(State(emulator): State<Arc<Emulator>>, headers: HeaderMap) -> Response {
    let origin = local_origin(&headers).ok().flatten();
    match emulator.reset().await {
        Ok(()) => answer(origin, &json!({})),
        Err(error) => {
            let body = json!({ "message": error.to_string() });
            (StatusCode::INTERNAL_SERVER_ERROR, body.to_string()).into_response()
        }
    }
}

/// Returns the messages to users, of `to` in the query if there is one.
async fn messages(
    State(emulator): State<Arc<Emulator>>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let origin = local_origin(&headers).ok().flatten();
    let deployment = emulator.current.load_full();
    if let Err(error) = deployment.deliver().await {
        tracing::warn!(%error, "cannot read the outbox");
    }
    let parameters = form(query.as_deref().unwrap_or_default()).unwrap_or_default();
    let messages = deployment.mailbox.messages(parameters.get("to").map(String::as_str));
    answer(origin, &json!({ "messages": messages }))
}

/// Answers with production's routes.
async fn forward(State(emulator): State<Arc<Emulator>>, request: Request) -> Response {
    let deployment = emulator.current.load_full();
    let (mut parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let request_id = base64url_encode(&RandomToken::random(&SystemEntropy).bytes()[..16]);
    let visitor = ResponseContext {
        request_id: request_id.clone(),
        client: client_kind(&parts.headers),
        strict_transport: false,
        site: Site::SignInPages("/".into()),
        is_get: matches!(parts.method, Method::GET | Method::HEAD),
        texts: Texts::of(&[]),
    };
    let body = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) if aws::is_api_request(parts.uri.path(), &parts.headers) => {
            return body_of(aws::entity_too_large(&request_id));
        }
        _ => return body_of(pages::ErrorResponse::bad_request().into_response(&visitor)),
    };
    // Without an address: limits by address are for the clients of a server.
    parts.extensions.insert(RequestOrigin { request_id, client: None, target });
    let request = Request::from_parts(parts, Body::from(body));
    body_of(handlers::answer(&deployment.app.router, request, &visitor).await)
}

fn client_kind(headers: &HeaderMap) -> ClientKind {
    let accepts_html = headers.get_all(ACCEPT).iter().any(|accept| {
        let types = accept.as_bytes();
        memchr::memmem::find(types, b"text/html").is_some()
    });
    if accepts_html { ClientKind::Browser } else { ClientKind::Program }
}

/// Returns a response of JSON, which a page of this machine may read.
fn answer(origin: Option<&str>, body: &Value) -> Response {
    let mut response = body.to_string().into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(Ok(origin)) = origin.map(HeaderValue::from_str) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

fn refused(message: &str) -> Response {
    (StatusCode::FORBIDDEN, json!({ "message": message }).to_string()).into_response()
}

fn body_of(response: HttpResponse) -> Response {
    response.map(|body: Bytes| Body::from(body))
}
