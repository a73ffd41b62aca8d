//! Forwarding of requests without a body, and of their responses, in sequential steps.
//!
//! pingora's proxy runs both directions of a request concurrently, in two halves that exchange
//! messages. Most requests have no body, and need only one direction at a time. This module
//! forwards them over pingora's connections. pingora's proxy forwards all others: requests with
//! bodies, upgrades, HTTP/2 to upstreams, and requests with hop-by-hop fields.

use crate::gateway::forward::request::{ProxiedRequest, proxied_request};
use crate::gateway::request::local_response::is_answered;
use crate::gateway::state::gateway::Gateway;
use crate::gateway::upstream::cluster::RequestKind;
use crate::gateway::upstream::idle_pool::IdlePool;
use futures_util::FutureExt as _;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::v1::client::HttpSession as Upstream;
use pingora_core::upstreams::peer::{HttpPeer, Peer as _};
use pingora_error::{Error, ErrorType, Result, RetryType};
use pingora_http::ResponseHeader;
use pingora_proxy::{ProxyHttp, Session};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::unconstrained;

/// The maximum number of attempts to send a request, if endpoints cannot be reached or have closed
/// a connection.
pub const MAX_ATTEMPTS: usize = 4;
/// The maximum number of available response chunks that are forwarded together.
const MAX_BATCH: usize = 4;
/// Hop-by-hop fields (RFC 9110, section 7.6.1), except `Connection`.
const HOP_BY_HOP: [&str; 10] = [
    "close",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The forwarder of requests without a body.
pub struct BodylessForwarder {
    connector: TransportConnector,
    idle: IdlePool,
}

/// Returns whether the request can be forwarded without pingora's proxy.
pub fn serves(session: &mut Session, forward: &ProxiedRequest) -> bool {
    let head = session.req_header();
    forward.request_kind() == RequestKind::Plain
        && forward.is_http1_only()
        && has_no_connection_options(&head.headers)
        && session.is_body_empty()
}

/// Returns whether the request has no hop-by-hop fields, and no connection options except
/// `keep-alive` and `close`.
fn has_no_connection_options(headers: &HeaderMap) -> bool {
    let plain = |option: &[u8]| {
        let option = option.trim_ascii();
        option.eq_ignore_ascii_case(b"keep-alive") || option.eq_ignore_ascii_case(b"close")
    };
    headers.keys().all(|name| !HOP_BY_HOP.contains(&name.as_str()))
        && headers
            .get_all(CONNECTION)
            .iter()
            .all(|options| options.as_bytes().split(|b| *b == b',').all(plain))
}

impl BodylessForwarder {
    /// Creates a forwarder that keeps about `connections` idle connections, divided among the
    /// workers of the current runtime.
    pub fn new(connections: usize) -> Self {
        let workers = Handle::current().metrics().num_workers();
        Self { connector: TransportConnector::new(None), idle: IdlePool::new(connections, workers) }
    }

    /// Periodically closes unusable idle connections. Never returns.
    pub async fn run_eviction_loop(self: Arc<Self>) {
        self.idle.run_eviction_loop().await;
    }

    /// Forwards the request to an upstream, and the response to the client.
    ///
    /// # Errors
    /// No endpoint can be reached, or the request or the response cannot be forwarded completely.
    pub async fn forward<P>(
        &self,
        proxy: &P,
        gateway: &Gateway,
        session: &mut Session,
        ctx: &mut Option<Box<ProxiedRequest>>,
    ) -> Result<()>
    where
        P: ProxyHttp<CTX = Option<Box<ProxiedRequest>>> + Sync,
    {
        // A request without a body is handled like the end of a body.
        let forward = proxied_request(ctx)?;
        forward.on_body_chunk(gateway, session, None);
        let mut tries = 0;
        loop {
            tries += 1;
            let server = proxied_request(ctx)?.next_endpoint()?;
            let peer = server.plain();
            let address = peer.address();
            let kept = self.idle.get(address);
            let reused = kept.is_some();
            let stream = match kept {
                Some(stream) => Ok(stream),
                None => Box::pin(self.connector.new_stream(peer)).await,
            };
            let error = match stream {
                Ok(stream) => {
                    let mut upstream = Upstream::new_with_options(stream, peer);
                    let answered = answer(gateway, session, &mut upstream, peer, proxied_request(ctx)?).await;
                    match answered {
                        Ok(()) => {
                            upstream.respect_keepalive();
                            if !proxied_request(ctx)?.connection_is_reusable() {
                                return Ok(());
                            }
                            if let Some(stream) = upstream.reuse().await {
                                self.idle.put(address, stream);
                            }
                            return Ok(());
                        }
                        Err(error) => proxy.error_while_proxy(peer, session, error, ctx, reused),
                    }
                }
                Err(error) => proxy.fail_to_connect(session, peer, ctx, error.into_up()),
            };
            if tries == MAX_ATTEMPTS || !error.retry() || is_answered(session) {
                return Err(error);
            }
        }
    }
}

async fn answer(
    gateway: &Gateway,
    session: &mut Session,
    upstream: &mut Upstream,
    peer: &HttpPeer,
    forward: &mut ProxiedRequest,
) -> Result<()> {
    (upstream.read_timeout, upstream.write_timeout) = (peer.options.read_timeout, peer.options.write_timeout);
    let asked = session.req_header();
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = asked.method.clone();
    parts.uri = asked.uri.clone();
    parts.headers = asked.headers.clone();
    parts.headers.remove(CONNECTION);
    forward.rewrite_request(&mut parts)?;
    // The request has no body.
    forward.on_request_end();
    upstream.write_request_header(Box::new(parts.into())).await.map_err(|mut error| {
        // A server that has closed an idle connection has not received the request.
        error.retry = RetryType::ReusedOnly;
        error.into_up()
    })?;
    upstream.finish_body().await.map_err(Error::into_up)?;

    let (mut begun, mut written) = (false, false);
    while !written {
        let mut piece = tokio::select! {
            // The client's disconnection is checked last, so that available chunks are still
            // forwarded.
            biased;
            piece = upstream.read_response_task() => Some(piece),
            gone = session.downstream_session.read_body_or_idle(true) => {
                gone.map_err(Error::into_down)?;
                return Error::e_explain(ErrorType::InternalError, "a body that was not there");
            }
        };
        let mut pieces = Vec::with_capacity(2);
        while let Some(read) = piece.take() {
            let read = read.unwrap_or_else(|mut error| {
                // An earlier part of the response shows that the server has received the request.
                if begun {
                    error.set_retry(false);
                }
                HttpTask::Failed(error.into_up())
            });
            begun = true;
            if let HttpTask::Header(head, _) = &read {
                check_head(forward, upstream, head)?;
                if forward.may_be_silent_after(head) {
                    upstream.read_timeout = None;
                }
            }
            let last = read.is_end();
            pieces.push(filter_chunk(gateway, session, forward, read)?);
            if !last && pieces.len() < MAX_BATCH {
                piece = unconstrained(upstream.read_response_task()).now_or_never();
            }
        }
        written = session.downstream_session.response_duplex_vec(pieces).await?;
    }
    session.downstream_session.finish_body().await.map_err(Error::into_down)?;
    Ok(())
}

/// Checks the framing of a response's head as parsed. Also detects a Content-Length that the parser
/// removed because of a Transfer-Encoding.
fn check_head(forward: &mut ProxiedRequest, upstream: &Upstream, head: &ResponseHeader) -> Result<()> {
    forward.check_response(head)?;
    if head.headers.contains_key(TRANSFER_ENCODING) {
        let raw = upstream.get_headers_raw_bytes();
        let length = |line: &[u8]| {
            line.get(..14).is_some_and(|name| name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str().as_bytes()))
        };
        // RFC 9112, section 6.3: it "might indicate an attempt to perform request smuggling … or
        // response splitting".
        if raw.split(|byte| *byte == b'\n').any(length) {
            forward.abandon_connection();
        }
    }
    Ok(())
}

/// Rewrites a part of the response before it is forwarded.
fn filter_chunk(
    gateway: &Gateway,
    session: &mut Session,
    forward: &mut ProxiedRequest,
    mut piece: HttpTask,
) -> Result<HttpTask> {
    match &mut piece {
        HttpTask::Header(head, end) => {
            delimit(&session.req_header().method, head, *end)?;
            forward.rewrite_response(gateway, session, head)?;
        }
        HttpTask::Body(body, _) => forward.on_body_chunk(gateway, session, body.as_ref()),
        _ => {}
    }
    Ok(piece)
}

/// Adds chunked framing to a response that ends with its connection, because the client's
/// connection continues.
fn delimit(method: &Method, head: &mut ResponseHeader, ended: bool) -> Result<()> {
    // RFC 9112, section 6.3.
    let none = *method == Method::HEAD
        || head.status.is_informational()
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let has_field = |name| head.headers.contains_key(name);
    if none || ended || has_field(TRANSFER_ENCODING) || has_field(CONTENT_LENGTH) {
        return Ok(());
    }
    head.set_version(http::Version::HTTP_11);
    head.insert_header(TRANSFER_ENCODING, "chunked")
}
