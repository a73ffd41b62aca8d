//! Operations on the users and sessions of a user pool, shared by pages, OAuth endpoints and
//! commands.

mod federated;
mod linking;
mod password;
mod sessions;
pub mod sign_in;
pub mod srp;

pub use federated::{FederatedAccount, new_user, upsert};
pub use linking::{LinkError, link, unlink};
pub use password::{
    Acceptance, Argon2Params, HashError, HashFormatError, Hasher, HasherSettings, Locked, Lockout, MAX_LOCK,
    MAX_PASSWORD_CHARS, MAX_RANGE_BYTES, ParamsError, PasswordHash, PasswordPolicy, PolicyError, RangeError,
    RangeQuery, Verdict, Violation, accept_after_lookup, is_common_password,
};
pub use sessions::{Authentication, Browser, begin_session};
