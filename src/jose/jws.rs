//! A compact JWS (RFC 7515, section 7.1) of JWT claims (RFC 7519), taken apart before anything of it is believed.

use super::algorithm::Algorithm;
use super::json::Object;
use crate::base::unb64;
use serde_json::{Map, Value};

/// The longest token that is looked at: servers commonly take 8 KB of headers.
pub const LONGEST: usize = 8 * 1024;

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

/// Why a token is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It is too long.
    TooLong,
    /// It has not three parts of base64url, with `.` between.
    Form,
    /// Its header is no JSON object, or says something twice.
    Header,
    /// It has no signature, or one by an algorithm that is none here.
    Algorithm,
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
        let jws = Jws::read(token)?;
        let Object(claims) = serde_json::from_slice(&jws.payload).map_err(|_| Malformed::Claims)?;
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
        if text.len() > LONGEST {
            return Err(Malformed::TooLong);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(Malformed::Form)?;
        let (header, payload) = message.split_once('.').ok_or(Malformed::Form)?;
        let part = |text: &str| unb64(text).ok_or(Malformed::Form);
        let (header, payload, signature) = (part(header)?, part(payload)?, part(signature)?);
        let Object(mut header) = serde_json::from_slice(&header).map_err(|_| Malformed::Header)?;
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(Malformed::Critical);
        }
        let mut text = |name: &str| match header.remove(name) {
            Some(Value::String(text)) => Ok(Some(text)),
            None | Some(Value::Null) => Ok(None),
            Some(_) => Err(Malformed::Header),
        };
        let (algorithm, kid, typ) = (text("alg")?.ok_or(Malformed::Header)?, text("kid")?, text("typ")?);
        let algorithm = Algorithm::from_name(&algorithm).ok_or(Malformed::Algorithm)?;
        let typ = typ.map(|typ| typ.to_ascii_lowercase());
        Ok(Self { algorithm, kid, typ, message: message.as_bytes(), signature, payload })
    }
}
