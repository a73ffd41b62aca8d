//! An authorized request: rewriting of its head for the upstream, and of the response for the
//! client.

use crate::authn::Principal;
use crate::base::Duration;
use crate::config::Scheme;
use crate::gateway::authorize::Authorized;
use crate::gateway::connection;
use crate::gateway::connection::request_limits::RequestPermit;
use crate::gateway::forward::response_addresses::AddressMap;
use crate::gateway::framing;
use crate::gateway::request::cors;
use crate::gateway::request::headers;
use crate::gateway::request::path;
use crate::gateway::request::{self, RequestInfo};
use crate::gateway::state::gateway::Gateway;
use crate::gateway::state::long_lived::StreamGuard;
use crate::gateway::state::request_state;
use crate::gateway::state::routes::{RouteEntry, RouteTable};
use crate::gateway::upstream::cluster::{RequestKind, UpstreamEndpoint};
use crate::gateway::upstream::connection::ConnectionMark;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::Peer as _;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use std::net::SocketAddr;
use std::sync::Arc;

/// The error type of a connection that must not carry another request.
pub const ABANDONED: ErrorType = ErrorType::new("ConnectionGivenUp");
/// The maximum number of body chunks of a short exchange.
const SHORT_BODY_CHUNKS: usize = 2;
/// The time after which an exchange of more than `SHORT_BODY_CHUNKS` chunks is revalidated like a
/// long-lived request.
const LONG_AFTER: Duration = Duration::from_secs(5);

/// An authorized request on its way to an upstream.
pub struct ProxiedRequest {
    /// Its route with the upstreams.
    pub entry: Arc<RouteEntry>,
    /// Its parsed head.
    pub info: RequestInfo,
    /// The number of failed attempts to connect.
    pub attempts: usize,
    authorized: Authorized,
    /// The routes by which the request was authorized.
    route_table: Arc<RouteTable>,
    /// The endpoint that was chosen last.
    endpoint: Option<Arc<UpstreamEndpoint>>,
    /// The number of body chunks so far, in both directions.
    chunks: usize,
    /// The guard of its revalidation, if it may be long-lived.
    stream_guard: Option<StreamGuard>,
    /// Its permit from the limiter of requests in progress.
    _permit: RequestPermit,
    upstream: UpstreamState,
}

/// The state of the exchange with an upstream.
#[derive(Debug, Default)]
struct UpstreamState {
    /// The mark of its connection, if pingora's proxy uses it.
    mark: Option<ConnectionMark>,
    /// Whether the end of the request's body was sent to it.
    request_ended: bool,
    /// Whether its final response began before that.
    answered_early: bool,
    /// Whether its final response is complete.
    response_ended: bool,
    /// Whether its connection must not carry another request.
    abandoned: bool,
    /// Whether it responded over HTTP/2.
    http2: bool,
}

impl ProxiedRequest {
    /// Creates the state of a request that was authorized.
    pub fn new(
        authorized: Authorized,
        route_table: Arc<RouteTable>,
        entry: Arc<RouteEntry>,
        info: RequestInfo,
        permit: RequestPermit,
    ) -> Self {
        let upstream = UpstreamState::default();
        Self {
            entry,
            info,
            attempts: 0,
            authorized,
            route_table,
            endpoint: None,
            chunks: 0,
            stream_guard: None,
            _permit: permit,
            upstream,
        }
    }

    /// Returns the principal of the request, if it has one.
    pub fn principal(&self) -> Option<&Principal> {
        self.authorized.identity.as_ref().map(|(principal, _)| principal)
    }

    /// Returns the kind of exchange. gRPC requires HTTP/2, so no request to HTTP/1.1 upstreams is a
    /// gRPC call.
    pub fn request_kind(&self) -> RequestKind {
        match self.info.kind {
            RequestKind::Grpc if self.is_http1_only() => RequestKind::Plain,
            kind => kind,
        }
    }

    /// Returns whether all its upstreams use HTTP/1.1 without TLS.
    pub fn is_http1_only(&self) -> bool {
        self.entry.cluster.is_http1_only()
    }

    /// Returns the next endpoint to which the request is sent.
    ///
    /// # Errors
    /// No upstream has an address.
    pub fn next_endpoint(&mut self) -> Result<Arc<UpstreamEndpoint>> {
        let server = self.entry.cluster.next(&self.authorized.permit).ok_or_else(|| {
            Error::explain(ErrorType::ConnectNoRoute, "no upstream has an address").into_up()
        })?;
        self.endpoint = Some(server.clone());
        self.upstream = UpstreamState::default();
        Ok(server)
    }

    /// Returns the address of the endpoint that was chosen last; `None` for a Unix socket.
    pub fn endpoint_address(&self) -> Option<SocketAddr> {
        self.endpoint.as_ref()?.plain().address().as_inet().copied()
    }

    /// Records the connection over which pingora's proxy sends the request.
    ///
    /// # Errors
    /// [`ABANDONED`], if the connection must not carry another request. Nothing was sent, so the
    /// request may use another connection.
    pub fn on_connected(&mut self, digest: Option<&Digest>) -> Result<()> {
        self.upstream.mark = ConnectionMark::of(digest);
        match &self.upstream.mark {
            Some(mark) if mark.is_abandoned() => {
                return Error::e_explain(ABANDONED, "an earlier response came before its request ended");
            }
            _ => {}
        }
        // Other requests may share an HTTP/2 connection.
        let shared = self.request_kind() == RequestKind::Grpc
            || self.endpoint.as_deref().is_some_and(|server| server.upstream().scheme == Scheme::H2c);
        let connection = self.upstream.mark.clone().filter(|_| !shared);
        request_state::limit_silence(self.entry.route.config.timeout, connection);
        Ok(())
    }

    /// Returns whether the upstream's connection was shut down because the upstream was silent for
    /// too long.
    pub fn upstream_was_silent(&self) -> bool {
        self.upstream.mark.as_ref().is_some_and(ConnectionMark::was_silent)
    }

    /// Returns whether the upstream may be silent without limit after this response head.
    pub fn may_be_silent_after(&self, response: &ResponseHeader) -> bool {
        // A complete response is not followed by more bytes, and another request may soon use the
        // connection.
        let ended = !response.status.is_informational() && self.upstream.response_ended;
        ended || self.begins_stream(response)
    }

    /// Returns whether the head of a response begins a stream, which has no deadline. The client's
    /// request alone never begins one. The upstream must switch protocols, send events, or respond
    /// to a gRPC call over HTTP/2.
    fn begins_stream(&self, response: &ResponseHeader) -> bool {
        match response.status {
            StatusCode::SWITCHING_PROTOCOLS => true,
            status if status.is_informational() => false,
            _ => request::is_event_stream(&response.headers) || self.answers_grpc(&response.headers),
        }
    }

    fn answers_grpc(&self, headers: &HeaderMap) -> bool {
        self.upstream.http2
            && self.request_kind() == RequestKind::Grpc
            && headers.get(CONTENT_TYPE).is_some_and(is_grpc_type)
    }

    /// Records that the upstream responded over HTTP/2.
    pub fn on_http2_response(&mut self) {
        self.upstream.http2 = true;
    }

    /// Checks the framing of an HTTP/1.x upstream's response.
    ///
    /// # Errors
    /// The framing is ambiguous.
    pub fn check_response(&mut self, response: &ResponseHeader) -> Result<()> {
        match framing::check_response(response) {
            Ok(true) => {}
            Ok(false) => self.abandon_connection(),
            Err(ambiguity) => {
                let request_id = self.info.request_id.as_str();
                tracing::warn!(request_id, ?ambiguity, "the framing of an upstream's response is ambiguous");
                let error =
                    Error::explain(ErrorType::InvalidHTTPHeader, "the framing of the response is ambiguous");
                return Err(error.into_up());
            }
        }
        let informational = response.status.is_informational();
        if !informational && !self.upstream.request_ended {
            self.upstream.answered_early = true;
            self.abandon_connection();
        }
        // RFC 9112, section 6.3.
        let bodiless = self.info.method == Method::HEAD
            || matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || framing::length(&response.headers) == Ok(Some(0));
        self.upstream.response_ended = !informational && bodiless;
        Ok(())
    }

    /// Records that the upstream's connection must not carry another request.
    pub fn abandon_connection(&mut self) {
        self.upstream.abandoned = true;
        if let Some(mark) = &self.upstream.mark {
            mark.abandon();
        }
    }

    /// Returns whether the upstream's connection may carry another request.
    pub fn connection_is_reusable(&self) -> bool {
        !self.upstream.abandoned
    }

    /// Records that the end of the request's body was sent to the upstream.
    pub fn on_request_end(&mut self) {
        self.upstream.request_ended = true;
    }

    /// Records that the response is complete.
    pub fn on_response_end(&mut self) {
        self.upstream.response_ended = true;
    }

    /// Returns whether the response is complete, and began before the end of the request's body.
    /// The rest of the body must not be sent: an upstream that has not read it would read it as the
    /// next request.
    pub fn was_answered_early(&self) -> bool {
        self.upstream.answered_early && self.upstream.response_ended
    }

    /// Rewrites the request's head for the upstream.
    pub fn rewrite_request(&self, parts: &mut http::request::Parts) -> Result<()> {
        let Self { route_table: table, entry, info: incoming, endpoint: server, .. } = self;
        let server = server.as_deref().map(UpstreamEndpoint::upstream);
        let (route, now) = (&entry.route, incoming.received.wall);
        headers::strip_request(&mut parts.headers, &table.reserved)?;
        // The gateway itself has met the expectation.
        parts.headers.remove(EXPECT);
        headers::set_request(&mut parts.headers, route, incoming, server)?;
        headers::set_identity(
            &mut parts.headers,
            route,
            self.authorized.identity.as_ref(),
            &table.catalogue,
            now,
        )?;
        let base = server.map_or("", |upstream| upstream.path.as_str());
        if route.config.strip_prefix || !base.is_empty() {
            let stripped = if route.config.strip_prefix { route.config.path.len() } else { 0 };
            parts.uri = path::uri_for_upstream(&parts.uri, stripped, base)
                .ok_or_else(|| Error::explain(ErrorType::InvalidHTTPHeader, "the rest of the path"))?;
        }
        Ok(())
    }

    /// Rewrites the response's head for the client.
    pub fn rewrite_response(
        &mut self,
        gateway: &Gateway,
        session: &mut Session,
        response: &mut ResponseHeader,
    ) -> Result<()> {
        request_state::with_record(|record| record.status = response.status.as_u16());
        if self.begins_stream(response) {
            // The client may be silent, too; the request still ends with its session.
            session.set_read_timeout(None);
            self.watch(gateway, session);
        }
        match self.may_be_silent_after(response) {
            true => request_state::allow_silence(),
            false if response.status.is_informational() => request_state::record_upstream_activity(),
            false => request_state::on_response_head(),
        }
        // RFC 9110, section 15.2.2: a 101 is the response to an `Upgrade`. pingora also passes on
        // one that was not requested.
        if response.status == StatusCode::SWITCHING_PROTOCOLS && self.info.kind != RequestKind::WebSocket {
            let error = Error::explain(ErrorType::InvalidHTTPHeader, "a 101 that was not asked for");
            return Err(error.into_up());
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS
            && let Some(signals) = connection::signals(session)
        {
            signals.set_upgraded();
        }
        // RFC 9112, section 6.1: "A server MUST NOT send a response containing Transfer-Encoding
        // unless the corresponding request indicates HTTP/1.1". Without this field, the body ends
        // with the connection.
        if session.req_header().version == Version::HTTP_10
            && response.headers.contains_key(TRANSFER_ENCODING)
        {
            response.remove_header(&TRANSFER_ENCODING);
            session.set_keepalive(None);
        }
        if request::may_take_long(&response.headers) {
            self.watch(gateway, session);
        }
        let (asked, route) = (&session.req_header().headers, &*self.entry.route);
        let informational = response.status.is_informational();
        let upstream = self.endpoint.as_deref().map(UpstreamEndpoint::upstream).filter(|_| !informational);
        let own = |headers: &mut HeaderMap| {
            let Some(upstream) = upstream else { return };
            if let Some(map) = AddressMap::new(route, upstream) {
                map.apply(headers);
            }
            for (name, value) in &route.config.response_headers {
                headers.insert(name, value.clone());
            }
        };
        headers::rewrite_response(
            response,
            &self.info,
            self.authorized.guest_cookie.as_deref(),
            own,
            |response_headers| {
                cors::add_headers_if_absent(response_headers, asked, &route.config);
            },
        )
    }

    /// Records a body chunk of the request or the response.
    pub fn on_body_chunk(&mut self, gateway: &Gateway, session: &Session, piece: Option<&Bytes>) {
        connection::record_activity(session, piece.map_or(0, Bytes::len));
        self.watch_if_long(gateway, session);
    }

    /// Records the use of the session when the user sends something on a long-lived request. An
    /// open stream alone does not extend the session.
    pub fn touch_session(&self, gateway: &Gateway) {
        if let (Some(_), Some(Principal::SignedIn(who))) = (&self.stream_guard, self.principal()) {
            gateway.pool.sessions.touch(who, gateway.pool.clock.monotonic());
        }
    }

    /// Registers the request for revalidation, so that it ends with its credential, or when its
    /// route denies it.
    pub fn watch(&mut self, gateway: &Gateway, session: &Session) {
        if self.stream_guard.is_none() {
            self.stream_guard = gateway.watch(session, &self.info, self.principal());
        }
    }

    /// Registers the request for revalidation if it takes longer than expected by its headers.
    fn watch_if_long(&mut self, gateway: &Gateway, session: &Session) {
        self.chunks += 1;
        // The clock is not read for the first chunks, which suffice for nearly all messages.
        let lasts = || gateway.pool.clock.monotonic().since(self.info.received.monotonic) > LONG_AFTER;
        if self.stream_guard.is_none() && self.chunks > SHORT_BODY_CHUNKS && lasts() {
            self.watch(gateway, session);
        }
    }
}

/// Returns whether the content type is that of a gRPC response: `application/grpc`, or that with
/// `+` and an encoding.
fn is_grpc_type(value: &HeaderValue) -> bool {
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    essence == b"application/grpc" || essence.starts_with(b"application/grpc+")
}

/// Returns the authorized request. Without one, nothing is forwarded.
///
/// # Errors
/// The request was not authorized.
pub fn proxied_request(ctx: &mut Option<Box<ProxiedRequest>>) -> Result<&mut ProxiedRequest> {
    ctx.as_deref_mut().ok_or_else(|| Error::explain(ErrorType::InternalError, "a request without a permit"))
}
