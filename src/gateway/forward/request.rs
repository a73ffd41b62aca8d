//! A request that may go on: what its server is to see of it, and what becomes of the answer.

use crate::access::Principal;
use crate::base::Duration;
use crate::config::Scheme;
use crate::gateway::authorize::Passed;
use crate::gateway::connection;
use crate::gateway::forward::response_addresses::AddressMap;
use crate::gateway::framing;
use crate::gateway::request::cors;
use crate::gateway::request::headers;
use crate::gateway::request::path;
use crate::gateway::request::{self, Incoming};
use crate::gateway::state::gateway::Gateway;
use crate::gateway::state::long_lived::Open;
use crate::gateway::state::request_state;
use crate::gateway::state::routes::{Entry, Table};
use crate::gateway::upstream::cluster::{Exchange, Server};
use crate::gateway::upstream::connection::Mark;
use bytes::Bytes;
use http::header::{EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode, Version};
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::Peer as _;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use std::net::SocketAddr;
use std::sync::Arc;

/// The kind of error of a connection that must not carry another request.
pub const GIVEN_UP: ErrorType = ErrorType::new("ConnectionGivenUp");
/// In so many pieces a request and its answer come that are short, and no more.
const FEW: usize = 2;
/// A message that was to be short and goes on for this long is watched as a long one is.
const LONG: Duration = Duration::from_secs(5);

/// A request that may go on.
pub struct Forward {
    /// Its route, and the servers of that.
    pub entry: Arc<Entry>,
    /// Its head, as it was read.
    pub incoming: Incoming,
    /// How often connecting to a server has failed.
    pub tries: usize,
    passed: Passed,
    /// The table that the request was judged by.
    table: Arc<Table>,
    /// The server that was chosen.
    server: Option<Arc<Server>>,
    /// In how many pieces its bodies have come.
    pieces: usize,
    /// That it is watched over, where it may go on for long.
    open: Option<Open>,
    upstream: UpstreamState,
}

/// How far the exchange with an HTTP/1.1 upstream has come.
#[derive(Debug, Default)]
struct UpstreamState {
    /// The mark of its connection, where it is pingora's.
    mark: Option<Mark>,
    /// Whether the end of the request's body was handed to it.
    request_ended: bool,
    /// Whether its final response began before that.
    early: bool,
    /// Whether its final response is complete.
    response_ended: bool,
    /// Whether its connection must not carry another request.
    given_up: bool,
}

impl Forward {
    /// A request that has passed.
    pub fn new(passed: Passed, table: Arc<Table>, entry: Arc<Entry>, incoming: Incoming) -> Self {
        let upstream = UpstreamState::default();
        Self { entry, incoming, tries: 0, passed, table, server: None, pieces: 0, open: None, upstream }
    }

    /// Who it speaks for, where that is somebody.
    pub fn principal(&self) -> Option<&Principal> {
        self.passed.identity.as_ref().map(|(principal, _)| principal)
    }

    /// How the request goes on.
    pub fn exchange(&self) -> Exchange {
        self.incoming.exchange
    }

    /// Whether every server that it may go to speaks HTTP/1.1, and no other.
    pub fn speaks_http1(&self) -> bool {
        self.entry.group.speaks_http1()
    }

    /// The server that it goes to next.
    pub fn next_server(&mut self) -> Result<Arc<Server>> {
        let server = self.entry.group.next(&self.passed.permit).ok_or_else(|| {
            Error::explain(ErrorType::ConnectNoRoute, "no upstream has an address").into_up()
        })?;
        self.server = Some(server.clone());
        self.upstream = UpstreamState::default();
        Ok(server)
    }

    /// The address of the server that it went to last.
    pub fn server_address(&self) -> Option<SocketAddr> {
        self.server.as_ref()?.plain().address().as_inet().copied()
    }

    /// Notes by which connection of pingora's the request goes.
    ///
    /// # Errors
    /// Where that must not carry another request. Nothing was sent by it, so the request may go by another one.
    pub fn connected(&mut self, digest: Option<&Digest>) -> Result<()> {
        self.upstream.mark = Mark::of(digest);
        match &self.upstream.mark {
            Some(mark) if mark.is_set() => {
                return Error::e_explain(GIVEN_UP, "an earlier response came before its request ended");
            }
            _ => {}
        }
        if self.exchange() != Exchange::Grpc {
            // Others' requests share a connection of HTTP/2.
            let shared = self.server.as_deref().is_some_and(|server| server.upstream().scheme == Scheme::H2c);
            let connection = self.upstream.mark.clone().filter(|_| !shared);
            request_state::limit_silence(self.entry.route.config.timeout, connection);
        }
        Ok(())
    }

    /// Returns whether the upstream's connection was ended since it was silent for too long.
    pub fn upstream_was_silent(&self) -> bool {
        self.upstream.mark.as_ref().is_some_and(Mark::was_silent)
    }

    /// Returns whether the upstream may be silent for any time after this head of a response.
    pub fn may_be_silent_after(&self, response: &ResponseHeader) -> bool {
        match response.status {
            StatusCode::SWITCHING_PROTOCOLS => true,
            status if status.is_informational() => false,
            // Nothing more comes, and its connection may soon be another request's.
            _ if self.upstream.response_ended => true,
            _ => self.exchange() != Exchange::Plain || request::is_event_stream(&response.headers),
        }
    }

    /// Checks the framing of an HTTP/1.x upstream's response.
    ///
    /// # Errors
    /// Where it is ambiguous.
    pub fn check_response(&mut self, response: &ResponseHeader) -> Result<()> {
        match framing::check_response(response) {
            Ok(true) => {}
            Ok(false) => self.give_up_connection(),
            Err(ambiguity) => {
                let request_id = self.incoming.request_id.as_str();
                tracing::warn!(request_id, ?ambiguity, "the framing of an upstream's response is ambiguous");
                let error =
                    Error::explain(ErrorType::InvalidHTTPHeader, "the framing of the response is ambiguous");
                return Err(error.into_up());
            }
        }
        let informational = response.status.is_informational();
        if !informational && !self.upstream.request_ended {
            self.upstream.early = true;
            self.give_up_connection();
        }
        // RFC 9112, section 6.3.
        let bodiless = self.incoming.method == Method::HEAD
            || matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || framing::length(&response.headers) == Ok(Some(0));
        self.upstream.response_ended = !informational && bodiless;
        Ok(())
    }

    /// Notes that the upstream's connection must not carry another request.
    pub fn give_up_connection(&mut self) {
        self.upstream.given_up = true;
        if let Some(mark) = &self.upstream.mark {
            mark.set();
        }
    }

    /// Returns whether the upstream's connection may carry another request.
    pub fn connection_is_reusable(&self) -> bool {
        !self.upstream.given_up
    }

    /// Notes that the end of the request's body was handed to the upstream.
    pub fn request_ended(&mut self) {
        self.upstream.request_ended = true;
    }

    /// Notes that the response is complete.
    pub fn response_ended(&mut self) {
        self.upstream.response_ended = true;
    }

    /// Returns whether the response is complete, and began before the request's body was sent. What is left of the body
    /// must not be sent: an upstream that has not read it would take it for the next request.
    pub fn was_answered_early(&self) -> bool {
        self.upstream.early && self.upstream.response_ended
    }

    /// Makes its head what the server is to see.
    pub fn rewrite(&self, parts: &mut http::request::Parts) -> Result<()> {
        let Self { table, entry, incoming, server, .. } = self;
        let server = server.as_deref().map(Server::upstream);
        let (route, now) = (&entry.route, incoming.received.wall);
        headers::strip_request(&mut parts.headers, &table.reserved)?;
        // It was met here.
        parts.headers.remove(EXPECT);
        headers::set_request(&mut parts.headers, route, incoming, server)?;
        headers::set_identity(
            &mut parts.headers,
            route,
            self.passed.identity.as_ref(),
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
    pub fn answer_begins(
        &mut self,
        gateway: &Gateway,
        session: &mut Session,
        response: &mut ResponseHeader,
    ) -> Result<()> {
        request_state::with_record(|record| record.status = response.status.as_u16());
        match self.may_be_silent_after(response) {
            true => request_state::allow_silence(),
            false if response.status.is_informational() => request_state::upstream_is_active(),
            false => request_state::response_begins(),
        }
        // RFC 9110, section 15.2.2: it is an answer to an Upgrade. pingora hands it on where nobody asked for one.
        if response.status == StatusCode::SWITCHING_PROTOCOLS && self.incoming.exchange != Exchange::WebSocket
        {
            let error = Error::explain(ErrorType::InvalidHTTPHeader, "a 101 that was not asked for");
            return Err(error.into_up());
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS
            && let Some(signals) = connection::signals(session)
        {
            signals.set_upgraded();
        }
        // RFC 9112, section 6.1: "A server MUST NOT send a response containing Transfer-Encoding unless the corresponding
        // request indicates HTTP/1.1". Without, the body ends with the connection.
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
        let upstream = self.server.as_deref().map(Server::upstream).filter(|_| !informational);
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
            &self.incoming,
            self.passed.guest_cookie.as_deref(),
            own,
            |told| {
                cors::allow_unless_told(told, asked, &route.config);
            },
        )
    }

    /// Notes that a piece of a body came, of the request's or the answer's.
    pub fn piece_came(&mut self, gateway: &Gateway, session: &Session, piece: Option<&Bytes>) {
        connection::is_of_use(session, piece.map_or(0, Bytes::len));
        self.watch_if_long(gateway, session);
    }

    /// Notes that a person sends something: on a stream that is use of the session; that it is open is not.
    pub fn is_used(&self, gateway: &Gateway) {
        if let (Some(_), Some(Principal::SignedIn(who))) = (&self.open, self.principal()) {
            gateway.pool.sessions.touch(who, gateway.pool.clock.monotonic());
        }
    }

    /// Lets the request end with the session that it speaks with.
    pub fn watch(&mut self, gateway: &Gateway, session: &Session) {
        if let (None, Some(principal)) = (&self.open, self.principal()) {
            self.open = gateway.watch(session, &self.incoming, principal);
        }
    }

    /// The same for what was short by its words, and is not.
    fn watch_if_long(&mut self, gateway: &Gateway, session: &Session) {
        self.pieces += 1;
        // The clock is not asked about the few pieces that nearly all messages come in.
        let lasts = || gateway.pool.clock.monotonic().since(self.incoming.received.monotonic) > LONG;
        if self.open.is_none() && self.pieces > FEW && lasts() {
            self.watch(gateway, session);
        }
    }
}

/// What lets this request go on. Without it, nothing is forwarded.
pub fn permitted(ctx: &mut Option<Box<Forward>>) -> Result<&mut Forward> {
    ctx.as_deref_mut().ok_or_else(|| Error::explain(ErrorType::InternalError, "a request without a permit"))
}
