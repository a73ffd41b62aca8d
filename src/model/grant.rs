//! Authorization requests and codes.

use super::AcrLevel;
use crate::base::{Duration, Timestamp};
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

/// What a client gets as the response to an authorization request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResponseType {
    /// A code (RFC 6749, section 4.1).
    #[default]
    Code,
    /// Tokens (section 4.2), without a refresh token.
    Token,
}

impl ResponseType {
    /// Returns the value of `response_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Token => "token",
        }
    }

    /// Returns the name of the grant in `AllowedOAuthFlows`.
    pub fn flow(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Token => "implicit",
        }
    }

    /// Returns the value of `response_mode` (OAuth 2.0 Multiple Response Type Encoding Practices,
    /// section 2.1).
    pub fn mode(self) -> &'static str {
        match self {
            Self::Code => "query",
            Self::Token => "fragment",
        }
    }

    fn is_code(&self) -> bool {
        *self == Self::Code
    }
}

/// A validated authorization request (RFC 6749, section 4.1.1): the client is known, the redirect
/// URI is the client's, and a public client has sent a challenge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    /// The app client's id.
    pub client_id: String,
    /// What the client gets.
    #[serde(default, skip_serializing_if = "ResponseType::is_code")]
    pub response_type: ResponseType,
    /// The redirect URI to which the response is sent.
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
    /// The `request_uri` of a pushed request (RFC 9126, section 2.2); empty if the browser brought
    /// the parameters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_uri: String,
    /// The user code of a device (RFC 8628); empty for a request that ends in a code.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user_code: String,
    /// Whether the user is asked for consent again (`prompt=consent`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asks_consent: bool,
    /// The thumbprint of the key to which the code is bound (RFC 9449, section 10); empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dpop_jkt: String,
    /// The levels of authentication of which the client needs one, in its order of preference;
    /// empty for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<AcrLevel>,
    /// The greatest age of the second factor, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor_age: Option<u64>,
}

/// An authorization request that the client sent to the server itself (RFC 9126).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedRequest {
    /// SHA-256 of the random part of the `request_uri`.
    pub hash: [u8; 32],
    /// The app client that sent it.
    pub client_id: String,
    /// The parameters, form-encoded.
    pub parameters: String,
    /// When it was sent.
    pub created_at: Timestamp,
    /// Whether a browser has opened it.
    pub is_started: bool,
    /// Whether a code was issued for it.
    pub is_used: bool,
    /// The end of the sign-in that it began.
    pub expires_at: Timestamp,
}

/// What has become of the request of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// The user has not decided.
    Waiting = 0,
    /// The user has allowed it.
    Allowed = 1,
    /// The user has denied it.
    Denied = 2,
    /// Its tokens were issued.
    Used = 3,
}

/// A request of a device without a browser (RFC 8628, section 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRequest {
    /// SHA-256 of the device code.
    pub hash: [u8; 32],
    /// SHA-256 of the user code, without the hyphen.
    pub user_code: [u8; 32],
    /// The app client.
    pub client_id: String,
    /// The granted scopes, separated by spaces.
    pub scope: String,
    /// What has become of it.
    pub state: DeviceState,
    /// The session in which the user decided; empty before that.
    pub session_id: String,
    /// When the device asked for its tokens last.
    pub polled_at: Timestamp,
    /// The interval at which the device may ask.
    pub poll_interval: Duration,
    /// When the codes expire.
    pub expires_at: Timestamp,
}

/// The scopes that a user has granted to an app client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// The app client.
    pub client_id: String,
    /// The scopes, separated by spaces.
    pub scope: String,
    /// When the user decided.
    pub granted_at: Timestamp,
}
