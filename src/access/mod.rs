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
pub use bearers::{Bearer, Bearers};
pub use claims::{methods, user_of};
pub use cookie::{
    APP_COOKIE, GUEST_COOKIE, LOGIN_COOKIE, POOL_COOKIE, PROVIDER_COOKIE, clear, find, login_cookies, set,
    set_for, sets_ours, strip,
};
pub use guests::{Guest, Guests};
pub use in_progress::{InProgress, Place};
pub use principal::Principal;
pub use renewals::Renewals;
pub use sessions::{Sessions, SignedIn, cookie_text};
pub use throttle::{Throttle, network};
