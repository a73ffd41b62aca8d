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
    /// The PKCE challenge, S256 (RFC 7636, section 4.2); empty for a confidential client without
    /// one.
    pub code_challenge: String,
    /// The granted scopes, separated by spaces; empty for the gateway's own codes.
    pub scope: String,
    /// The `nonce` of the authorization request; empty if it had none.
    pub nonce: String,
    /// The thumbprint of the key to which the code is bound (RFC 9449, section 10); empty if none.
    pub key: String,
    /// The family of refresh tokens that was issued for the code; empty before that.
    pub family_id: String,
    /// The session for which the code was issued.
    pub session_id: String,
    /// When the code expires.
    pub expires_at: Timestamp,
    /// When the code was redeemed.
    pub used_at: Option<Timestamp>,
}

/// A validated authorization request (RFC 6749, section 4.1.1): the client is known, the redirect
/// URI is the client's, and a public client has sent a challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    /// The app client's id.
    pub client_id: String,
    /// The redirect URI to which the code is sent.
    pub redirect_uri: String,
    /// The client's `state`, which is returned unchanged with the code; empty if it sent none.
    pub state: String,
    /// The PKCE challenge, S256; empty if a confidential client sent none.
    pub code_challenge: String,
    /// The granted scopes, separated by spaces; empty for the gateway's own requests.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// The `nonce` (OpenID Connect Core 1.0, section 3.1.2.1); empty if the client sent none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub nonce: String,
    /// The thumbprint of the key to which the code is bound (RFC 9449, section 10); empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dpop_jkt: String,
}
