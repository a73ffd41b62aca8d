//! Parsing of compact JWS (RFC 7515, section 7.1) with JWT claims (RFC 7519), before verification.

use super::algorithm::Algorithm;
use super::json::UniqueKeysObject;
use crate::base::base64url_decode;
use serde_json::{Map, Value};
use thiserror::Error;

/// Maximum length of a token in a header, in bytes: servers commonly accept 8 KB of headers.
pub const MAX_TOKEN_LENGTH: usize = 8 * 1024;
/// Maximum length of an ID token or a signed UserInfo response, in bytes. They are sent in a body,
/// with all groups of the user.
pub const MAX_BODY_TOKEN_LENGTH: usize = 256 * 1024;

/// Maximum number of logged characters of an unknown algorithm's name.
const MAX_SHOWN_ALGORITHM_LENGTH: usize = 20;

/// A parsed compact JWS; nothing in it is verified.
#[derive(Debug)]
pub struct Jws<'t> {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// The key id.
    pub kid: Option<String>,
    /// The type, in lower case.
    pub typ: Option<String>,
    /// The public key that the sender claims (`jwk`). Only a DPoP proof is verified with it.
    pub claimed_key: Option<Value>,
    /// The signing input.
    pub message: &'t [u8],
    /// The signature.
    pub signature: Vec<u8>,
    /// The payload.
    pub payload: Vec<u8>,
}

/// A parsed token; nothing in it is verified.
#[derive(Debug)]
pub struct Unverified<'t> {
    /// The JWS.
    pub jws: Jws<'t>,
    /// The claims, without duplicates.
    pub claims: Map<String, Value>,
}

/// The reason why a token is malformed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Too long.
    #[error("it is too long")]
    TooLong,
    /// Not three parts of base64url, separated by `.`.
    #[error("it is not three base64url parts separated by `.`")]
    Form,
    /// The header is not a JSON object, or has duplicate keys.
    #[error("its header is not a JSON object with unique names")]
    Header,
    /// Unsigned, or signed by this unsupported algorithm.
    #[error(
        "it is signed with the algorithm `{0}`, which is not allowed; help: have the issuer sign with RS256, ES256 or EdDSA"
    )]
    Algorithm(Box<str>),
    /// The header has a critical extension that is not supported (RFC 7515, section 4.1.11; RFC
    /// 7797).
    #[error("its header requires an extension that is not supported")]
    Critical,
    /// The claims are not a JSON object, or have duplicate keys.
    #[error("its claims are not a JSON object with unique names")]
    Claims,
}

impl<'t> Unverified<'t> {
    /// Parses `token`, of at most [`MAX_TOKEN_LENGTH`] bytes.
    ///
    /// # Errors
    /// Returns an error if it is malformed.
    pub fn read(token: &'t str) -> Result<Self, Malformed> {
        Self::read_within(token, MAX_TOKEN_LENGTH)
    }

    /// Parses `token`, of at most `max_length` bytes.
    ///
    /// # Errors
    /// Returns an error if it is malformed.
    pub fn read_within(token: &'t str, max_length: usize) -> Result<Self, Malformed> {
        let jws = Jws::read_within(token, max_length)?;
        let UniqueKeysObject(claims) = serde_json::from_slice(&jws.payload).map_err(|_| Malformed::Claims)?;
        Ok(Self { jws, claims })
    }
}

impl<'t> Jws<'t> {
    /// Parses `text`, of at most [`MAX_TOKEN_LENGTH`] bytes. Key locations in the header (`jku`,
    /// `x5u`, `x5c`) are ignored (RFC 8725, section 3.10).
    ///
    /// # Errors
    /// Returns an error if it is malformed.
    pub fn read(text: &'t str) -> Result<Self, Malformed> {
        Self::read_within(text, MAX_TOKEN_LENGTH)
    }

    fn read_within(text: &'t str, max_length: usize) -> Result<Self, Malformed> {
        if text.len() > max_length {
            return Err(Malformed::TooLong);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(Malformed::Form)?;
        let (header, payload) = message.split_once('.').ok_or(Malformed::Form)?;
        let part = |text: &str| base64url_decode(text).ok_or(Malformed::Form);
        let (header, payload, signature) = (part(header)?, part(payload)?, part(signature)?);
        let UniqueKeysObject(mut header) = serde_json::from_slice(&header).map_err(|_| Malformed::Header)?;
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(Malformed::Critical);
        }
        let claimed_key = header.remove("jwk");
        let mut text = |name: &str| match header.remove(name) {
            Some(Value::String(text)) => Ok(Some(text)),
            // Some issuers use numbers as key ids.
            Some(Value::Number(number)) if name == "kid" => Ok(Some(number.to_string())),
            None | Some(Value::Null) => Ok(None),
            Some(_) => Err(Malformed::Header),
        };
        let (algorithm, kid, typ) = (text("alg")?.ok_or(Malformed::Header)?, text("kid")?, text("typ")?);
        let algorithm = Algorithm::from_name(&algorithm).ok_or_else(|| {
            let shown = algorithm.chars().filter(|c| !c.is_control()).take(MAX_SHOWN_ALGORITHM_LENGTH);
            Malformed::Algorithm(shown.collect::<String>().into())
        })?;
        let typ = typ.map(|typ| typ.to_ascii_lowercase());
        Ok(Self { algorithm, kid, typ, claimed_key, message: message.as_bytes(), signature, payload })
    }
}
