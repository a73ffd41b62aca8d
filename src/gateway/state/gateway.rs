//! The gateway: what every request through it works with, whichever listener it came by.

use crate::authn::{
    APP_COOKIE, BearerAuthenticator, BearerPrincipal, GUEST_COOKIE, GuestAuthenticator, Minter, Principal,
    SessionPrincipal, cookie_value,
};
use crate::base::{Duration, MonotonicTime};
use crate::broker::LoginAttempts;
use crate::catalogue::{Catalogue, IdentityPool, Route};
use crate::config::AccessLogSettings;
use crate::gateway::access_log::{AccessLog, AccessRecord, printable};
use crate::gateway::connection::limits::ConnectionLimiter;
use crate::gateway::connection::request_limits::RequestLimiter;
use crate::gateway::request::local_response::LocalResponse;
use crate::gateway::request::{self, RequestInfo};
use crate::gateway::state::long_lived::LongLivedRequests;
use crate::gateway::state::routes::{RouteEntry, RouteTable};
use crate::handlers::AppState;
use crate::identity::IdentityDirectory;
use crate::model::CookieScope;
use crate::pages::{ErrorResponse, ResponseContext};
use crate::store::StoreError;
use crate::token::TokenError;
use arc_swap::{ArcSwap, ArcSwapOption};
use http::Method;
use pingora_proxy::Session;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// RFC 6750, section 3.1: "The access token provided is expired, revoked, malformed, or invalid".
pub(in crate::gateway) const INVALID_TOKEN: &str = "Bearer realm=\"narthex\", error=\"invalid_token\"";
/// The same beside the realm.
const INVALID_TOKEN_PARAMETERS: &str = ", error=\"invalid_token\"";

/// How long a new catalogue waits for the addresses of new upstreams.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// What the gateway is made of.
pub struct GatewayDeps {
    /// The pool: its pages and endpoints, and what they work with.
    pub pool: Arc<AppState>,
    /// The pool's router.
    pub router: axum::Router,
    /// Makes assertions.
    pub minter: Minter,
    /// Seals the app hosts' login attempts.
    pub attempts: LoginAttempts,
    /// The identities of users.
    pub identities: Arc<IdentityDirectory>,
    /// Who is not signed in.
    pub guests: GuestAuthenticator,
    /// Who comes with tokens.
    pub bearers: BearerAuthenticator,
}

/// The gateway, whichever listener a request came by.
pub struct Gateway {
    pub(in crate::gateway) pool: Arc<AppState>,
    pub(in crate::gateway) router: axum::Router,
    pub(in crate::gateway) attempts: LoginAttempts,
    pub(in crate::gateway) minter: Minter,
    pub(in crate::gateway) identities: Arc<IdentityDirectory>,
    pub(in crate::gateway) guests: GuestAuthenticator,
    pub(in crate::gateway) bearers: BearerAuthenticator,
    /// The connections that are open.
    pub(in crate::gateway) admission: Arc<ConnectionLimiter>,
    /// The requests that are in progress at upstreams.
    pub(in crate::gateway) request_limiter: Arc<RequestLimiter>,
    /// Requests that go on for long.
    pub(in crate::gateway) streams: Arc<LongLivedRequests>,
    /// The access log, where there is one.
    pub(in crate::gateway) access_log: ArcSwapOption<AccessLog>,
    route_table: ArcSwap<RouteTable>,
    node: u64,
    requests: AtomicU64,
}

impl Gateway {
    /// A gateway that serves what the pool's catalogue says.
    pub fn new(parts: GatewayDeps) -> Self {
        let GatewayDeps { pool, router, minter, attempts, identities, guests, bearers } = parts;
        let route_table = ArcSwap::from_pointee(RouteTable::build(pool.catalogue.load(), None));
        let mut node = [0; 8];
        pool.entropy.fill(&mut node);
        Self {
            pool,
            router,
            attempts,
            minter,
            identities,
            guests,
            bearers,
            admission: Arc::default(),
            request_limiter: Arc::new(RequestLimiter::new()),
            streams: Arc::default(),
            access_log: ArcSwapOption::empty(),
            route_table,
            node: u64::from_be_bytes(node),
            requests: AtomicU64::new(0),
        }
    }

    /// Takes over the catalogue that counts now, once its upstreams have addresses.
    pub async fn apply(&self) {
        let catalogue = self.pool.catalogue.load();
        self.bearers.apply(&self.pool.catalogue);
        let table = RouteTable::build(catalogue, Some(&self.route_table.load()));
        // Side by side and not for long: one name that is not found must not hold up what else has changed.
        let without = table.clusters().filter(|group| group.count() == 0);
        let look_ups = futures_util::future::join_all(without.map(|group| group.resolve()));
        if tokio::time::timeout(LOOKUP_TIMEOUT, look_ups).await.is_err() {
            tracing::warn!("some upstreams' names are still being looked up");
        }
        self.route_table.store(Arc::new(table));
    }

    /// Opens the access log that `settings` describe, unless it is open.
    ///
    /// # Errors
    /// Where its file cannot be written.
    pub fn open_access_log(&self, settings: &AccessLogSettings) -> std::io::Result<Option<Arc<AccessLog>>> {
        match &*self.access_log.load() {
            Some(log) if log.settings == *settings => Ok(Some(log.clone())),
            _ => Ok(AccessLog::open(settings)?.map(Arc::new)),
        }
    }

    /// Writes to this access log from now on, in the place of the one before.
    pub fn install_access_log(&self, log: Option<Arc<AccessLog>>) {
        self.access_log.store(log);
    }

    /// Waits until the access log is written.
    pub async fn close_access_log(&self) {
        if let Some(log) = self.access_log.load_full() {
            log.close().await;
        }
    }

    /// Whether anybody wants to know of each request.
    pub(in crate::gateway) fn records_requests(&self) -> bool {
        self.access_log.load().is_some()
            || tracing::enabled!(target: "narthex::request", tracing::Level::DEBUG)
    }

    /// Records a request that was cut from outside of the proxy: its stream outlived its session, or its response did not
    /// begin in time.
    pub(in crate::gateway) fn record_cut(
        &self,
        record: Option<Box<AccessRecord>>,
        begun: Option<MonotonicTime>,
        route: Option<Arc<RouteEntry>>,
    ) {
        let Some(begun) = begun else { return };
        let duration = self.pool.clock.monotonic().since(begun);
        if let (Some(entry), Some(record)) = (&route, &record) {
            // Without a record the method is not known any more; such requests are few.
            let method = Method::from_bytes(record.method.as_bytes()).unwrap_or_default();
            entry.metrics.observe(&method, record.status, duration);
        }
        if let Some(mut record) = record {
            record.duration = duration;
            self.record(record, Some(&"it was cut"));
        }
    }

    /// Writes a record to the access log and, where that is wanted, to the log.
    pub(in crate::gateway) fn record(
        &self,
        record: Box<AccessRecord>,
        error: Option<&dyn std::fmt::Display>,
    ) {
        tracing::debug!(
            target: "narthex::request",
            request_id = record.request_id,
            client = record.client.map(tracing::field::display),
            method = printable(&record.method),
            host = printable(&record.host),
            path = printable(record.path(false)),
            route = record.route,
            user = record.user,
            sub = record.sub,
            upstream = record.upstream.map(tracing::field::display),
            status = record.status,
            bytes = record.bytes,
            duration_ms = u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX),
            error = error.map(tracing::field::display),
        );
        if let Some(log) = &*self.access_log.load() {
            log.add(record);
        }
    }

    /// The routes with their upstreams.
    pub fn route_table(&self) -> Arc<RouteTable> {
        self.route_table.load_full()
    }

    /// A request's id: random for the process, counted within it. It is no secret.
    pub(in crate::gateway) fn request_id(&self) -> String {
        let count = self.requests.fetch_add(1, Ordering::Relaxed);
        let id = self.node.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // By hand, since the formatter is the dearest step of most requests.
        id.to_be_bytes().iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex_digit).collect()
    }

    /// Fetches again what verifies bearer tokens, where it is old; our own keys may have turned.
    pub async fn refresh_issuers(&self) {
        self.bearers.apply(&self.pool.catalogue);
        self.bearers.refresh().await;
    }

    /// Has everything that was judged by the wall clock judged again: that has jumped.
    pub fn distrust_caches(&self) {
        self.pool.sessions.distrust_cache();
        self.pool.access_tokens.revocations.distrust_cache();
        self.pool.broker.distrust_cache();
        self.bearers.distrust_cache();
        self.guests.distrust_cache();
    }

    /// Forgets tokens that nobody brought for long, and sessions that memory has no room for; takes long where there are
    /// many of them.
    pub fn evict(&self) {
        self.bearers.evict_idle();
        self.pool.sessions.evict_dropped();
    }

    /// Authenticates the request by a bearer token, if the route accepts them, or by a session's cookie.
    ///
    /// # Errors
    /// A 401 where the token is not believed, a 403 where it lacks a scope; a 400 for both at once. RFC 6750, section 2:
    /// "Clients MUST NOT use more than one method to transmit the token in each request."
    pub(in crate::gateway) async fn authenticate(
        &self,
        session: &Session,
        incoming: &RequestInfo,
        route: &Route,
    ) -> Result<Option<Principal>, LocalResponse> {
        let refuse = |failure: ErrorResponse, why: &str| {
            incoming.audit_refusal(why);
            LocalResponse::from(failure.into_response(&incoming.response_context(session)))
        };
        let token = match route.config.bearer {
            true => request::bearer(session, route.config.basic_password)
                .map_err(|why| refuse(ErrorResponse::bad_request(), why))?,
            false => None,
        };
        let Some(token) = token else {
            return Ok(self.session_principal(session, incoming).await?.map(Principal::SignedIn));
        };
        if cookie_value(request::cookies(session), APP_COOKIE).is_some() {
            return Err(refuse(
                ErrorResponse::bad_request(),
                "a bearer token and a session's cookie come together",
            ));
        }
        let challenge = |scopes: &[String]| {
            format!("Bearer realm=\"narthex\", error=\"insufficient_scope\", scope=\"{}\"", scopes.join(" "))
        };
        let bearer = self.bearers.authenticate(&token, incoming.client, incoming.received).await.map_err(
            |refused| {
                let failure = match &refused {
                    // RFC 6750, section 3.1: it "requires higher privileges than provided".
                    TokenError::Scope(scope) => ErrorResponse::insufficient_scope()
                        .with_challenge(&challenge(std::slice::from_ref(scope))),
                    TokenError::NoKeys
                    | TokenError::IntrospectionUnavailable(_)
                    | TokenError::RevocationUnknown => ErrorResponse::unavailable(),
                    _ => {
                        let challenge = request::challenge(
                            session,
                            route.config.basic_password,
                            INVALID_TOKEN_PARAMETERS,
                        );
                        ErrorResponse::invalid_token().with_challenge(&challenge)
                    }
                };
                refuse(failure, &format!("the bearer token: {refused}"))
            },
        )?;
        if let Some(scope) = missing_scope(&bearer, route) {
            let failure =
                ErrorResponse::insufficient_scope().with_challenge(&challenge(&route.config.scopes));
            return Err(refuse(
                failure,
                &format!("the bearer token: {}", TokenError::Scope(scope.to_owned())),
            ));
        }
        Ok(Some(Principal::Bearer(bearer)))
    }

    /// Whose session the request comes with.
    pub(in crate::gateway) async fn session_principal(
        &self,
        session: &Session,
        incoming: &RequestInfo,
    ) -> Result<Option<SessionPrincipal>, LocalResponse> {
        let Some(cookie) = cookie_value(request::cookies(session), APP_COOKIE) else { return Ok(None) };
        self.pool
            .sessions
            .authenticate(cookie, scope_of(incoming), incoming.received)
            .await
            .map_err(|error| unavailable(&incoming.response_context(session), &error))
    }

    /// The guest of the request, and the cookie of a new guest.
    pub(in crate::gateway) async fn guest(
        &self,
        session: &Session,
        incoming: &RequestInfo,
        catalogue: &Catalogue,
        pool: &IdentityPool,
    ) -> Result<(Principal, Option<String>), LocalResponse> {
        let (host, region) = (&incoming.host, &catalogue.config.region);
        if let Some(cookie) = cookie_value(request::cookies(session), GUEST_COOKIE) {
            let guest = self.guests.authenticate(cookie, host, pool, region).await;
            let guest = guest.map_err(|error| unavailable(&incoming.response_context(session), &error))?;
            if let Some(guest) = guest {
                return Ok((Principal::Guest(guest), None));
            }
        }
        let (guest, cookie) = self.guests.create(host, catalogue.same_site(host), pool, region);
        Ok((Principal::Guest(guest), Some(cookie)))
    }
}

fn hex_digit(nibble: u8) -> char {
    char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 })
}

/// A scope that the route asks for, and the token lacks.
pub(in crate::gateway) fn missing_scope<'r>(bearer: &BearerPrincipal, route: &'r Route) -> Option<&'r str> {
    let scopes = bearer.scopes();
    route.config.scopes.iter().find(|scope| !scopes.contains(scope)).map(String::as_str)
}

/// The store is needed, and does not do its part.
pub(in crate::gateway) fn unavailable(visitor: &ResponseContext, error: &StoreError) -> LocalResponse {
    tracing::error!(request_id = visitor.request_id, %error, "the store did not do its part");
    ErrorResponse::unavailable().into_response(visitor).into()
}

/// Where the session cookies of this request's host count.
pub(in crate::gateway) fn scope_of(incoming: &RequestInfo) -> CookieScope<&str> {
    CookieScope::App(incoming.host.as_str())
}
