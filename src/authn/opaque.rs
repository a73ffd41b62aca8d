//! Selection of tokens for introspection. A token of another issuer must not be sent to the
//! endpoint, because it would be disclosed.

use crate::jose::{MAX_TOKEN_LENGTH, UniqueKeysObject};
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

/// Base64 decoding as in lenient parsers: without padding checks and with trailing bits.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Returns whether `token`, which is not a valid JWT, may be sent to the introspection endpoint of
/// `issuer`. The token must be opaque, or have a readable `iss` equal to `issuer`.
pub(super) fn may_be_introspected(token: &str, issuer: &str) -> bool {
    if !is_bearer_token(token) {
        return false;
    }
    let parts: Vec<&str> = token.split('.').collect();
    let (Some(header), [_, payload, ..]) = (parts.first().and_then(|part| decode(part)), parts.as_slice())
    else {
        return true;
    };
    if serde_json::from_slice::<Map<String, Value>>(&header).is_err() {
        return true;
    }
    // RFC 7516, section 7.1, and RFC 7519, section 5.3: a JWE has five parts, and may repeat `iss`
    // in its header. Without `iss`, only the recipient can read it, and no other issuer's JWE is
    // accepted here.
    let (object, may_lack) = match parts.len() {
        5 => (Some(header), true),
        _ => (decode(payload), false),
    };
    let members = object.and_then(|object| serde_json::from_slice(&object).ok());
    members.is_some_and(|UniqueKeysObject(members)| match members.get("iss") {
        Some(iss) => iss.as_str() == Some(issuer),
        None => may_lack,
    })
}

/// Returns whether `text` has the syntax of RFC 6750, section 2.1: letters, digits and `-._~+/`,
/// then `=`.
fn is_bearer_token(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
    let text = text.trim_end_matches('=');
    (1..=MAX_TOKEN_LENGTH).contains(&text.len()) && text.bytes().all(is_plain)
}

/// Decodes a part of a token from base64 or base64url.
fn decode(part: &str) -> Option<Vec<u8>> {
    let alphabet = if part.contains(['+', '/']) { STANDARD } else { URL_SAFE };
    GeneralPurpose::new(&alphabet, LENIENT).decode(part).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::base64url_encode;

    const ISSUER: &str = "https://opaque.example";

    fn jws(header: &str, claims: &str) -> String {
        format!("{}.{}.c2ln", base64url_encode(header), base64url_encode(claims))
    }

    #[test]
    fn a_token_of_another_issuer_is_not_opaque() {
        let others = r#"{"iss":"https://other.example","sub":"ann"}"#;
        let good = jws(r#"{"alg":"RS256"}"#, others);
        let mut tokens =
            vec![format!("{good}="), format!("{good}."), format!("{good}~"), format!("{good}.a.b.c")];
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS256"}"#,
            r#"{"alg":"ES256K"}"#,
            r#"{"alg":"RS256","crit":["x"]}"#,
            r#"{"alg":"RS256","b64":true}"#,
            r#"{"alg":"RS256","typ":7}"#,
            r#"{"alg":"RS256","alg":"RS256"}"#,
            " {}",
        ] {
            tokens.push(jws(header, others));
        }
        tokens.push(jws(
            r#"{"alg":"RS256"}"#,
            r#"{"iss":"https://opaque.example","iss":"https://other.example"}"#,
        ));
        tokens.push(jws(r#"{"alg":"RS256"}"#, r#"{"sub":"ann"}"#));
        tokens.push(jws(r#"{"alg":"RS256"}"#, "no object"));
        tokens.push(format!("{}=.{}.c2ln", base64url_encode(r#"{"alg":"none"}"#), base64url_encode(others)));
        let jwe = r#"{"alg":"RSA-OAEP","enc":"A256GCM","iss":"https://other.example"}"#;
        tokens.push(format!("{}.a.b.c.d", base64url_encode(jwe)));
        tokens.push(format!("{}.a.b.c.d", base64url_encode(r#"{"alg":"dir","alg":"dir"}"#)));
        for token in tokens {
            assert!(!may_be_introspected(&token, ISSUER), "{token}");
        }
    }

    #[test]
    fn an_opaque_token_and_one_that_names_the_issuer_are_introspected() {
        let own = r#"{"iss":"https://opaque.example","sub":"ann"}"#;
        let jwe = r#"{"alg":"dir","enc":"A256GCM","iss":"https://opaque.example"}"#;
        for token in [
            "abc",
            "a.b.c",
            "v4.public.eyJzdWIiOiJhbm4ifQ",
            "ory_at_x.y-z",
            "abc==",
            &jws(r#"{"alg":"HS256"}"#, own),
            &format!("{}.a.b.c.d", base64url_encode(jwe)),
            &format!("{}.a.b.c.d", base64url_encode(r#"{"alg":"dir","enc":"A256GCM"}"#)),
        ] {
            assert!(may_be_introspected(token, ISSUER), "{token}");
        }
        for other in ["", "=", "a b", "x\"y", "caf\u{e9}"] {
            assert!(!may_be_introspected(other, ISSUER), "{other}");
        }
    }
}
