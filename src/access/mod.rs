//! From a request's credentials to a [`Principal`], and from a principal and a
//! [`Permit`](crate::policy::Permit) to the assertion that the upstream gets. The warm path reads
//! no database.

mod assertion;
mod bearers;
mod claims;
mod cookie;
mod doorkeeper;
mod guests;
mod in_progress;
mod index;
mod kept;
mod metrics;
mod principal;
mod recent;
mod renewals;
mod sessions;
mod throttle;

pub use assertion::{Assertion, MintError, Minter};
pub use bearers::{BearerAuthenticator, BearerPrincipal};
pub use claims::{methods, user_from_claims};
pub use cookie::{
    APP_COOKIE, GUEST_COOKIE, LOGIN_COOKIE, POOL_COOKIE, PROVIDER_COOKIE, clear_cookie_value, cookie_value,
    login_cookies, set_cookie_value, set_cookie_value_same_site, sets_own_cookie, without_own_cookies,
};
pub use guests::{Guest, GuestAuthenticator};
pub use in_progress::{ConcurrencyLimiter, ConcurrencyPermit};
pub use principal::Principal;
pub use renewals::Renewals;
pub use sessions::{SessionAuthenticator, SessionPrincipal, cookie_text};
pub use throttle::{RateLimiter, rate_limit_key};
