//! Authorization requests and codes.

use crate::base::Timestamp;
use serde::{Deserialize, Serialize};

/// A stored authorization code (RFC 6749, section 4.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationCode {
    /// SHA-256 of the code.
    pub hash: [u8; 32],
    /// The app client to which the code was issued.
    pub client_id: String,
    /// The redirect URI to which the code was sent.
    pub redirect_uri: String,
    /// The PKCE challenge, S256 (RFC 7636, section 4.2).
    pub code_challenge: String,
    /// The session for which the code was issued.
    pub session_id: String,
    /// When the code expires.
    pub expires_at: Timestamp,
    /// When the code was redeemed.
    pub used_at: Option<Timestamp>,
}

/// A validated authorization request (RFC 6749, section 4.1.1): the client is known, the redirect
/// URI is the client's, and there is a challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    /// The app client's id.
    pub client_id: String,
    /// The redirect URI to which the code is sent.
    pub redirect_uri: String,
    /// The client's `state`, which is returned unchanged with the code.
    pub state: String,
    /// The PKCE challenge, S256.
    pub code_challenge: String,
}
