//! What the pool issues and redeems: authorization codes, access tokens, and the signing keys with
//! their lives; and whose access tokens are believed.

mod access_tokens;
mod bearer;
mod codes;
mod keys;
mod kind;
mod revocations;
mod spiffe;

pub use access_tokens::{AccessTokens, IssueError, Revocable};
pub use bearer::{AccessToken, SKEW, TokenError, names, scopes, subject, verify, verify_introspected};
pub use codes::{CodeError, Grant, challenge, issue, redeem};
pub use keys::{KEY_SET_CACHE, KeyChain, KeyChainError, KeySet};
pub use revocations::{RevocationError, Revocations};
