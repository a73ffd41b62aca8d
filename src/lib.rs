//! Narthex is an authenticating reverse proxy and identity broker. It terminates TLS, signs users
//! in, authorizes each request, and adds a signed identity assertion to the requests that it
//! forwards.
//!
//! # Layers
//!
//! The crate is divided into modules, listed here from bottom to top. A module uses only modules
//! above it in this table; `tests/layers.rs` enforces that.
//!
//! | Module | Contents |
//! |---|---|
//! | [`base`] | clock, random numbers, ids, secrets and their encryption |
//! | [`config`] | the TOML file, parsed into checked plain data |
//! | [`jose`] | signing keys, JWS, JWK Sets |
//! | [`policy`] | policy evaluation; the only constructor of [`policy::Permit`] |
//! | [`model`] | users, sessions, grants |
//! | [`store`] | the database: SQLite or PostgreSQL |
//! | [`catalogue`] | immutable snapshots of configuration and stored ids |
//! | [`token`] | authorization codes, access tokens, signing key rotation |
//! | [`message`] | e-mail and text messages: texts, limits, the outbox and its delivery |
//! | [`trigger`] | functions that are called at events of user pools: events, delivery, answers |
//! | [`directory`] | user pools, app clients, users: names, groups, passwords, sign-in; sessions |
//! | [`provider`] | external identity providers behind one trait |
//! | [`broker`] | logins through a provider: attempts, attribute mapping, renewal |
//! | [`identity`] | identity pools: identities, roles, principal tags |
//! | [`authn`] | authentication of requests by cookie or token; identity assertions |
//! | [`pages`] | HTML pages and error responses |
//! | [`handlers`] | endpoints of the user pool: authorization, callback, logout, tokens, keys |
//! | [`aws`] | the Cognito API: protocol, signatures, operations |
//! | [`gateway`] | listeners, TLS, routing, request authorization, proxying |
//! | [`load`] | the load generator |
//! | `fuzzing` | fuzz targets, in test builds and with the feature `fuzzing` |
//! | [`app`] | the program: commands, startup, reload, housekeeping, the demo |
//!
//! # Path of a request
//!
//! `gateway::listener` accepts a connection within the limits of `ConnectionLimiter`, completes the
//! TLS handshake, checks the framing of each HTTP/1.1 message, and passes the connection to
//! pingora. For each request pingora calls `GatewayProxy::request_filter`, which calls
//! `GatewayProxy::handle_request` (`src/gateway/proxy.rs`):
//!
//! 1. `RequestInfo::read` parses the request head: host, client address, kind of client.
//! 2. `route_request::match_route` normalizes the path and selects the target: a page of the user
//!    pool (`dispatch_to_user_pool`), a built-in address of an app host (`app_host::answer`), or a
//!    route.
//! 3. `route_request::authorize` authenticates the session cookie or the bearer token, from memory
//!    or by one read of the database. On routes with policies, [`authn::Principal::assume`] selects
//!    a role; a request without a session is a guest's. [`policy::evaluate`] returns a
//!    [`policy::Permit`] or a denial, which becomes a redirect, a 401 or a 403.
//!    [`authn::Minter::mint`] takes the permit and returns a signed assertion, new or cached.
//! 4. `UpstreamCluster::next` selects an endpoint; it requires the permit. `headers::strip_request`
//!    removes reserved headers from the request, and `headers::set_request` adds the verified
//!    identity.
//!
//! A `LocalResponse` ends any of these steps: Narthex generates the response instead of the
//! upstream. A forward-auth request from another proxy is processed by steps 2 and 3 with the
//! forwarded method, host and path.
//!
//! `LongLivedRequests` authorizes open streams again each second. `RequestTimeouts` cancels
//! requests from outside of pingora, whose filters run only on I/O.
//!
//! # Path of a login
//!
//! 1. A request to an app host has no session: `sign_in::sign_in` stores the requested address in
//!    an encrypted cookie and redirects to the authorization endpoint, as any app client would.
//! 2. `handlers::authorize` finds no session of the user pool. It shows the providers, or selects
//!    the only one. [`broker::Broker::begin`] stores the login attempt in an encrypted cookie and
//!    obtains the provider's URL from [`provider::Provider::begin`].
//! 3. The browser returns to `handlers::callback`. [`broker::Broker::finish`] decrypts the attempt,
//!    [`provider::Provider::finish`] validates the provider's response, and the broker maps its
//!    claims and applies the provider's `allow` list.
//! 4. One transaction marks the attempt as used, creates or updates the user
//!    ([`directory::upsert`]), and creates the session ([`directory::begin_session`]).
//! 5. `handlers::authorize` issues a code. The app host's callback redeems it in process
//!    ([`token::redeem`]) and sets the app host's session cookie.
//!
//! Until step 4 the state of a login exists only in cookies, so anonymous clients cannot fill the
//! database.

pub mod app;
pub mod authn;
pub mod aws;
pub mod base;
pub mod broker;
pub mod catalogue;
pub mod config;
pub mod directory;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod gateway;
pub mod handlers;
pub mod identity;
pub mod jose;
pub mod load;
pub mod message;
pub mod model;
pub mod pages;
pub mod policy;
pub mod provider;
pub mod store;
pub mod token;
pub mod trigger;
