//! A request that may go on: what its server is to see of it, and what becomes of the answer.

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

/// The kind of error of a connection that must not carry another request.
pub const ABANDONED: ErrorType = ErrorType::new("ConnectionGivenUp");
/// In so many pieces a request and its answer come that are short, and no more.
const SHORT_BODY_CHUNKS: usize = 2;
/// A message that was to be short and goes on for this long is watched as a long one is.
const LONG_AFTER: Duration = Duration::from_secs(5);

/// A request that may go on.
pub struct ProxiedRequest {
    /// Its route, and the servers of that.
    pub entry: Arc<RouteEntry>,
    /// Its head, as it was read.
    pub info: RequestInfo,
    /// How often connecting to a server has failed.
    pub attempts: usize,
    authorized: Authorized,
    /// The table that the request was judged by.
    route_table: Arc<RouteTable>,
    /// The server that was chosen.
    endpoint: Option<Arc<UpstreamEndpoint>>,
    /// In how many pieces its bodies have come.
    chunks: usize,
    /// That it is watched over, where it may go on for long.
    stream_guard: Option<StreamGuard>,
    /// Its share of the requests in progress.
    _permit: RequestPermit,
    upstream: UpstreamState,
}

/// How far the exchange with an HTTP/1.1 upstream has come.
#[derive(Debug, Default)]
struct UpstreamState {
    /// The mark of its connection, where it is pingora's.
    mark: Option<ConnectionMark>,
    /// Whether the end of the request's body was handed to it.
    request_ended: bool,
    /// Whether its final response began before that.
    answered_early: bool,
    /// Whether its final response is complete.
    response_ended: bool,
    /// Whether its connection must not carry another request.
    abandoned: bool,
    /// Whether it answered by HTTP/2.
    http2: bool,
}

impl ProxiedRequest {
    /// A request that has passed.
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

    /// Who it speaks for, where that is somebody.
    pub fn principal(&self) -> Option<&Principal> {
        self.authorized.identity.as_ref().map(|(principal, _)| principal)
    }

    /// How the request goes on. gRPC exists over HTTP/2 only, so no request to other servers is a
    /// call.
    pub fn request_kind(&self) -> RequestKind {
        match self.info.kind {
            RequestKind::Grpc if self.is_http1_only() => RequestKind::Plain,
            kind => kind,
        }
    }

    /// Whether every server that it may go to speaks HTTP/1.1, and no other.
    pub fn is_http1_only(&self) -> bool {
        self.entry.cluster.is_http1_only()
    }

    /// The server that it goes to next.
    pub fn next_endpoint(&mut self) -> Result<Arc<UpstreamEndpoint>> {
        let server = self.entry.cluster.next(&self.authorized.permit).ok_or_else(|| {
            Error::explain(ErrorType::ConnectNoRoute, "no upstream has an address").into_up()
        })?;
        self.endpoint = Some(server.clone());
        self.upstream = UpstreamState::default();
        Ok(server)
    }

    /// The address of the server that it went to last.
    pub fn endpoint_address(&self) -> Option<SocketAddr> {
        self.endpoint.as_ref()?.plain().address().as_inet().copied()
    }

    /// Notes by which connection of pingora's the request goes.
    ///
    /// # Errors
    /// Where that must not carry another request. Nothing was sent by it, so the request may go by
    /// another one.
    pub fn on_connected(&mut self, digest: Option<&Digest>) -> Result<()> {
        self.upstream.mark = ConnectionMark::of(digest);
        match &self.upstream.mark {
            Some(mark) if mark.is_abandoned() => {
                return Error::e_explain(ABANDONED, "an earlier response came before its request ended");
            }
            _ => {}
        }
        // Other requests share a connection of HTTP/2.
        let shared = self.request_kind() == RequestKind::Grpc
            || self.endpoint.as_deref().is_some_and(|server| server.upstream().scheme == Scheme::H2c);
        let connection = self.upstream.mark.clone().filter(|_| !shared);
        request_state::limit_silence(self.entry.route.config.timeout, connection);
        Ok(())
    }

    /// Returns whether the upstream's connection was ended since it was silent for too long.
    pub fn upstream_was_silent(&self) -> bool {
        self.upstream.mark.as_ref().is_some_and(ConnectionMark::was_silent)
    }

    /// Returns whether the upstream may be silent for any time after this head of a response.
    pub fn may_be_silent_after(&self, response: &ResponseHeader) -> bool {
        // After the end nothing more comes, and its connection may soon be another request's.
        let ended = !response.status.is_informational() && self.upstream.response_ended;
        ended || self.begins_stream(response)
    }

    /// Returns whether the head of a response begins a stream, which has no deadline. A client's
    /// request alone never does: the upstream must have changed the protocol, send events, or
    /// answer a gRPC call by HTTP/2.
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

    /// Notes that the upstream answered by HTTP/2.
    pub fn on_http2_response(&mut self) {
        self.upstream.http2 = true;
    }

    /// Checks the framing of an HTTP/1.x upstream's response.
    ///
    /// # Errors
    /// Where it is ambiguous.
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

    /// Notes that the upstream's connection must not carry another request.
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

    /// Notes that the end of the request's body was handed to the upstream.
    pub fn on_request_end(&mut self) {
        self.upstream.request_ended = true;
    }

    /// Notes that the response is complete.
    pub fn on_response_end(&mut self) {
        self.upstream.response_ended = true;
    }

    /// Returns whether the response is complete, and began before the request's body was sent. What
    /// is left of the body must not be sent: an upstream that has not read it would take it for the
    /// next request.
    pub fn was_answered_early(&self) -> bool {
        self.upstream.answered_early && self.upstream.response_ended
    }

    /// Makes its head what the server is to see.
    pub fn rewrite_request(&self, parts: &mut http::request::Parts) -> Result<()> {
        let Self { route_table: table, entry, info: incoming, endpoint: server, .. } = self;
        let server = server.as_deref().map(UpstreamEndpoint::upstream);
        let (route, now) = (&entry.route, incoming.received.wall);
        headers::strip_request(&mut parts.headers, &table.reserved)?;
        // It was met here.
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

    /// Makes the answer's head what the client is to see.
    pub fn rewrite_response(
        &mut self,
        gateway: &Gateway,
        session: &mut Session,
        response: &mut ResponseHeader,
    ) -> Result<()> {
        request_state::with_record(|record| record.status = response.status.as_u16());
        if self.begins_stream(response) {
            // The client may be silent, too, but not beyond the end of its session.
            session.set_read_timeout(None);
            self.watch(gateway, session);
        }
        match self.may_be_silent_after(response) {
            true => request_state::allow_silence(),
            false if response.status.is_informational() => request_state::record_upstream_activity(),
            false => request_state::on_response_head(),
        }
        // RFC 9110, section 15.2.2: it is an answer to an Upgrade. pingora hands it on where nobody
        // asked for one.
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
        // unless the corresponding request indicates HTTP/1.1". Without, the body ends with the
        // connection.
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

    /// Notes that a piece of a body came, of the request's or the answer's.
    pub fn on_body_chunk(&mut self, gateway: &Gateway, session: &Session, piece: Option<&Bytes>) {
        connection::record_activity(session, piece.map_or(0, Bytes::len));
        self.watch_if_long(gateway, session);
    }

    /// Notes that a person sends something: on a stream that is use of the session; that it is open
    /// is not.
    pub fn touch_session(&self, gateway: &Gateway) {
        if let (Some(_), Some(Principal::SignedIn(who))) = (&self.stream_guard, self.principal()) {
            gateway.pool.sessions.touch(who, gateway.pool.clock.monotonic());
        }
    }

    /// Lets the request end with its credential, or once its route refuses it.
    pub fn watch(&mut self, gateway: &Gateway, session: &Session) {
        if self.stream_guard.is_none() {
            self.stream_guard = gateway.watch(session, &self.info, self.principal());
        }
    }

    /// The same for what was short by its words, and is not.
    fn watch_if_long(&mut self, gateway: &Gateway, session: &Session) {
        self.chunks += 1;
        // The clock is not asked about the few pieces that nearly all messages come in.
        let lasts = || gateway.pool.clock.monotonic().since(self.info.received.monotonic) > LONG_AFTER;
        if self.stream_guard.is_none() && self.chunks > SHORT_BODY_CHUNKS && lasts() {
            self.watch(gateway, session);
        }
    }
}

/// Whether a response of this type answers a gRPC call: `application/grpc`, or that with `+` and an
/// encoding.
fn is_grpc_type(value: &HeaderValue) -> bool {
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    essence == b"application/grpc" || essence.starts_with(b"application/grpc+")
}

/// What lets this request go on. Without it, nothing is forwarded.
pub fn proxied_request(ctx: &mut Option<Box<ProxiedRequest>>) -> Result<&mut ProxiedRequest> {
    ctx.as_deref_mut().ok_or_else(|| Error::explain(ErrorType::InternalError, "a request without a permit"))
}
