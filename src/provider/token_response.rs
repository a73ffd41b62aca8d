//! The response of a token endpoint (RFC 6749, section 5.1), read leniently: only the access token
//! must be there.

use crate::base::Secret;
use openidconnect::core::{
    CoreGenderClaim, CoreIdToken, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm, CoreTokenType,
};
use openidconnect::{
    AccessToken, EmptyAdditionalClaims, OAuth2TokenResponse, RefreshToken, Scope, TokenResponse,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::time::Duration;

/// The tokens that were granted.
///
/// `scope` is not read: it comes as a text, as a list, or not at all, and nothing depends on it.
#[derive(Debug, Serialize, Deserialize)]
pub struct GrantedTokens {
    access_token: AccessToken,
    /// Some servers leave `token_type` out; every access token is sent as a bearer token.
    #[serde(skip, default = "bearer")]
    token_type: CoreTokenType,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<Duration>,
    #[serde(default, deserialize_with = "refresh_token")]
    refresh_token: Option<RefreshToken>,
    #[serde(default, skip_serializing, deserialize_with = "secret")]
    id_token: Option<Secret>,
}

impl GrantedTokens {
    /// Returns the ID token, of which nothing is verified.
    pub fn id_token(&self) -> Option<&Secret> {
        self.id_token.as_ref()
    }
}

fn bearer() -> CoreTokenType {
    CoreTokenType::Bearer
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    text(deserializer).map(|text| text.map(Secret::new))
}

fn refresh_token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RefreshToken>, D::Error> {
    text(deserializer).map(|text| text.map(RefreshToken::new))
}

/// A number of seconds, which may be written as a text; one that is neither is unknown.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let seconds = match Value::deserialize(deserializer)? {
        Value::String(text) => text.parse::<f64>().ok(),
        value => value.as_f64(),
    };
    Ok(seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

impl OAuth2TokenResponse for GrantedTokens {
    type TokenType = CoreTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &CoreTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

impl
    TokenResponse<
        EmptyAdditionalClaims,
        CoreGenderClaim,
        CoreJweContentEncryptionAlgorithm,
        CoreJwsSigningAlgorithm,
    > for GrantedTokens
{
    /// Returns nothing: the library's ID token has typed claims, and rejects a token for a claim
    /// that nobody needs.
    fn id_token(&self) -> Option<&CoreIdToken> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_access_token_is_required() {
        let read = |json: Value| serde_json::from_value::<GrantedTokens>(json).ok();
        let whole = read(json!({
            "access_token": "a", "token_type": "bearer", "expires_in": 60, "refresh_token": "r", "scope": "openid x",
            "id_token": "i",
        }))
        .unwrap();
        assert_eq!(whole.expires_in(), Some(Duration::from_secs(60)));
        assert_eq!(whole.refresh_token().unwrap().secret(), "r");
        assert_eq!(GrantedTokens::id_token(&whole).unwrap().expose(), "i");
        for odd in [
            json!({"access_token": "a"}),
            json!({"access_token": "a", "token_type": null, "expires_in": null, "refresh_token": null}),
            json!({"access_token": "a", "token_type": 1, "expires_in": -1, "refresh_token": "", "id_token": ""}),
            json!({"access_token": "a", "scope": ["openid", "x"], "expires_in": "soon", "id_token": {}}),
        ] {
            let answer = read(odd.clone()).unwrap_or_else(|| panic!("{odd}"));
            assert_eq!(answer.expires_in(), None, "{odd}");
            assert!(answer.refresh_token().is_none() && GrantedTokens::id_token(&answer).is_none(), "{odd}");
        }
        for (expires_in, seconds) in [(json!("3600"), 3600), (json!(3600.0), 3600)] {
            let answer = read(json!({"access_token": "a", "expires_in": expires_in})).unwrap();
            assert_eq!(answer.expires_in(), Some(Duration::from_secs(seconds)));
        }
        assert!(read(json!({"id_token": "i"})).is_none() && read(json!({"access_token": 1})).is_none());
    }
}
