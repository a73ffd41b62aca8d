//! What a client was granted.

use crate::base::Timestamp;
use serde::{Deserialize, Serialize};

/// An authorization code (RFC 6749, section 4.1.2) as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationCode {
    /// SHA-256 of the code.
    pub hash: [u8; 32],
    /// The app client that it was issued to.
    pub client_id: String,
    /// The redirect URI that it was sent to.
    pub redirect_uri: String,
    /// The PKCE challenge, S256 (RFC 7636, section 4.2).
    pub code_challenge: String,
    /// The session that it was issued for.
    pub session_id: String,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was redeemed.
    pub used_at: Option<Timestamp>,
}

/// An authorization request (RFC 6749, section 4.1.1) that was found good: the client is known, the
/// redirect URI is the client's, and there is a challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    /// The app client.
    pub client_id: String,
    /// Where to send the code.
    pub redirect_uri: String,
    /// Comes back with the code, untouched.
    pub state: String,
    /// The PKCE challenge, S256.
    pub code_challenge: String,
}
