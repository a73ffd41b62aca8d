//! A compact JWS (RFC 7515, section 7.1) of JWT claims (RFC 7519), taken apart before anything of it is believed.

use super::algorithm::Algorithm;
use super::json::UniqueKeysObject;
use crate::base::base64url_decode;
use serde_json::{Map, Value};
use std::fmt;

/// The longest token that is looked at: servers commonly take 8 KB of headers.
pub const MAX_TOKEN_LENGTH: usize = 8 * 1024;
/// The maximum length of an ID token or a signed UserInfo response: these come in a body, with every group of the person.
pub const MAX_BODY_TOKEN_LENGTH: usize = 256 * 1024;

/// How many characters of an unknown algorithm's name are logged.
const MAX_SHOWN_ALGORITHM_LENGTH: usize = 20;

/// A compact JWS, taken apart; nothing in it is verified.
#[derive(Debug)]
pub struct Jws<'t> {
    /// What it says it is signed with.
    pub algorithm: Algorithm,
    /// What it says it is signed by.
    pub kid: Option<String>,
    /// What kind of token it says it is, in small letters.
    pub typ: Option<String>,
    /// What the signature is over.
    pub message: &'t [u8],
    /// The signature.
    pub signature: Vec<u8>,
    /// What is signed, beside the header.
    pub payload: Vec<u8>,
}

/// A token, taken apart; nothing in it is verified.
#[derive(Debug)]
pub struct Unverified<'t> {
    /// Its form.
    pub jws: Jws<'t>,
    /// The claims, each once.
    pub claims: Map<String, Value>,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Algorithm(name) => {
                return write!(
                    f,
                    "it is signed with the algorithm `{name}`, which is not allowed; help: have the issuer sign with \
                     RS256, ES256 or EdDSA"
                );
            }
            Self::TooLong => "it is too long",
            Self::Form => "it is not three base64url parts separated by `.`",
            Self::Header => "its header is not a JSON object with unique names",
            Self::Critical => "its header requires an extension that is not supported",
            Self::Claims => "its claims are not a JSON object with unique names",
        })
    }
}

/// Why a token is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It is too long.
    TooLong,
    /// It has not three parts of base64url, with `.` between.
    Form,
    /// Its header is no JSON object, or says something twice.
    Header,
    /// It has no signature, or one by this algorithm, which is none here.
    Algorithm(Box<str>),
    /// It wants something understood that is not (RFC 7515, section 4.1.11; RFC 7797).
    Critical,
    /// Its claims are no JSON object, or say something twice.
    Claims,
}

impl<'t> Unverified<'t> {
    /// Takes `token` apart.
    ///
    /// # Errors
    /// Why it is no token.
    pub fn read(token: &'t str) -> Result<Self, Malformed> {
        Self::read_within(token, MAX_TOKEN_LENGTH)
    }

    /// Takes apart `token`, which may have `max_length` bytes.
    ///
    /// # Errors
    /// Why it is no token.
    pub fn read_within(token: &'t str, max_length: usize) -> Result<Self, Malformed> {
        let jws = Jws::read_within(token, max_length)?;
        let UniqueKeysObject(claims) = serde_json::from_slice(&jws.payload).map_err(|_| Malformed::Claims)?;
        Ok(Self { jws, claims })
    }
}

impl<'t> Jws<'t> {
    /// Takes `text` apart. What its header says of where keys may be had (`jku`, `jwk`, `x5u`, `x5c`) is never looked
    /// at (RFC 8725, section 3.10).
    ///
    /// # Errors
    /// Why it is no token.
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
        let mut text = |name: &str| match header.remove(name) {
            Some(Value::String(text)) => Ok(Some(text)),
            // Some issuers number their keys.
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
        Ok(Self { algorithm, kid, typ, message: message.as_bytes(), signature, payload })
    }
}
