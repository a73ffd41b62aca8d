//! Passwords of user pools: policies, common passwords, lockout after wrong ones.

mod common;
mod lockout;
mod policy;

pub use common::is_common_password;
pub use lockout::{Locked, Lockout, MAX_LOCK};
pub use policy::{MAX_PASSWORD_CHARS, PasswordPolicy, PolicyError, Violation};
