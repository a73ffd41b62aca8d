//! Conversion of claims to texts, which role mappings compare and principal tags contain.

use super::user::MAX_GROUPS;
use serde_json::{Map, Value};

/// 2^53: every integer below it is exactly representable as a float.
const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;

/// The error for a present claim whose values cannot be compared. Treating it as absent would let
/// the token's holder escape a Deny or a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnreadableClaim;

/// Returns the values of a claim as texts of at most `longest` bytes. `null` and empty texts are
/// omitted.
///
/// # Errors
/// Returns an error for a value that is an object or a nested list, is too long, contains control
/// characters, or has lost digits. Also returns an error for more than [`MAX_GROUPS`] values.
pub fn claim_texts(value: &Value, longest: usize) -> Result<Vec<String>, UnreadableClaim> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(all) if all.len() > MAX_GROUPS => Err(UnreadableClaim),
        Value::Array(all) => {
            let texts: Result<Vec<String>, _> = all.iter().map(|one| claim_text(one, longest)).collect();
            texts.map(|texts| texts.into_iter().filter(|text| !text.is_empty()).collect())
        }
        one => {
            claim_text(one, longest).map(|text| Vec::from_iter(Some(text).filter(|text| !text.is_empty())))
        }
    }
}

fn claim_text(value: &Value, longest: usize) -> Result<String, UnreadableClaim> {
    match value {
        Value::String(text) if text.len() <= longest && !text.chars().any(char::is_control) => {
            Ok(text.clone())
        }
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Number(number) if is_exact(number) => Ok(number.to_string()),
        _ => Err(UnreadableClaim),
    }
}

fn is_exact(number: &serde_json::Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|number| number.abs() < MAX_EXACT_INTEGER)
}

/// Returns whether the claim `name` is available only elsewhere (OpenID Connect Core 1.0, section
/// 5.6.2: "Distributed Claims"). Some providers do this if a user has too many groups for a token.
pub fn is_distributed(claims: &Map<String, Value>, name: &str) -> bool {
    let names = claims.get("_claim_names").and_then(Value::as_object);
    !claims.contains_key(name) && names.is_some_and(|names| names.contains_key(name))
}

/// The claims of a bearer token that cannot be stored as user attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenClaims {
    /// The claims with several values, by name.
    pub lists: Box<[(String, Box<[String]>)]>,
    /// The names of claims that cannot be compared.
    pub unreadable: Box<[String]>,
}

impl TokenClaims {
    /// Returns the values of the claim `name`, if it has several.
    ///
    /// # Errors
    /// Returns an error if the claim cannot be compared.
    pub fn list(&self, name: &str) -> Result<Option<&[String]>, UnreadableClaim> {
        if self.unreadable.iter().any(|unreadable| unreadable == name) {
            return Err(UnreadableClaim);
        }
        Ok(self.lists.iter().find(|(known, _)| known == name).map(|(_, values)| &**values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_is_read_whole_or_not_at_all() {
        for (value, texts) in [
            (json!(null), &[][..]),
            (json!(""), &[]),
            (json!("red"), &["red"]),
            (json!(true), &["true"]),
            (json!(7), &["7"]),
            (json!(1.5), &["1.5"]),
            (json!(u64::MAX), &["18446744073709551615"]),
            (json!([]), &[]),
            (json!(["red", 7, "", false]), &["red", "7", "false"]),
            (json!(vec!["x"; 1000]), &["x"; 1000]),
        ] {
            let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
            assert_eq!(claim_texts(&value, 20), Ok(texts), "{value}");
        }
        let huge: Value = serde_json::from_str("123456789012345678901234567890").unwrap();
        for bad in [
            json!({}),
            json!([["red"]]),
            json!(["red", {}]),
            json!(["red", null]),
            json!("r\u{7}ed"),
            json!("x".repeat(21)),
            json!(["red", "x".repeat(21)]),
            json!(vec!["x"; 1001]),
            huge,
        ] {
            assert_eq!(claim_texts(&bad, 20), Err(UnreadableClaim), "{bad}");
        }
        let claims = json!({"_claim_names": {"groups": "src1", "team": "src1"}, "team": "red"});
        let elsewhere = |name| is_distributed(claims.as_object().unwrap(), name);
        assert!(elsewhere("groups") && !elsewhere("team") && !elsewhere("other"));
    }
}
