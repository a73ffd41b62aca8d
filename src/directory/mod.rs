//! What a user pool does with its users. The pages, OAuth and the wire API all call these functions;
//! none of them holds a rule of its own.

mod federated;
mod linking;
mod sessions;

pub use federated::{FederatedAccount, new_user, upsert};
pub use linking::{LinkError, link, unlink};
pub use sessions::{Authentication, Browser, begin_session};
