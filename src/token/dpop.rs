//! Proofs of the possession of a key (DPoP, RFC 9449), and the key to which a token is bound.

use super::bearer::{SKEW, TokenError};
use crate::base::{Duration, Timestamp, base64url_decode, base64url_encode, sha256};
use crate::jose::{ClaimedKey, NumericDate, Unverified};
use serde_json::{Map, Value};
use std::fmt;
use url::Url;

/// Maximum length of a proof in bytes: enough for RSA with 8192 bits.
const MAX_PROOF_LENGTH: usize = 4096;
/// Maximum age of a proof. RFC 9449, section 11.1: "a relatively brief period (on the order of
/// seconds or minutes)".
const PROOF_LIFETIME: Duration = Duration::from_secs(60);
/// The time for which a used proof must be remembered, from its first use: `iat` may be in the
/// future by `SKEW`.
pub const PROOF_RETENTION: Duration = Duration::from_secs(120);

/// The request that a proof must be for.
#[derive(Clone, Copy, Debug)]
pub struct ProofRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The URL, with or without a query.
    pub url: &'a str,
    /// The access token of a request for a resource.
    pub access_token: Option<&'a str>,
}

/// A verified proof, which may have been used before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The thumbprint of the proven key (RFC 7638), base64url.
    pub thumbprint: String,
    /// A digest of the key and the proof's `jti`.
    pub id: [u8; 32],
    /// When the proof expires.
    pub expires_at: Timestamp,
}

/// The reason why a proof is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofError(pub &'static str);

impl fmt::Display for ProofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the DPoP proof: {}", self.0)
    }
}

/// Verifies a proof by the checks of RFC 9449, section 4.3, except the single use.
///
/// # Errors
/// Returns the reason why the proof is rejected.
pub fn verify_proof(text: &str, request: ProofRequest<'_>, now: Timestamp) -> Result<Proof, ProofError> {
    let Unverified { jws, claims } = Unverified::read_within(text, MAX_PROOF_LENGTH)
        .map_err(|_| ProofError("it is not a JWT of at most 4096 bytes with an asymmetric algorithm"))?;
    if jws.typ.as_deref() != Some("dpop+jwt") {
        return Err(ProofError("`typ` is not dpop+jwt"));
    }
    let key = jws.claimed_key.as_ref().and_then(|jwk| ClaimedKey::read(jwk, jws.algorithm));
    let key = key.ok_or(ProofError("`jwk` is not a public key of the algorithm"))?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("htm") != Some(request.method) {
        return Err(ProofError("`htm` is not the request's method"));
    }
    let url = text("htu").and_then(normalized_url);
    if url.is_none() || url != normalized_url(request.url) {
        return Err(ProofError("`htu` is not the request's URL"));
    }
    let jti = text("jti").filter(|jti| !jti.is_empty()).ok_or(ProofError("`jti` is missing"))?;
    let issued_at = NumericDate::of(&claims, "iat").ok_or(ProofError("`iat` is missing"))?;
    if now.plus(SKEW) < issued_at || issued_at.plus(PROOF_LIFETIME) <= now {
        return Err(ProofError("`iat` is more than 60 s ago, or in the future"));
    }
    if request.access_token.is_some_and(|token| text("ath") != Some(&base64url_encode(sha256(token)))) {
        return Err(ProofError("`ath` is not the digest of the access token"));
    }
    if !key.verify(jws.message, &jws.signature) {
        return Err(ProofError("the signature is not of the key in `jwk`"));
    }
    let id = sha256(format!("{}\n{jti}", key.thumbprint));
    Ok(Proof { thumbprint: key.thumbprint, id, expires_at: issued_at.plus(PROOF_LIFETIME) })
}

/// Returns the thumbprint of the key to which a token is bound; `None` for a bearer token.
///
/// # Errors
/// Returns `Bound` if the token is bound in another way, which a DPoP proof does not prove.
pub fn bound_key(claims: &Map<String, Value>) -> Result<Option<&str>, TokenError> {
    let Some(confirmation) = claims.get("cnf") else { return Ok(None) };
    // RFC 8705, section 3, binds tokens to a certificate.
    let members = confirmation.as_object().filter(|members| members.len() == 1);
    let thumbprint = members.and_then(|members| members.get("jkt")?.as_str());
    thumbprint.map(Some).ok_or(TokenError::Bound)
}

/// Returns whether `text` is a thumbprint with SHA-256.
pub fn is_thumbprint(text: &str) -> bool {
    base64url_decode(text).is_some_and(|digest| digest.len() == 32)
}

/// Returns a URL without query and fragment, normalized. RFC 9449, section 4.3: servers "SHOULD
/// employ syntax-based normalization and scheme-based normalization".
fn normalized_url(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    let mut parts = url.as_str().split('%');
    let mut normalized = parts.next().unwrap_or_default().to_owned();
    // RFC 3986, section 6.2.2: upper-case digits, and no encoding of unreserved characters.
    for part in parts {
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        match u8::from_str_radix(digits, 16).map(char::from) {
            Ok(plain) if plain.is_ascii_alphanumeric() || "-._~".contains(plain) => normalized.push(plain),
            _ => normalized.extend(["%", &digits.to_ascii_uppercase()]),
        }
        normalized.push_str(rest);
    }
    Some(normalized)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn urls_are_compared_after_normalization() {
        let same = |one: &str, other: &str| {
            normalized_url(one).is_some_and(|url| Some(url) == normalized_url(other))
        };
        for (one, other) in [
            ("https://app.example/a", "HTTPS://APP.example:443/a?x=1#y"),
            ("https://app.example/", "https://app.example"),
            ("https://app.example/%7ea%2fb", "https://app.example/~a%2Fb"),
            ("https://app.example/a/../b", "https://app.example/b"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        for other in [
            "http://app.example/a",
            "https://app.example:8443/a",
            "https://other.example/a",
            "https://user@app.example/a",
            "https://app.example/A",
            "https://app.example/a/",
            "https://app.example/%2561",
            "https://app.example/%",
            "/a",
            "",
        ] {
            assert!(!same("https://app.example/a", other), "{other}");
        }
    }

    #[test]
    fn a_token_is_bound_to_the_key_of_one_confirmation() {
        let bound = |claims: Value| bound_key(claims.as_object().unwrap()).map(|key| key.map(str::to_owned));
        assert_eq!(bound(json!({})), Ok(None));
        assert_eq!(bound(json!({"cnf": {"jkt": "x"}})), Ok(Some("x".to_owned())));
        for other in [
            json!({"cnf": {}}),
            json!({"cnf": null}),
            json!({"cnf": "x"}),
            json!({"cnf": {"jkt": 7}}),
            json!({"cnf": {"x5t#S256": "x"}}),
            json!({"cnf": {"jkt": "x", "x5t#S256": "x"}}),
        ] {
            assert_eq!(bound(other.clone()), Err(TokenError::Bound), "{other}");
        }
    }
}
