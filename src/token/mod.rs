//! What the pool issues and redeems: authorization codes, and the signing keys with their lives; and access tokens of
//! others, verified.

mod bearer;
mod codes;
mod keys;

pub use bearer::{AccessToken, Refused, verify};
pub use codes::{CodeError, Grant, challenge, issue, redeem};
pub use keys::{KEY_SET_CACHE, KeyChain, KeyChainError, KeySet};
