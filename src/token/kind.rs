//! The kind of a token. Only access tokens give access; refresh, logout and proof tokens do not.

use super::bearer::TokenError;
use crate::config::TokenType;
use serde_json::{Map, Value};

/// The media types of tokens for APIs (RFC 7519, section 5.1; RFC 9068, section 2.1; JWT-SVID,
/// section 2.3).
const MEDIA_TYPES: [&str; 3] = ["jwt", "at+jwt", "jose"];
/// The claims that state the kind of a token: of Cognito and Hydra, of Keycloak, and of RFC 7662,
/// section 2.2.
const CLAIMS: [&str; 3] = ["token_use", "typ", "token_type"];
/// The values of these claims that denote an access token, compared without ASCII case.
const ACCESS: [&str; 6] =
    ["access", "access_token", "at+jwt", "bearer", "jwt", "urn:ietf:params:oauth:token-type:access_token"];
/// The values of these claims that denote an ID token.
const ID: [&str; 2] = ["id", "id_token"];

/// Checks the kind of a JWT whose header contains `typ`.
pub(super) fn check_jwt(
    typ: Option<&str>,
    claims: &Map<String, Value>,
    accepted: TokenType,
) -> Result<(), TokenError> {
    let typ = typ.map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
    let is_media_type = typ.is_none_or(|typ| MEDIA_TYPES.contains(&typ));
    check_claims(claims, accepted)?;
    match is_media_type && (accepted == TokenType::Any || is_marked(typ, claims)) {
        true => Ok(()),
        false => Err(TokenError::Type),
    }
}

/// Checks the kind of a token from its introspection response (RFC 7662).
pub(super) fn check_introspected(claims: &Map<String, Value>) -> Result<(), TokenError> {
    check_claims(claims, TokenType::Access)
}

/// Checks each claim that states a kind. Unknown kinds are rejected.
fn check_claims(claims: &Map<String, Value>, accepted: TokenType) -> Result<(), TokenError> {
    // RFC 8417: a security event, such as a logout token, only reports something.
    if claims.contains_key("events") {
        return Err(TokenError::Type);
    }
    let is_one_of = |kind: &str, kinds: &[&str]| kinds.iter().any(|known| known.eq_ignore_ascii_case(kind));
    for name in CLAIMS {
        match claims.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(kind)) if is_one_of(kind, &ACCESS) => {}
            Some(Value::String(kind)) if accepted == TokenType::Any && is_one_of(kind, &ID) => {}
            // RFC 9449, section 5. The proof of the key in `cnf` is checked later.
            Some(Value::String(kind)) if is_one_of(kind, &["dpop"]) && claims.contains_key("cnf") => {}
            Some(Value::String(kind)) if is_one_of(kind, &["dpop"]) => return Err(TokenError::Bound),
            Some(_) => return Err(TokenError::Type),
        }
    }
    Ok(())
}

/// Returns whether a JWT is marked as an access token, if no claim states another kind. Few issuers
/// mark theirs as RFC 9068, section 2.1, requires.
fn is_marked(typ: Option<&str>, claims: &Map<String, Value>) -> bool {
    let has = |names: &[&str]| names.iter().any(|name| claims.contains_key(*name));
    let has_text = |name: &str| claims.get(name).is_some_and(Value::is_string);
    if typ == Some("at+jwt") || has_text("token_use") || has_text("typ") {
        return true;
    }
    // The claims of ID tokens and logout tokens (OpenID Connect Core 1.0, sections 2 and 3.3.2.11;
    // Back-Channel Logout 1.0, section 2.4), and those of access tokens.
    matches!(typ, None | Some("jwt"))
        && !has(&["nonce", "at_hash", "c_hash", "s_hash"])
        && has(&["scope", "scp", "client_id", "appid", "roles"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn jwt(typ: &str, claims: Value, accepted: TokenType) -> bool {
        let typ = Some(typ).filter(|typ| !typ.is_empty());
        check_jwt(typ, claims.as_object().unwrap(), accepted).is_ok()
    }

    #[test]
    fn every_path_refuses_other_kinds_than_those_known() {
        for name in CLAIMS {
            let check = |kind: Value| {
                let claims = json!({"scope": "a", name: kind});
                let paths = [
                    jwt("jwt", claims.clone(), TokenType::Access),
                    jwt("jwt", claims.clone(), TokenType::Any),
                    check_introspected(claims.as_object().unwrap()).is_ok(),
                ];
                (paths.contains(&true), paths.contains(&false))
            };
            for access in ["access", "access_token", "Bearer", "bearer", "at+jwt", "JWT"] {
                assert_eq!(check(json!(access)), (true, false), "{name} {access}");
            }
            for other in
                ["Refresh", "REFRESH_TOKEN", "Logout", "Offline", "N_A", "mac", "PoP", "DPoP", "DPoP ", ""]
            {
                assert_eq!(check(json!(other)), (false, true), "{name} {other}");
            }
            for other in [json!(["Bearer"]), json!({}), json!(7), json!(true)] {
                assert_eq!(check(other.clone()), (false, true), "{name} {other}");
            }
            let id = json!({"scope": "a", name: "ID"});
            assert!(jwt("jwt", id.clone(), TokenType::Any), "{name}");
            assert!(!jwt("jwt", id.clone(), TokenType::Access), "{name}");
            assert!(check_introspected(id.as_object().unwrap()).is_err(), "{name}");
        }
        assert!(check_introspected(json!({"events": {}}).as_object().unwrap()).is_err());
    }

    #[test]
    fn a_jwt_of_another_media_type_is_refused() {
        for typ in ["", "jwt", "jose", "at+jwt", "application/at+jwt"] {
            assert!(jwt(typ, json!({}), TokenType::Any), "{typ}");
        }
        for typ in [
            "logout+jwt",
            "secevent+jwt",
            "client-authentication+jwt",
            "oauth-authz-req+jwt",
            "token-introspection+jwt",
            "dpop+jwt",
            "kb+jwt",
            "refresh+jwt",
        ] {
            for accepted in [TokenType::Any, TokenType::Access] {
                assert!(!jwt(typ, json!({"token_use": "access", "scope": "a"}), accepted), "{typ}");
                assert!(!jwt(&format!("application/{typ}"), json!({"scope": "a"}), accepted), "{typ}");
            }
        }
    }
}
