//! Narthex: the entrance hall of your web apps. It terminates TLS, signs people in, decides what they
//! may reach, and hands each app a request that carries a verified, signed identity.
//!
//! # The house
//!
//! One package, in rooms, bottom to top. A room uses only rooms earlier in this list, and
//! `tests/layers.rs` fails on one that does otherwise.
//!
//! | Room | What it is for |
//! |---|---|
//! | [`base`] | clock, entropy, ids, secrets and their sealing |
//! | [`config`] | the TOML file, read into checked plain data |
//! | [`jose`] | signing keys, what they sign, and their public forms |
//! | [`policy`] | judges requests; the only maker of a [`policy::Permit`] |
//! | [`model`] | user, session, grant: plain state |
//! | [`store`] | one store over SQL, on SQLite and PostgreSQL |
//! | [`catalogue`] | the file and the store joined into one immutable snapshot |
//! | [`token`] | authorization codes; the signing keys' lives |
//! | [`directory`] | what a user pool does with its users and sessions |
//! | [`provider`] | outside identity providers behind one trait |
//! | [`broker`] | one login across provider, mapping and directory |
//! | [`identity`] | identity pools: which role a person or a guest is given, and what policies may ask |
//! | [`access`] | from a cookie to a principal, from a permit to an assertion |
//! | [`hosted`] | the pages people see |
//! | [`oauth`] | the pool's protocol face: authorize, callbacks, logout, key sets |
//! | [`gateway`] | listeners, TLS, routes, the conductor, upstreams, the bridge to the pages |
//! | [`load`] | the load tester |
//! | `fuzzing` | fuzz targets, in builds for tests and with the feature `fuzzing` |
//! | [`app`] | the program: commands, assembly, reload, housekeeping, the demo |
//!
//! # A request, walked
//!
//! `gateway::serve` accepts a connection, finds it a place among those that there may be
//! (`Admission`), shakes hands with the certificate that `gateway::TlsStore` chooses, and gives it to
//! pingora. For each request pingora calls `Door::request_filter`, which is `Door::conduct`
//! (`src/gateway/proxy.rs`), the one function that holds the whole way:
//!
//! 1. `Incoming::read` reads the head once: framing, sizes, host, client, who looks at the answer.
//! 2. `judge::place` decodes the path as it is judged and says what it is for: the pool's pages
//!    (`bridge::to_pool`), an address of our own (`app_host::answer`), or a route.
//! 3. `judge::pass`: [`access::Sessions::principal`] finds who it speaks for, from memory or by one read
//!    of the store, and has the provider asked again where its word is about to end; where policies
//!    decide, whoever has no session is a guest, and [`access::Principal::assume`] gives either a role;
//!    [`policy::evaluate`] answers a permit, or a denial that becomes a redirect, a 401 or a 403;
//!    [`access::Minter::mint`] takes the permit and makes the assertion, or finds the one it made.
//!
//! Another proxy that asks about somebody else's request (`forward_auth`) goes through the same two
//! steps, with what it says of that request in the place of its own.
//!
//! Then pingora asks for a peer, which `Group::next` gives only for a permit, and before the request
//! leaves, `headers::strip_request` takes out what the client said of itself and `headers::set_request`
//! says what is true. What stops a request on its way is a `Stop`: the answer that it gets.
//!
//! A request that may go on for long is watched over by `Streams`, which judges it again each second;
//! `Outer` ends it from outside of pingora, which looks at a request only when bytes move.
//!
//! # A login, walked
//!
//! A request without a session at an app host: `app_host::sign_in` seals where it wanted to go into a
//! cookie and answers 303 to `oauth::authorize`, as any app client's browser would be sent. That finds
//! no session either, shows the providers or picks the only one, and [`broker::Broker::begin`] seals
//! the login into a cookie and asks [`provider::Provider::begin`] where to send the browser. It comes
//! back to `oauth::callback`: [`broker::Broker::finish`] opens the attempt, has
//! [`provider::Provider::finish`] judge the response, maps the claims, asks `allow`, and in one
//! transaction uses the attempt up, creates or updates the user ([`directory::upsert`]) and begins the
//! session ([`directory::begin_session`]). `authorize::grant` issues a code; the app host's callback
//! redeems it in process ([`token::redeem`]) and sets its own cookie.
//!
//! Until the provider has vouched for somebody, nothing of this is written anywhere but in the
//! browser's cookies.

pub mod app;
pub mod authn;
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
pub mod model;
pub mod pages;
pub mod policy;
pub mod provider;
pub mod store;
pub mod token;
