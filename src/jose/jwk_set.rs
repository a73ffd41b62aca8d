//! JWK Sets of other issuers (RFC 7517, section 5), parsed for verification.

use super::algorithm::{Algorithm, Family};
use crate::base::{base64url_decode, base64url_encode, sha256};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::ParsedPublicKey;
use serde::Deserialize;

/// Maximum number of keys per set: a rollover needs a few.
const MAX_KEYS: usize = 100;

/// Public keys for the verification of signatures.
#[derive(Default)]
pub struct JwkSet {
    keys: Vec<VerifyingKey>,
    /// SHA-256 of the set's JSON, for comparison.
    pub digest: [u8; 32],
}

/// A public key that a message itself contains, for one algorithm. Its owner is unknown.
pub struct ClaimedKey {
    key: VerifyingKey,
    /// The thumbprint with SHA-256 (RFC 7638), base64url.
    pub thumbprint: String,
}

/// The members of private keys and of shared secrets (RFC 7518, sections 6.2.2, 6.3.2 and 6.4).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A public key.
struct VerifyingKey {
    kid: Option<String>,
    /// The key, parsed for each algorithm that it supports.
    by_algorithm: Vec<(Algorithm, ParsedPublicKey)>,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    /// A string or a number.
    kid: Option<serde_json::Value>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl JwkSet {
    /// Parses a JWK Set. Keys that cannot be used are ignored. RFC 7517, section 5: implementations
    /// "SHOULD ignore JWKs within a JWK Set that use "kty" values that are not understood".
    ///
    /// An empty set is valid: its issuer has withdrawn all keys.
    ///
    /// # Errors
    /// Returns an error if `json` is not a JWK Set.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        let set: Set = serde_json::from_slice(json).map_err(|error| format!("it is no JWK Set: {error}"))?;
        let keys = set.keys.into_iter().take(MAX_KEYS).filter_map(|key| serde_json::from_value(key).ok());
        let keys: Vec<_> = keys.filter_map(|jwk: Jwk| VerifyingKey::read(&jwk, Algorithm::ALL)).collect();
        Ok(Self { keys, digest: sha256(json) })
    }

    /// Returns whether a key has this id. If no key verifies a signature, it may be made with a key
    /// newer than the cached set, unless the set contains the named key.
    pub fn contains_kid(&self, kid: Option<&str>) -> bool {
        self.keys.iter().any(|key| kid.is_some() && key.kid.as_deref() == kid)
    }

    /// Returns whether `signature` of `message` verifies with the key called `kid`, or with any key
    /// if `kid` is `None`.
    pub fn verify(&self, kid: Option<&str>, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        // RFC 7517, section 4.5: "Use of this member is OPTIONAL". A key without an id is tried for
        // any `kid`.
        let named =
            self.keys.iter().filter(|key| kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid);
        let mut keys = named.flat_map(|key| &key.by_algorithm).filter(|(of, _)| *of == algorithm);
        keys.any(|(_, key)| key.verify_sig(message, signature).is_ok())
    }
}

impl ClaimedKey {
    /// Parses a public key that supports `algorithm`. Returns `None` for any other value.
    pub fn read(jwk: &serde_json::Value, algorithm: Algorithm) -> Option<Self> {
        // RFC 9449, section 4.3: "The jwk JOSE Header Parameter does not contain a private key".
        let members = jwk.as_object()?;
        if PRIVATE_MEMBERS.iter().any(|name| members.contains_key(*name)) {
            return None;
        }
        // RFC 7515, section 2: base64url "with all trailing '=' characters omitted". Another
        // spelling of a key would have another thumbprint.
        let is_padded = |value: &serde_json::Value| value.as_str().is_some_and(|text| text.contains('='));
        if members.values().any(is_padded) {
            return None;
        }
        let jwk = serde_json::from_value(jwk.clone()).ok()?;
        let key = VerifyingKey::read(&jwk, &[algorithm])?;
        Some(Self { key, thumbprint: base64url_encode(sha256(jwk.required_members()?)) })
    }

    /// Returns whether `signature` of `message` verifies with the key.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.by_algorithm.iter().any(|(_, key)| key.verify_sig(message, signature).is_ok())
    }
}

impl VerifyingKey {
    /// Parses a key for those of the algorithms `among` that it supports.
    fn read(jwk: &Jwk, among: &[Algorithm]) -> Option<Self> {
        // Sections 4.2 and 4.3; SPIFFE bundles use `jwt-svid` (SPIFFE Trust Domain and Bundle,
        // section 4.2.2).
        let verifies = jwk.usage.as_deref().is_none_or(|usage| matches!(usage, "sig" | "jwt-svid"))
            && jwk.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !verifies {
            return None;
        }
        // Section 4.4; RFC 8725, section 3.1: a key that names an algorithm is used only with that
        // algorithm.
        let named = match &jwk.alg {
            Some(name) => Some(Algorithm::from_name(name)?),
            None => None,
        };
        let algorithms = among.iter().filter(|algorithm| named.is_none_or(|named| named == **algorithm));
        let parsed = |algorithm: &Algorithm| {
            let bytes = jwk.bytes(algorithm.family())?;
            Some((*algorithm, ParsedPublicKey::new(algorithm.verification(), bytes).ok()?))
        };
        let by_algorithm: Vec<_> = algorithms.filter_map(parsed).collect();
        let kid = match &jwk.kid {
            Some(serde_json::Value::String(kid)) => Some(kid.clone()),
            Some(serde_json::Value::Number(kid)) => Some(kid.to_string()),
            _ => None,
        };
        (!by_algorithm.is_empty()).then_some(Self { kid, by_algorithm })
    }
}

impl Jwk {
    /// Returns the JSON that a thumbprint is made of (RFC 7638, section 3.2; RFC 8037, appendix
    /// A.3): the required members in alphabetical order, which need no escaping in a parsed key.
    fn required_members(&self) -> Option<String> {
        let (kty, text) = (&self.kty, |value: &Option<String>| value.clone());
        Some(match kty.as_str() {
            "RSA" => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(&self.e)?, text(&self.n)?),
            "EC" => {
                let (crv, x, y) = (text(&self.crv)?, text(&self.x)?, text(&self.y)?);
                format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            _ => format!(r#"{{"crv":"{}","kty":"{kty}","x":"{}"}}"#, text(&self.crv)?, text(&self.x)?),
        })
    }

    /// Returns the key in the verifier's format (RFC 7518, section 6; RFC 8037, section 2).
    fn bytes(&self, family: Family) -> Option<Vec<u8>> {
        // RFC 7518, section 6.3.1: the encoding has no padding, but some issuers add it.
        let part = |value: &Option<String>| {
            value.as_ref().and_then(|text| base64url_decode(text.trim_end_matches('=')))
        };
        match (family, self.kty.as_str(), self.crv.as_deref()) {
            (Family::Rsa, "RSA", _) => {
                let components = PublicKeyComponents { n: part(&self.n)?, e: part(&self.e)? };
                components.as_der().ok().map(|der| der.as_ref().to_vec())
            }
            (Family::Ec(curve, size), "EC", Some(named)) if curve == named => {
                let (x, y) = (part(&self.x)?, part(&self.y)?);
                // "The length of this octet string MUST be the full size of a coordinate."
                (x.len() == size && y.len() == size).then(|| [&[4][..], &x, &y].concat())
            }
            (Family::Ed25519, "OKP", Some("Ed25519")) => part(&self.x),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_thumbprint_is_of_the_required_members() {
        // RFC 7638, section 3.1, and RFC 8037, appendix A.3.
        let n = concat!(
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWK",
            "RXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMic",
            "AtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3",
            "XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        );
        let rsa = json!({"kty": "RSA", "n": n, "e": "AQAB", "kid": "2011-04-29"});
        let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        let thumbprint =
            |jwk: &serde_json::Value, algorithm| ClaimedKey::read(jwk, algorithm).map(|key| key.thumbprint);
        for (jwk, algorithm, expected) in [
            (&rsa, Algorithm::Rs256, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
            (&okp, Algorithm::EdDsa, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        ] {
            assert_eq!(thumbprint(jwk, algorithm).as_deref(), Some(expected));
            assert_eq!(thumbprint(jwk, Algorithm::Es256), None);
            for name in PRIVATE_MEMBERS {
                let mut private = jwk.clone();
                private[name] = json!("AQAB");
                assert_eq!(thumbprint(&private, algorithm), None, "{name}");
            }
        }
    }
}
