//! Operations on the users and sessions of a user pool, shared by pages, OAuth endpoints and
//! commands.

mod federated;
mod linking;
mod sessions;
pub mod sign_in;
pub mod srp;

pub use federated::{FederatedAccount, new_user, upsert};
pub use linking::{LinkError, link, unlink};
pub use sessions::{Authentication, Browser, begin_session};
