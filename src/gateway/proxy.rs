//! The steps of a request from its head to its upstream, and pingora's filters.

use crate::base::Duration;
use crate::gateway::access_log::AccessRecord;
use crate::gateway::authorize::forward_auth;
use crate::gateway::authorize::{self, RouteMatch, RouteRequest};
use crate::gateway::builtin::app_host;
use crate::gateway::builtin::user_pool;
use crate::gateway::connection;
use crate::gateway::connection::Signals;
use crate::gateway::errors::Kind;
use crate::gateway::forward::bodyless::{self, BodylessForwarder};
use crate::gateway::forward::request::{ABANDONED, ProxiedRequest, proxied_request};
use crate::gateway::framing;
use crate::gateway::metrics;
use crate::gateway::request::cors;
use crate::gateway::request::local_response::{LocalResponse, is_answered};
use crate::gateway::request::{self, ListenerKind, RequestInfo};
use crate::gateway::request::{headers, names};
use crate::gateway::state::gateway::Gateway;
use crate::gateway::state::request_context::RequestContext;
use crate::gateway::state::request_state;
use crate::gateway::state::routes::{RouteTable, Target};
use crate::gateway::upstream::cluster::RequestKind;
use crate::pages::{self, ErrorResponse};
use async_trait::async_trait;
use bytes::Bytes;
use http::{StatusCode, Version};
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use std::os::fd::RawFd;
use std::sync::Arc;

/// pingora's filters for the requests of one listener.
pub struct GatewayProxy {
    /// The gateway.
    pub gateway: Arc<Gateway>,
    /// The kind of the listener.
    pub listener: ListenerKind,
    /// The forwarder of requests without a body.
    pub bodyless: Arc<BodylessForwarder>,
}

impl GatewayProxy {
    /// Reads, routes and authorizes a request, and returns it with its assertion, ready to be
    /// forwarded.
    ///
    /// # Errors
    /// The response that Narthex generates itself: a refusal, a redirect, or that of an endpoint of
    /// its own.
    async fn handle_request(&self, session: &mut Session) -> Result<ProxiedRequest, LocalResponse> {
        let gateway = &*self.gateway;
        let table = gateway.route_table();
        let incoming = RequestInfo::read(
            session,
            self.listener,
            &table.catalogue,
            |host| table.site(host),
            gateway.request_id(),
            gateway.pool.clock.moment(),
        )?;
        let ctx = &RequestContext { gateway, session, table: &table, incoming: &incoming };
        if request::is_health_check(session) {
            return Err(health(ctx));
        }
        request_state::set_started_at(incoming.received.monotonic);
        if gateway.records_requests() {
            request_state::set_record(Box::new(AccessRecord::of(session.req_header(), &incoming)));
        }
        if forward_auth::is_forward_auth_request(session, &incoming) {
            return Err(Box::pin(forward_auth::answer(ctx)).await);
        }
        if !incoming.secure {
            return Err(to_https(ctx, self.listener));
        }
        let target = request::plain_target(session, &incoming)?;
        let RouteMatch { target: place, path } = authorize::match_route(ctx, target)?;
        let entry = match place {
            Target::Route(entry) => entry,
            Target::Builtin(address) => return Err(Box::pin(app_host::answer(ctx, address)).await),
            Target::UserPool => {
                let answer = user_pool::dispatch_to_user_pool(gateway, session, &table.catalogue, &incoming);
                return Err(Box::pin(answer).await);
            }
        };
        let wanted = RouteRequest { entry: &entry, path: &path, target };
        let mut forward = self.authorize_forward(session, &table, incoming, wanted).await?;
        let long_body = !session.is_body_empty() && request::may_take_long(&session.req_header().headers);
        if long_body || forward.request_kind() != RequestKind::Plain {
            forward.watch(gateway, session);
        }
        if request::send_continue(session).await.is_err() {
            let context = forward.info.response_context(session);
            let refusal = LocalResponse::from(ErrorResponse::bad_request().into_response(&context));
            return Err(refusal.close_connection());
        }
        Ok(forward)
    }

    /// Authorizes a request for a route, and acquires its permit from the limiter of requests in
    /// progress.
    async fn authorize_forward(
        &self,
        session: &Session,
        table: &Arc<RouteTable>,
        incoming: RequestInfo,
        wanted: RouteRequest<'_>,
    ) -> Result<ProxiedRequest, LocalResponse> {
        let entry = wanted.entry.clone();
        let ctx = &RequestContext { gateway: &self.gateway, session, table, incoming: &incoming };
        request_state::set_route(&entry);
        // Only another proxy sends forward-auth requests for this route; it has no upstream.
        if entry.route.config.upstreams.is_empty() {
            return Err(ctx.failure(ErrorResponse::not_found()));
        }
        let passed = authorize::authorize(ctx, wanted).await;
        let passed = passed.map_err(|stop| {
            // A script can read the reason for the refusal only with CORS headers.
            let asked = &session.req_header().headers;
            stop.map_headers(|response_headers| {
                cors::add_headers_if_absent(response_headers, asked, &entry.route.config)
            })
        })?;
        let listen = &table.catalogue.config.listen;
        let permit = self.gateway.request_limiter.try_acquire(incoming.source_ip(), listen);
        let permit = permit.map_err(|reason| ctx.refusal(ErrorResponse::overloaded(), reason))?;
        Ok(ProxiedRequest::new(passed, table.clone(), entry, incoming, permit))
    }
}

impl GatewayProxy {
    /// Returns the access log record of a request for which `handle_request` began none, such as
    /// one that was refused by its head.
    fn record_of_head(&self, session: &Session) -> Box<AccessRecord> {
        let mut record = Box::new(AccessRecord::of_head(session.req_header()));
        record.time = Some(self.gateway.pool.clock.now());
        record.client =
            session.client_addr().and_then(|address| address.as_inet()).map(|address| address.ip());
        let id = session.response_written().and_then(|response| response.headers.get(pages::REQUEST_ID));
        record.request_id = id.and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
        record
    }
}

#[async_trait]
impl ProxyHttp for GatewayProxy {
    /// The context is boxed, because pingora moves it from future to future.
    type CTX = Option<Box<ProxiedRequest>>;

    fn new_ctx(&self) -> Self::CTX {
        None
    }

    /// Adds no module. Compression is left to the upstream or the client, and pingora would call
    /// its compression module for every chunk.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        request_state::on_request_head();
        connection::record_activity(session, 0);
        set_deadlines(session);
        if let Some(signals) = connection::signals(session) {
            signals.set_seen(true);
        }
        // RFC 9110, section 15.2: "a server MUST NOT send a 1xx response to an HTTP/1.0 client".
        if session.req_header().version == Version::HTTP_10 {
            session.set_ignore_info_resp(true);
        }
        match self.handle_request(session).await {
            Ok(forward) => {
                *ctx = Some(Box::new(forward));
                Ok(false)
            }
            Err(stop) => stop.send(session).await.map(|()| true),
        }
    }

    /// Forwards a request that the [`BodylessForwarder`] supports. Returns whether pingora must
    /// forward the request instead.
    async fn proxy_upstream_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        if !bodyless::serves(session, proxied_request(ctx)?) {
            return Ok(true);
        }
        self.bodyless.forward(self, &self.gateway, session, ctx).await.map(|()| false)
    }

    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        let forward = proxied_request(ctx)?;
        Ok(Box::new(forward.next_endpoint()?.peer(forward.request_kind())))
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        upstream: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        let forward = proxied_request(ctx)?;
        headers::rewrite_request(upstream, |parts| forward.rewrite_request(parts))
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        let forward = proxied_request(ctx)?;
        if forward.was_answered_early() {
            let error =
                Error::explain(ErrorType::ConnectionClosed, "the response came before the request ended");
            return Err(error.into_down());
        }
        if end {
            forward.on_request_end();
            without_empty_piece(body);
        }
        forward.on_body_chunk(&self.gateway, session, body.as_ref());
        request_state::record_upstream_activity();
        if body.is_some() {
            forward.touch_session(&self.gateway);
        }
        Ok(())
    }

    /// Records the activity of a response chunk. A client that reads a body sends window updates,
    /// which consume its read budget.
    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        let forward = proxied_request(ctx)?;
        forward.on_body_chunk(&self.gateway, session, body.as_ref());
        request_state::record_upstream_activity();
        if end {
            // A body without a length ends with its connection, also if a silent upstream's
            // connection was shut down.
            if forward.upstream_was_silent() {
                let error = Error::explain(ErrorType::ReadTimedout, "the upstream was silent for too long");
                return Err(error.into_up());
            }
            request_state::allow_silence();
            forward.on_response_end();
            without_empty_piece(body);
        }
        if forward.was_answered_early() {
            session.set_read_timeout(Some(LATE_BODY_TIMEOUT));
        }
        Ok(None)
    }

    /// Checks the response head as the upstream sent it.
    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        // HTTP/2 frames each stream itself, but an HTTP/1.1 client receives these fields as its
        // framing.
        if response.version == Version::HTTP_2 {
            let is_plain = framing::length(&response.headers).is_ok()
                && !framing::has_outer_white_space(&response.headers);
            proxied_request(ctx)?.on_http2_response();
            let error =
                || Error::explain(ErrorType::InvalidHTTPHeader, "a field of the response is malformed");
            return if is_plain { Ok(()) } else { Err(error().into_up()) };
        }
        let forward = proxied_request(ctx)?;
        forward.check_response(response)?;
        if forward.was_answered_early() {
            session.set_read_timeout(Some(LATE_BODY_TIMEOUT));
        }
        Ok(())
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        _reused: bool,
        _: &HttpPeer,
        _: RawFd,
        digest: Option<&Digest>,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        proxied_request(ctx)?.on_connected(digest)
    }

    /// Decides whether a failed request is retried. RFC 9110, section 9.2.2: "A proxy MUST NOT
    /// automatically retry non-idempotent requests."
    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Self::CTX,
        reused: bool,
    ) -> Box<Error> {
        let was_silent = ctx.as_ref().is_some_and(|forward| forward.upstream_was_silent());
        if *error.etype() == ABANDONED {
            // Nothing was sent.
            error.set_retry(true);
        } else if was_silent
            || !session.req_header().method.is_idempotent()
            || session.as_ref().retry_buffer_truncated()
        {
            error.set_retry(false);
        } else {
            error.retry.decide_reuse(reused);
        }
        error
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        proxied_request(ctx)?.rewrite_response(&self.gateway, session, response)
    }

    /// Removes cookies from trailers, because such a cookie could have the name of one of Narthex's
    /// own. RFC 9110, section 6.5.1: "Trailer fields … cannot be used to modify" routing,
    /// authentication or the controls of a response.
    async fn response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut http::HeaderMap,
        _: &mut Self::CTX,
    ) -> Result<Option<Bytes>> {
        trailers.remove(http::header::SET_COOKIE);
        Ok(None)
    }

    /// Allows a retry with another endpoint, because the request was not sent (RFC 9110, section
    /// 9.2.2).
    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        ctx: &mut Self::CTX,
        mut error: Box<Error>,
    ) -> Box<Error> {
        if let Some(forward) = ctx {
            forward.attempts += 1;
            error.set_retry(forward.attempts < forward.entry.cluster.count().clamp(2, 4));
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Self::CTX) -> FailToProxy {
        let nothing = FailToProxy { error_code: 0, can_reuse_downstream: false };
        let Some(forward) = ctx else { return nothing };
        let visitor = &forward.info.response_context(session);
        let malformed = connection::signals(session).is_some_and(Signals::is_malformed);
        let failure = match (error.etype(), error.esource()) {
            _ if malformed => ErrorResponse::bad_request(),
            (ErrorType::HTTPStatus(413), _) => ErrorResponse::too_large(),
            (_, ErrorSource::Upstream) => ErrorResponse::upstream_down(),
            (
                ErrorType::ReadError | ErrorType::WriteError | ErrorType::ConnectionClosed,
                ErrorSource::Downstream,
            ) => {
                return nothing;
            }
            (_, ErrorSource::Downstream) => ErrorResponse::bad_request(),
            _ => ErrorResponse::internal(),
        };
        let route = forward.entry.route.config.name.as_str();
        let kind = Kind(error);
        tracing::warn!(request_id = visitor.request_id, route, error = %kind, "a request was not proxied");
        if is_answered(session) {
            return nothing;
        }
        let code = failure.status.as_u16();
        drop(LocalResponse::from(failure.into_response(visitor)).close_connection().send(session).await);
        FailToProxy { error_code: code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Self::CTX) {
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        metrics::response(ctx.is_some(), status);
        let (begun, route) = request_state::started_at_and_route();
        let duration =
            begun.map(|begun| self.gateway.pool.clock.monotonic().since(begun)).unwrap_or_default();
        if let Some(entry) = &route {
            entry.metrics.observe(&session.req_header().method, status, duration);
        }
        if !self.gateway.records_requests() {
            return;
        }
        let mut record = request_state::take_record().unwrap_or_else(|| self.record_of_head(session));
        record.route = route.map(|entry| entry.route.config.name.clone()).unwrap_or_default();
        record.upstream = ctx.as_ref().and_then(|forward| forward.endpoint_address());
        (record.status, record.duration) = (status, duration);
        record.bytes = Some(session.body_bytes_sent());
        let kind = error.map(Kind);
        self.gateway.record(record, kind.as_ref().map(|kind| kind as &dyn std::fmt::Display));
    }

    /// Suppresses pingora's warning, because its text would contain the bytes of malformed
    /// messages.
    fn suppress_proxy_warn_log(&self, _: &Session, _: &Self::CTX, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }

    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        true
    }
}

/// Removes an empty chunk from the end of a body. Otherwise pingora writes the empty chunk as the
/// last chunk, and then another last chunk. The recipient would read the other one as the beginning
/// of the next message.
fn without_empty_piece(body: &mut Option<Bytes>) {
    if body.as_ref().is_some_and(Bytes::is_empty) {
        *body = None;
    }
}

/// Returns the response to a health check, which depends on this process alone. All nodes share the
/// store, so a check of the store would fail on all nodes at once.
fn health(ctx: &RequestContext<'_>) -> LocalResponse {
    let answer = pages::HttpResponse::new("alive\n".into());
    pages::add_common_headers(answer, &ctx.response_context()).into()
}

/// Returns a redirect to the same address with https. Other hosts than those served get a 404, so
/// that a redirect never leads to another site.
fn to_https(ctx: &RequestContext<'_>, listener: ListenerKind) -> LocalResponse {
    let RequestContext { session, table, incoming, .. } = *ctx;
    let is_only_way = table.catalogue.config.listen.https.is_none() || listener == ListenerKind::UnixSocket;
    let ends_tls = is_only_way && incoming.from_trusted_proxy;
    if ends_tls && !session.req_header().headers.contains_key(names::FORWARDED_PROTO) {
        // The redirected request would arrive through the same proxy, in an endless loop.
        let reason =
            "the proxy that ends TLS sends no X-Forwarded-Proto; help: have it send \"https\" or \"http\"";
        return ctx.refusal(ErrorResponse::bad_request(), reason);
    }
    let target = request::target(session)
        .filter(|target| target.starts_with('/') && table.serves_host(&incoming.host));
    let location = target.and_then(|target| {
        let origin = table.catalogue.config.public_url.origin_of(&incoming.host);
        http::HeaderValue::from_str(&format!("{origin}{target}")).ok()
    });
    let Some(location) = location else {
        return ctx.failure(ErrorResponse::not_found());
    };
    let mut answer = pages::HttpResponse::default();
    // RFC 9110, section 15.4.9: 308 keeps the method, where 301 may turn a POST into a GET.
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    answer.headers_mut().insert(http::header::LOCATION, location);
    pages::add_common_headers(answer, &ctx.response_context()).into()
}

/// The timeout of a write to the client.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// The timeout for draining an unread request body, after which the connection is closed.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The read timeout for the rest of a request body after an early response of the upstream. It lets
/// the client receive the response before the connection is closed.
const LATE_BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// Sets the timeouts of the client's connection; pingora has none by default.
fn set_deadlines(session: &mut Session) {
    // `RequestTimeouts` enforces the timeouts of idle connections and of incomplete request heads.
    if session.get_keepalive().is_some() {
        session.set_keepalive(Some(0));
    }
    session.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
    // The timeout runs only while a write is pending.
    session.set_write_timeout(Some(WRITE_TIMEOUT));
}
