//! Authentication: the [`Principal`] of a request's credentials, and the assertion that the
//! upstream receives for a principal with a [`Permit`](crate::policy::Permit). Cached credentials
//! require no database read.

mod assertion;
mod bearers;
mod claims;
mod client_keys;
mod concurrency;
mod cookie;
mod doorkeeper;
mod front_cache;
mod guests;
mod index;
mod metrics;
mod opaque;
mod principal;
mod principal_cache;
mod proof_replays;
mod rate_limit;
mod renewals;
mod sessions;

pub use assertion::{Assertion, MintError, Minter};
pub use bearers::{BearerAuthenticator, BearerPrincipal};
pub use claims::{methods, user_from_claims};
pub use client_keys::ClientKeys;
pub use concurrency::{ConcurrencyLimiter, ConcurrencyPermit};
pub use cookie::{
    APP_COOKIE, GUEST_COOKIE, LOGIN_COOKIE, POOL_COOKIE, PROVIDER_COOKIE, clear_cookie_value, cookie_value,
    login_cookies, set_cookie_value, set_cookie_value_same_site, sets_own_cookie, without_own_cookies,
};
pub use guests::{Guest, GuestAuthenticator};
pub use principal::Principal;
pub use rate_limit::{RateLimiter, rate_limit_key};
pub use renewals::Renewals;
pub use sessions::{SessionAuthenticator, SessionPrincipal, cookie_text};
