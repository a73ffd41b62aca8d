//! Authorization codes, access tokens, refresh tokens, and the rotation of signing keys. Also the
//! verification of access tokens from other issuers.

mod access_claims;
mod access_tokens;
mod bearer;
mod codes;
mod dpop;
mod keys;
mod kind;
mod logout_tokens;
mod overrides;
mod pool_keys;
mod refresh_tokens;
mod revocations;
mod spiffe;
mod user_tokens;

pub use access_claims::{AccessClaims, AccessTokenError, client_of_access_token, verify_access_token};
pub use access_tokens::{
    AccessTokens, IssueError, ProgramToken, Revocable, client_origin, issue_to_program, revocable,
};
pub use bearer::{
    AccessToken, SKEW, TokenError, is_user_token, names, scopes, subject, verify, verify_introspected,
};
pub use codes::{CodeError, Grant, RedeemedCode, challenge, issue, redeem};
pub use dpop::{PROOF_RETENTION, Proof, ProofError, ProofRequest, bound_key, is_thumbprint, verify_proof};
pub use keys::{KEY_SET_CACHE, KeyChain, KeyChainError, KeySet};
pub use logout_tokens::{LogoutToken, issue_logout_token};
pub use overrides::{ClaimOverrides, GroupOverrides, TokenOverrides};
pub use pool_keys::{PoolKeys, TokenUse};
pub use refresh_tokens::{NewFamily, RefreshError, RefreshTokens, Refreshed};
pub use revocations::{RevocationError, Revocations};
pub use user_tokens::{
    TokenGrant, TokenSubject, UserTokenKeys, UserTokens, attribute_claim, group_names, is_released,
    issue_user_tokens, preferred_role, roles,
};
