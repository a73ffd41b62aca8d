//! Passwords of user pools: policies, hashes, hashes of other systems, and the threads that compute
//! them.
//!
//! Passwords are hashed as the bytes received, in UTF-8, without Unicode normalization. RFC 8265,
//! section 4.2.2, asks for NFC, but SRP clients hash the text as typed and Cognito does the same. A
//! password must give one result in both kinds of sign-in.
//!
//! All work goes through a [`Hasher`], so that hashing never takes the threads of requests. Its
//! threads have a low priority, and it refuses work that could not finish in time.

mod argon;
mod bcrypt;
mod breach_lookup;
mod breached;
mod common;
mod foreign;
mod hash;
mod hasher;
mod lockout;
mod metrics;
mod pbkdf2;
mod policy;
mod queue;
mod scrypt;
mod worker;

pub use argon::{Argon2Params, ParamsError};
pub use breach_lookup::BreachLookup;
pub use breached::Acceptance;
pub use common::is_common_password;
pub use foreign::HashFormatError;
pub use hash::{PasswordHash, Verdict};
pub use hasher::{HashError, Hasher, HasherSettings};
pub use lockout::{Locked, Lockout, MAX_LOCK};
pub use policy::{MAX_PASSWORD_CHARS, Violation};
