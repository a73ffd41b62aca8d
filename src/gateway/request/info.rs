//! The head of a request, parsed once: its host, its sender and its kind. The client's kind is
//! determined only if Narthex itself responds.

use crate::base::Moment;
use crate::catalogue::Catalogue;
use crate::config::{Host, OnUnauthenticatedRequest};
use crate::gateway::framing::{self, MAX_HEAD_BYTES};
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::request::sender::Sender;
use crate::gateway::upstream::cluster::RequestKind;
use crate::pages::{ClientKind, ErrorResponse, ResponseContext, Site, Texts, accepted_languages};
use http::header::{
    ACCEPT, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE,
    EXPECT, HOST, HeaderMap, ORIGIN, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderName, HeaderValue, Method, Version};
use pingora_error::Result as PingoraResult;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use std::borrow::Cow;
use std::net::IpAddr;

/// The maximum length of path and query in bytes.
const MAX_TARGET_LENGTH: usize = 8 * 1024;

/// The maximum length in bytes of a body that is always transferred in a short time.
const LONG_BODY_BYTES: u64 = 1024 * 1024;

/// The kind of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// TLS.
    Tls,
    /// Plain HTTP.
    Plain,
    /// Plain HTTP from a trusted proxy on this machine.
    UnixSocket,
}

/// The properties of a request that its steps need, except the path.
#[derive(Clone, Debug)]
pub struct RequestInfo {
    /// The time of its receipt.
    pub received: Moment,
    /// The request's id in log lines and responses.
    pub request_id: String,
    /// The requested host, normalized.
    pub host: Host,
    /// Whether it was sent over TLS, to Narthex or to a trusted proxy.
    pub secure: bool,
    /// The method.
    pub method: Method,
    /// The kind of exchange.
    pub kind: RequestKind,
    /// Whether a trusted proxy sent it.
    pub from_trusted_proxy: bool,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// Whether it is authorized for another proxy, which forwards it itself (forward
    /// authentication).
    pub is_forward_auth: bool,
    /// The action for an unauthenticated request, if it does not depend on the route.
    pub on_unauthenticated: Option<OnUnauthenticatedRequest>,
    /// Whether the host's certificate is one that browsers trust.
    strict_transport: bool,
    /// The pages of the host, for links on error pages.
    pub site: Site,
    /// Whether the address is the client's. A trusted proxy that does not name the client sends
    /// requests of many clients.
    client_ip_trusted: bool,
}

impl RequestInfo {
    /// Reads the head of a request.
    ///
    /// # Errors
    /// The response, where the request is malformed, ambiguous or too large.
    pub fn read(
        session: &Session,
        face: ListenerKind,
        catalogue: &Catalogue,
        site: impl Fn(&Host) -> Site,
        request_id: String,
        received: Moment,
    ) -> Result<Self, LocalResponse> {
        let host = match check_head(session).and_then(|()| requested_host(session, catalogue)) {
            Ok(host) => host,
            Err(refusal) => return Err(refusal.into_response(session, site, request_id)),
        };
        let sender = Sender::of(session, face, catalogue);
        let mut certified = catalogue.config.tls.iter().flat_map(|tls| &tls.hosts);
        Ok(Self {
            received,
            request_id,
            // Without TLS no page is served.
            site: if sender.secure { site(&host) } else { Site::Unknown },
            strict_transport: certified.any(|pattern| pattern.matches(host.as_str())),
            host,
            secure: sender.secure,
            method: session.req_header().method.clone(),
            kind: request_kind(session),
            from_trusted_proxy: sender.is_trusted_proxy,
            client: sender.client,
            client_ip_trusted: sender.client_ip_trusted,
            is_forward_auth: false,
            on_unauthenticated: None,
        })
    }

    /// Returns the request's id as a header value.
    pub fn id_header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.request_id).expect("invariant: an id is hexadecimal digits")
    }

    /// Returns the client's address, if it is known.
    pub fn source_ip(&self) -> Option<IpAddr> {
        self.client.filter(|_| self.client_ip_trusted)
    }

    /// Writes the refusal of the request to the audit log.
    pub fn audit_refusal(&self, reason: &str) {
        let client = self.client.map_or_else(String::new, |ip| ip.to_string());
        tracing::info!(target: "audit", event = "request_refused", request_id = self.request_id, client, reason);
    }

    /// Returns the original request of a forward-auth request from a trusted proxy.
    pub fn for_forward_auth(
        &self,
        site: Site,
        host: Host,
        method: Method,
        on_unauthenticated: Option<OnUnauthenticatedRequest>,
    ) -> Self {
        Self {
            site,
            received: self.received,
            request_id: self.request_id.clone(),
            host,
            method,
            kind: self.kind,
            secure: true,
            from_trusted_proxy: true,
            client: self.client,
            client_ip_trusted: self.client_ip_trusted,
            is_forward_auth: true,
            on_unauthenticated,
            strict_transport: self.strict_transport,
        }
    }

    /// Returns whether the client can be redirected to the sign-in pages and back.
    pub fn may_redirect(&self, visitor: &ResponseContext) -> bool {
        visitor.client == ClientKind::Browser && visitor.is_get
    }

    /// Returns the context of a response that Narthex generates.
    pub fn response_context(&self, session: &Session) -> ResponseContext {
        ResponseContext {
            request_id: self.request_id.clone(),
            client: reader(session),
            strict_transport: self.strict_transport,
            site: self.site.clone(),
            is_get: is_get(&self.method),
            texts: texts(session),
        }
    }
}

/// Returns the texts of pages in the browser's language.
fn texts(session: &Session) -> &'static Texts {
    let accepted = session.req_header().headers.get(http::header::ACCEPT_LANGUAGE);
    let accepted = accepted.and_then(|value| value.to_str().ok()).unwrap_or_default();
    Texts::of(&accepted_languages(accepted))
}

/// A refusal of a request because of its head.
struct HeadRefusal {
    failure: fn() -> ErrorResponse,
    reason: Cow<'static, str>,
    /// Whether the connection is closed after the response.
    close: bool,
}

impl HeadRefusal {
    fn new(failure: fn() -> ErrorResponse, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { failure, reason: reason.into(), close: false }
    }

    /// Writes the refusal to the audit log, and returns the response to it.
    fn into_response(
        self,
        session: &Session,
        site: impl Fn(&Host) -> Site,
        request_id: String,
    ) -> LocalResponse {
        let reason = &*self.reason;
        tracing::info!(target: "audit", event = "request_refused", request_id, reason);
        let host = authority(session).and_then(Host::from_authority);
        let response = LocalResponse::from((self.failure)().into_response(&ResponseContext {
            request_id,
            client: reader(session),
            strict_transport: false,
            site: host.map_or(Site::Unknown, |host| site(&host)),
            is_get: is_get(&session.req_header().method),
            texts: texts(session),
        }));
        if self.close { response.close_connection() } else { response }
    }
}

/// Checks the parts of a head that do not depend on the configuration.
fn check_head(session: &Session) -> Result<(), HeadRefusal> {
    let header = session.req_header();
    // The framing of an HTTP/1.1 request was checked before the head was parsed.
    if session.is_http2() {
        check_http2_head(header)?;
    }
    // RFC 9110, section 9.3.6: CONNECT requests a tunnel, which Narthex does not provide.
    if header.method == Method::CONNECT {
        let refusal = HeadRefusal::new(ErrorResponse::method_not_allowed, "the method is CONNECT");
        return Err(HeadRefusal { close: true, ..refusal });
    }
    if expectation(header) == Expectation::Unknown {
        let refusal = HeadRefusal::new(ErrorResponse::expectation_failed, "the expectation is unknown");
        return Err(HeadRefusal { close: true, ..refusal });
    }
    if header.raw_path().len() > MAX_TARGET_LENGTH {
        return Err(HeadRefusal::new(ErrorResponse::target_too_long, "the target is too long"));
    }
    Ok(())
}

fn check_http2_head(header: &RequestHeader) -> Result<(), HeadRefusal> {
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 32;
    if header.headers.iter().map(size).sum::<usize>() > MAX_HEAD_BYTES {
        return Err(HeadRefusal::new(ErrorResponse::headers_too_large, "the head is too large"));
    }
    if framing::has_outer_white_space(&header.headers) {
        let reason = "a header's value begins or ends with white space";
        return Err(HeadRefusal::new(ErrorResponse::bad_request, reason));
    }
    framing::length(&header.headers).map(|_| ()).map_err(|ambiguity| {
        let reason = format!("the framing is ambiguous: {ambiguity:?}");
        HeadRefusal::new(ErrorResponse::bad_request, reason)
    })
}

/// Returns the host that the request names.
fn requested_host(session: &Session, catalogue: &Catalogue) -> Result<Host, HeadRefusal> {
    let header = session.req_header();
    // Load balancers send health checks by HTTP/1.0 without a host.
    let names_none = header.version == Version::HTTP_10 && !header.headers.contains_key(HOST);
    let any = || (names_none && is_health_check(session)).then(|| catalogue.config.public_url.host());
    let host = authority(session).and_then(Host::from_authority).or_else(|| any().cloned());
    host.ok_or_else(|| {
        HeadRefusal::new(ErrorResponse::bad_request, "the host is missing, malformed or given twice")
    })
}

/// Returns the kind of the client. Browsers navigate and accept HTML. Scripts send
/// `X-Requested-With` or another `Sec-Fetch-Mode`.
fn reader(session: &Session) -> ClientKind {
    let headers = &session.req_header().headers;
    let bytes = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    let html = headers
        .get(ACCEPT)
        .is_some_and(|accept| memchr::memmem::find(accept.as_bytes(), b"text/html").is_some());
    let script = bytes("x-requested-with").is_some_and(|value| value.eq_ignore_ascii_case(b"XMLHttpRequest"));
    let navigates = bytes("sec-fetch-mode").is_none_or(|mode| mode == b"navigate");
    match () {
        () if is_grpc(session) => ClientKind::Grpc,
        () if html && !script && navigates => ClientKind::Browser,
        () => ClientKind::Program,
    }
}

/// The path of health checks by load balancers, on any host, with or without TLS.
const HEALTH_PATH: &str = "/.narthex/healthz";

/// Returns whether the request is a health check by a load balancer.
pub fn is_health_check(session: &Session) -> bool {
    let head = session.req_header();
    head.raw_path() == HEALTH_PATH.as_bytes() && is_get(&head.method)
}

fn is_get(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Returns the host that a request names. HTTP/2 names it in `:authority`; if `Host` is also
/// present, both must agree (RFC 9113, section 8.3.1).
fn authority(session: &Session) -> Option<&str> {
    let header = session.req_header();
    let named = header.uri.authority().map(|authority| authority.as_str());
    let host = header.headers.get(HOST).map(|host| host.to_str().unwrap_or("\0"));
    match (named, host) {
        (Some(named), Some(host)) if !named.eq_ignore_ascii_case(host) => None,
        (named, host) => host.or(named),
    }
}

/// Returns the raw path and query of a request, if they are plain text.
pub fn target(session: &Session) -> Option<&str> {
    let header = session.req_header();
    let raw = std::str::from_utf8(header.raw_path()).ok()?;
    // A target must not contain a fragment. A target that the parser has changed is refused,
    // because the raw one was not evaluated.
    let same = header.uri.path_and_query().is_some_and(|known| known.as_str() == raw);
    (same && memchr::memchr(b'#', raw.as_bytes()).is_none()).then_some(raw)
}

/// Returns the path of a target, without the query.
pub fn path_part(target: &str) -> &str {
    &target[..memchr::memchr(b'?', target.as_bytes()).unwrap_or(target.len())]
}

/// Returns the target that routes and policies evaluate.
///
/// # Errors
/// A 400 response, if the target is not plain text.
pub fn plain_target<'s>(session: &'s Session, incoming: &RequestInfo) -> Result<&'s str, LocalResponse> {
    target(session).ok_or_else(|| {
        incoming.audit_refusal("the target is no plain text");
        LocalResponse::from(ErrorResponse::bad_path().into_response(&incoming.response_context(session)))
    })
}

/// Returns the values of the request's `Cookie` headers.
pub fn cookies(session: &Session) -> impl Iterator<Item = &[u8]> {
    session.req_header().headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes)
}

/// Returns whether a request of this method is a CORS preflight (Fetch, section 4.8): `OPTIONS`,
/// without credentials, a body, or `Upgrade`. In forward authentication, `method` is that of the
/// original request, not of the subrequest.
pub fn is_preflight(session: &Session, method: &Method) -> bool {
    let header = session.req_header();
    if *method != Method::OPTIONS {
        return false;
    }
    let has = |name| header.headers.contains_key(name);
    let empty = match session.as_http2() {
        Some(stream) => stream.is_body_empty(),
        None => header.headers.get(CONTENT_LENGTH).is_none_or(|length| length.as_bytes() == b"0"),
    };
    let bare = empty && ![TRANSFER_ENCODING, AUTHORIZATION, COOKIE, UPGRADE].into_iter().any(has);
    bare && has(ORIGIN) && has(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Returns whether the request asks for a WebSocket, the only protocol to which pingora upgrades a
/// connection.
fn is_websocket(session: &Session) -> bool {
    let headers = &session.req_header().headers;
    // RFC 9110, section 7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option".
    let is_nominated = || {
        let options = headers.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok());
        options.flat_map(|line| line.split(',')).any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
    };
    session.is_upgrade_req()
        && headers.get(UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && is_nominated()
}

/// Returns the kind of exchange: WebSockets and gRPC calls may be silent for long. Event streams
/// are recognized by the response alone, because clients of many APIs do not announce them.
fn request_kind(session: &Session) -> RequestKind {
    match () {
        () if is_websocket(session) => RequestKind::WebSocket,
        () if is_grpc(session) => RequestKind::Grpc,
        () => RequestKind::Plain,
    }
}

/// Returns whether the request is a gRPC call: over HTTP/2, with a content type that begins with
/// `application/grpc`. By HTTP/1.1 this content type must not lift the deadlines.
fn is_grpc(session: &Session) -> bool {
    session.is_http2() && value_starts_with(&session.req_header().headers, CONTENT_TYPE, b"application/grpc")
}

/// A client's expectation before it sends its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expectation {
    Nothing,
    /// `100-continue`.
    Continue,
    /// An unknown expectation.
    Unknown,
}

/// Returns the expectation of a request. RFC 9110, section 10.1.1: `100-continue` is the one
/// expectation, and a server "MUST ignore" it in an HTTP/1.0 request.
fn expectation(header: &RequestHeader) -> Expectation {
    let mut all = header.headers.get_all(EXPECT).iter();
    match (all.next(), all.next()) {
        (None, _) => Expectation::Nothing,
        _ if header.version < Version::HTTP_11 => Expectation::Nothing,
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"100-continue") => Expectation::Continue,
        _ => Expectation::Unknown,
    }
}

/// Sends `100 Continue` if the client waits for it, after authorization and before the body is
/// read. The upstream never receives the expectation.
///
/// # Errors
/// The connection is closed.
pub async fn send_continue(session: &mut Session) -> PingoraResult<()> {
    let waits = expectation(session.req_header()) == Expectation::Continue;
    if !waits || session.is_http2() || session.is_body_empty() {
        return Ok(());
    }
    let downstream = &mut session.downstream_session;
    // The client sends the body now, so the connection stays open although the body is unread.
    downstream.set_close_on_response_before_downstream_finish(false);
    let written = downstream.write_continue_response().await;
    downstream.set_close_on_response_before_downstream_finish(true);
    written
}

fn value_starts_with(headers: &HeaderMap, name: HeaderName, with: &[u8]) -> bool {
    headers.get(name).is_some_and(|value| value.as_bytes().starts_with(with))
}

/// Returns whether a response with these headers is an event stream (HTML, section 9.2.5: "its MIME
/// type is text/event-stream").
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    let essence = |value: &HeaderValue| {
        let end = memchr::memchr(b';', value.as_bytes()).unwrap_or(value.len());
        value.as_bytes()[..end].trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    };
    headers.get(CONTENT_TYPE).is_some_and(essence)
}

/// Returns whether a message with these headers may take long: its body's length is unknown or
/// above `LONG_BODY_BYTES`.
pub fn may_take_long(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    length.is_none_or(|length| length > LONG_BODY_BYTES)
}
