//! The gateway: the state that all requests share, whichever listener received them.

use crate::authn::{BearerAuthenticator, GuestAuthenticator, Minter};
use crate::base::{Duration, MonotonicTime};
use crate::broker::LoginAttempts;
use crate::config::AccessLogSettings;
use crate::gateway::access_log::{AccessLog, AccessRecord, printable};
use crate::gateway::connection::limits::ConnectionLimiter;
use crate::gateway::connection::request_limits::RequestLimiter;
use crate::gateway::state::long_lived::LongLivedRequests;
use crate::gateway::state::routes::{RouteEntry, RouteTable};
use crate::gateway::state::user_pools::user_pool_issuers;
use crate::handlers::AppState;
use crate::identity::IdentityDirectory;
use arc_swap::{ArcSwap, ArcSwapOption};
use http::Method;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The maximum time for which a new catalogue waits for the addresses of new upstreams.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// The dependencies of the gateway.
pub struct GatewayDeps {
    /// The user pool: the state of its pages and endpoints.
    pub pool: Arc<AppState>,
    /// The pool's router.
    pub router: axum::Router,
    /// The issuer of assertions.
    pub minter: Minter,
    /// The seal of the app hosts' login attempts.
    pub attempts: LoginAttempts,
    /// The identities of users.
    pub identities: Arc<IdentityDirectory>,
    /// The authenticator of guests.
    pub guests: GuestAuthenticator,
    /// The authenticator of bearer tokens.
    pub bearers: BearerAuthenticator,
}

/// The gateway, which all listeners share.
pub struct Gateway {
    pub(in crate::gateway) pool: Arc<AppState>,
    pub(in crate::gateway) router: axum::Router,
    pub(in crate::gateway) attempts: LoginAttempts,
    pub(in crate::gateway) minter: Minter,
    pub(in crate::gateway) identities: Arc<IdentityDirectory>,
    pub(in crate::gateway) guests: GuestAuthenticator,
    pub(in crate::gateway) bearers: BearerAuthenticator,
    /// The limiter of open connections.
    pub(in crate::gateway) admission: Arc<ConnectionLimiter>,
    /// The limiter of requests in progress at upstreams.
    pub(in crate::gateway) request_limiter: Arc<RequestLimiter>,
    /// The long-lived requests.
    pub(in crate::gateway) streams: Arc<LongLivedRequests>,
    /// The access log, if it is enabled.
    pub(in crate::gateway) access_log: ArcSwapOption<AccessLog>,
    route_table: ArcSwap<RouteTable>,
    node: u64,
    requests: AtomicU64,
}

impl Gateway {
    /// Creates a gateway that serves the catalogue of the user pool.
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

    /// Applies the current catalogue after its upstreams have addresses, or after `LOOKUP_TIMEOUT`.
    pub async fn apply(&self) {
        let catalogue = self.pool.catalogue.load();
        self.apply_issuers().await;
        let table = RouteTable::build(catalogue, Some(&self.route_table.load()));
        // Names are resolved concurrently and with a timeout. A name that cannot be resolved must
        // not delay other changes.
        let without = table.clusters().filter(|group| group.count() == 0);
        let look_ups = futures_util::future::join_all(without.map(|group| group.resolve()));
        if tokio::time::timeout(LOOKUP_TIMEOUT, look_ups).await.is_err() {
            tracing::warn!("some upstreams' names are still being looked up");
        }
        self.route_table.store(Arc::new(table));
    }

    /// Opens the access log of `settings`, unless it is already open.
    ///
    /// # Errors
    /// Its file cannot be written.
    pub fn open_access_log(&self, settings: &AccessLogSettings) -> std::io::Result<Option<Arc<AccessLog>>> {
        match &*self.access_log.load() {
            Some(log) if log.settings == *settings => Ok(Some(log.clone())),
            _ => Ok(AccessLog::open(settings)?.map(Arc::new)),
        }
    }

    /// Replaces the access log.
    pub fn install_access_log(&self, log: Option<Arc<AccessLog>>) {
        self.access_log.store(log);
    }

    /// Waits until all records of the access log are written, within its timeout.
    pub async fn close_access_log(&self) {
        if let Some(log) = self.access_log.load_full() {
            log.close().await;
        }
    }

    /// Returns whether requests are recorded in the access log, or in the log at debug level.
    pub(in crate::gateway) fn records_requests(&self) -> bool {
        self.access_log.load().is_some()
            || tracing::enabled!(target: "narthex::request", tracing::Level::DEBUG)
    }

    /// Records a request that was ended outside of pingora's proxy: its stream outlived its
    /// session, or its upstream was silent for too long.
    pub(in crate::gateway) fn record_cut(
        &self,
        record: Option<Box<AccessRecord>>,
        begun: Option<MonotonicTime>,
        route: Option<Arc<RouteEntry>>,
    ) {
        let Some(begun) = begun else { return };
        let duration = self.pool.clock.monotonic().since(begun);
        if let (Some(entry), Some(record)) = (&route, &record) {
            // Without a record the method is unknown, so the request is missing from the route's
            // metrics; such requests are few.
            let method = Method::from_bytes(record.method.as_bytes()).unwrap_or_default();
            entry.metrics.observe(&method, record.status, duration);
        }
        if let Some(mut record) = record {
            record.duration = duration;
            self.record(record, Some(&"it was cut"));
        }
    }

    /// Writes a record to the access log and, at debug level, to the log.
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

    /// Returns the routes with their upstreams.
    pub fn route_table(&self) -> Arc<RouteTable> {
        self.route_table.load_full()
    }

    /// Returns a new request id: a random number of the process, combined with a counter. It is not
    /// secret.
    pub(in crate::gateway) fn request_id(&self) -> String {
        let count = self.requests.fetch_add(1, Ordering::Relaxed);
        let id = self.node.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // The id is formatted by hand, because the formatter is the most expensive step of most
        // requests.
        id.to_be_bytes().iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex_digit).collect()
    }

    /// Refreshes old verification keys of bearer tokens, and applies the current catalogue, because
    /// Narthex's own keys may have been rotated.
    pub async fn refresh_issuers(&self) {
        self.apply_issuers().await;
        self.bearers.refresh().await;
    }

    /// Applies the issuers of bearer tokens, with the user pools that routes name.
    pub async fn apply_issuers(&self) {
        let pools = user_pool_issuers(&self.pool, &self.pool.catalogue.load()).await;
        self.bearers.apply(&self.pool.catalogue, &pools);
    }

    /// Invalidates all cached decisions that depend on the wall clock, after the clock has jumped.
    pub fn distrust_caches(&self) {
        self.pool.sessions.distrust_cache();
        self.pool.access_tokens.revocations.distrust_cache();
        self.pool.broker.distrust_cache();
        self.bearers.distrust_cache();
        self.guests.distrust_cache();
    }

    /// Evicts tokens that were unused for long, and sessions beyond the cache's capacity. This
    /// takes long if there are many of them.
    pub fn evict(&self) {
        self.bearers.evict_idle();
        self.pool.sessions.evict_dropped();
    }
}

fn hex_digit(nibble: u8) -> char {
    char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 })
}
