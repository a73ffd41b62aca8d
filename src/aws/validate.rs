//! Checks requests and responses against the model of the service.

use super::error::ApiError;
use super::model::{Kind, Model, Shape};
use serde_json::Value;
use std::fmt::Write as _;

/// Maximum violations that a message names.
const MAX_VIOLATIONS: usize = 20;
/// Maximum characters of a value that a message repeats.
const MAX_SHOWN: usize = 256;

/// Checks a request.
///
/// # Errors
/// Returns `SerializationException` for a value of another type, and `InvalidParameterException`
/// with AWS's words for values out of their bounds.
pub fn validate(model: &Model, shape: &str, request: &Value) -> Result<(), ApiError> {
    let mut walk = Walk { model, violations: Vec::new(), is_hidden: false };
    walk.value(model.shape(shape), request, "")?;
    match &*walk.violations {
        [] => Ok(()),
        [one] => Err(ApiError::invalid_parameter(format!("1 validation error detected: {one}"))),
        all => {
            let text = format!("{} validation errors detected: {}", all.len(), all.join("; "));
            Err(ApiError::invalid_parameter(text))
        }
    }
}

/// Removes members that are `null` or that the model does not know, and entries of maps that are
/// `null`, as browsers send them. A handler may keep a structure as it was given, and a response
/// must not repeat them.
pub fn prune(model: &Model, shape: &str, request: &mut Value) {
    let of = model.shape(shape);
    let item = |name: &Option<String>| name.clone().unwrap_or_default();
    match (of.kind, request) {
        _ if of.document => {}
        (Kind::Structure, Value::Object(members)) => {
            members.retain(|name, value| of.members.contains_key(name) && !value.is_null());
            for (name, value) in members {
                prune(model, &of.members[name], value);
            }
        }
        (Kind::List, Value::Array(items)) => {
            items.iter_mut().for_each(|value| prune(model, &item(&of.member), value));
        }
        (Kind::Map, Value::Object(entries)) => {
            entries.retain(|_, value| !value.is_null());
            entries.values_mut().for_each(|value| prune(model, &item(&of.value), value));
        }
        _ => {}
    }
}

/// Returns what a response holds that the model does not know.
pub fn unknown_in_response(model: &Model, shape: &str, response: &Value) -> Option<String> {
    find_unknown(model, shape, response, shape)
}

struct Walk<'m> {
    model: &'m Model,
    violations: Vec<String>,
    /// Whether a sensitive member holds the value.
    is_hidden: bool,
}

impl Walk<'_> {
    fn value(&mut self, shape: &Shape, value: &Value, path: &str) -> Result<(), ApiError> {
        if shape.document {
            return Ok(());
        }
        let is_hidden = self.is_hidden;
        self.is_hidden |= shape.sensitive;
        let result = self.members(shape, value, path);
        self.is_hidden = is_hidden;
        result
    }

    fn members(&mut self, shape: &Shape, value: &Value, path: &str) -> Result<(), ApiError> {
        match (shape.kind, value) {
            (Kind::Structure, Value::Object(members)) => {
                for name in &shape.required {
                    if members.get(name).is_none_or(Value::is_null) {
                        let of = self.model.shape(&shape.members[name]);
                        self.violation(of, None, &member_path(path, name), "Member must not be null");
                    }
                }
                for (name, shape) in &shape.members {
                    if let Some(value) = members.get(name).filter(|value| !value.is_null()) {
                        self.value(self.model.shape(shape), value, &member_path(path, name))?;
                    }
                }
            }
            (Kind::List, Value::Array(items)) => {
                self.bounds(shape, items.len(), None, path);
                let item = self.model.shape(shape.member.as_deref().unwrap_or_default());
                for (number, value) in (1..).zip(items) {
                    if self.violations.len() < MAX_VIOLATIONS {
                        self.value(item, value, &format!("{path}.{number}.member"))?;
                    }
                }
            }
            (Kind::Map, Value::Object(entries)) => {
                self.bounds(shape, entries.len(), None, path);
                let key = self.model.shape(shape.key.as_deref().unwrap_or_default());
                let item = self.model.shape(shape.value.as_deref().unwrap_or_default());
                for (name, value) in entries {
                    self.text(key, name, &format!("{path}.key"));
                    if !value.is_null() {
                        self.value(item, value, &format!("{path}.{name}.member"))?;
                    }
                }
            }
            (Kind::String, Value::String(text)) => self.text(shape, text, path),
            // The bounds are those of the bytes, which are in Base64.
            (Kind::Blob, Value::String(text)) => {
                self.bounds(shape, text.trim_end_matches('=').len() * 3 / 4, None, path);
            }
            (Kind::Boolean, Value::Bool(_)) => {}
            (Kind::Timestamp, Value::Number(_)) => {}
            (Kind::Integer | Kind::Long, Value::Number(number)) => {
                let number = whole(number).ok_or_else(|| not_convertible(value, shape.kind))?;
                self.number(shape, number, path);
            }
            _ => return Err(not_convertible(value, shape.kind)),
        }
        Ok(())
    }

    fn text(&mut self, shape: &Shape, text: &str, path: &str) {
        self.bounds(shape, text.chars().count(), Some(text), path);
        if !shape.values.is_empty() && !shape.values.iter().any(|value| value == text) {
            let constraint = format!("Member must satisfy enum value set: [{}]", shape.values.join(", "));
            self.violation(shape, Some(text), path, &constraint);
        }
        if !shape.matches(text) {
            let pattern = shape.pattern.as_deref().unwrap_or_default();
            let constraint = format!("Member must satisfy regular expression pattern: {pattern}");
            self.violation(shape, Some(text), path, &constraint);
        }
    }

    fn bounds(&mut self, shape: &Shape, length: usize, text: Option<&str>, path: &str) {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        if let Some(min) = shape.min.filter(|min| length < *min) {
            let constraint = format!("Member must have length greater than or equal to {min}");
            self.violation(shape, text, path, &constraint);
        }
        if let Some(max) = shape.max.filter(|max| length > *max) {
            let constraint = format!("Member must have length less than or equal to {max}");
            self.violation(shape, text, path, &constraint);
        }
    }

    fn number(&mut self, shape: &Shape, number: i64, path: &str) {
        let text = number.to_string();
        if let Some(min) = shape.min.filter(|min| number < *min) {
            let constraint = format!("Member must have value greater than or equal to {min}");
            self.violation(shape, Some(&text), path, &constraint);
        }
        if let Some(max) = shape.max.filter(|max| number > *max) {
            let constraint = format!("Member must have value less than or equal to {max}");
            self.violation(shape, Some(&text), path, &constraint);
        }
    }

    /// Adds a violation in AWS's words. The value of a sensitive member, or in one, is left out.
    fn violation(&mut self, shape: &Shape, value: Option<&str>, path: &str, constraint: &str) {
        if self.violations.len() >= MAX_VIOLATIONS {
            return;
        }
        let mut text = "Value".to_owned();
        match value {
            _ if self.is_hidden || shape.sensitive => {}
            Some(value) => {
                let shown: String = value.chars().take(MAX_SHOWN).collect();
                let _ = write!(text, " '{shown}'");
            }
            None if constraint.ends_with("null") => text.push_str(" null"),
            None => {}
        }
        let _ = write!(text, " at '{path}' failed to satisfy constraint: {constraint}");
        self.violations.push(text);
    }
}

/// Returns the path of a member: its name begins with a small letter.
fn member_path(path: &str, name: &str) -> String {
    let mut chars = name.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    let name: String = first.into_iter().chain(chars).collect();
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

/// Returns a JSON number without a fraction.
fn whole(number: &serde_json::Number) -> Option<i64> {
    number.as_i64()
}

/// The value has another JSON type than its member.
fn not_convertible(value: &Value, kind: Kind) -> ApiError {
    let found = match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(number) if number.is_f64() => "DECIMAL_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => return ApiError::serialization("Start of list found where not expected"),
        Value::Object(_) => {
            return ApiError::serialization("Start of structure or map found where not expected.");
        }
    };
    let wanted = match kind {
        Kind::Structure | Kind::List | Kind::Map => {
            return ApiError::serialization(format!("Unexpected value type in payload: {found}"));
        }
        Kind::String => "a String",
        Kind::Integer => "an Integer",
        Kind::Long => "a Long",
        Kind::Boolean => "a Boolean",
        Kind::Timestamp => "a Timestamp",
        Kind::Blob => "a Blob",
    };
    ApiError::serialization(format!("{found} can not be converted to {wanted}"))
}

fn find_unknown(model: &Model, shape: &str, value: &Value, path: &str) -> Option<String> {
    let of = model.shape(shape);
    let wrong = || Some(format!("{path} is {value}"));
    let item = |name: &Option<String>| name.clone().unwrap_or_default();
    match (of.kind, value) {
        _ if of.document => None,
        (Kind::Structure, Value::Object(members)) => members.iter().find_map(|(name, value)| {
            let path = format!("{path}.{name}");
            match of.members.get(name) {
                Some(shape) => find_unknown(model, shape, value, &path),
                None => Some(path),
            }
        }),
        (Kind::List, Value::Array(items)) => {
            items.iter().find_map(|value| find_unknown(model, &item(&of.member), value, path))
        }
        (Kind::Map, Value::Object(entries)) => entries.iter().find_map(|(name, value)| {
            find_unknown(model, &item(&of.value), value, &format!("{path}.{name}"))
        }),
        (Kind::String, Value::String(text)) => {
            let is_known = of.values.is_empty() || of.values.contains(text);
            if is_known { None } else { wrong() }
        }
        (Kind::Blob, Value::String(_)) | (Kind::Boolean, Value::Bool(_)) => None,
        (Kind::Timestamp, Value::Number(_)) => None,
        (Kind::Integer | Kind::Long, Value::Number(number)) if number.is_i64() => None,
        _ => wrong(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::COGNITO_IDP;
    use super::*;
    use serde_json::json;

    fn message(shape: &str, request: Value) -> String {
        validate(&COGNITO_IDP, shape, &request).unwrap_err().to_string()
    }

    #[test]
    fn violations_have_the_words_of_aws() {
        let id = json!({ "UserPoolId": "no" });
        assert_eq!(
            message("DescribeUserPoolRequest", id),
            r"InvalidParameterException: 1 validation error detected: Value 'no' at 'userPoolId' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w-]+_[0-9a-zA-Z]+"
        );
        assert_eq!(
            message("DescribeUserPoolRequest", json!({})),
            "InvalidParameterException: 1 validation error detected: Value null at 'userPoolId' failed to satisfy constraint: Member must not be null"
        );
        // Neither user names nor passwords are repeated.
        let both = json!({ "ClientId": "c", "Username": "", "Password": "secret word" });
        assert_eq!(
            message("SignUpRequest", both),
            r"InvalidParameterException: 2 validation errors detected: Value at 'password' failed to satisfy constraint: Member must satisfy regular expression pattern: [\S]+; Value at 'username' failed to satisfy constraint: Member must have length greater than or equal to 1; Value at 'username' failed to satisfy constraint: Member must satisfy regular expression pattern: [\p{L}\p{M}\p{S}\p{N}\p{P}]+".replace("2 v", "3 v")
        );
        let limit = json!({ "UserPoolId": "r_A", "Limit": 61 });
        assert_eq!(
            message("ListUsersRequest", limit),
            "InvalidParameterException: 1 validation error detected: Value '61' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 60"
        );
        let nested = json!({ "ClientId": "c", "Username": "u", "UserAttributes": [{ "Name": "a" }, { "Value": "x" }] });
        assert!(message("SignUpRequest", nested).contains("'userAttributes.2.member.name'"));
        let flow = json!({ "ClientId": "c", "AuthFlow": "user_password_auth" });
        assert!(message("InitiateAuthRequest", flow).contains(
            "Value 'user_password_auth' at 'authFlow' failed to satisfy constraint: Member must satisfy enum value set: [USER_SRP_AUTH,"
        ));
    }

    #[test]
    fn values_in_a_sensitive_member_are_not_repeated() {
        let parameters = json!({ "PASSWORD": "p".repeat(131_073) });
        let request = json!({ "ClientId": "c", "AuthFlow": "USER_AUTH", "AuthParameters": parameters,
            "ClientMetadata": { "a": "m".repeat(131_073) } });
        let text = message("InitiateAuthRequest", request);
        assert!(text.contains("Value at 'authParameters.PASSWORD.member'") && !text.contains("pp"), "{text}");
        assert!(text.contains("Value 'mm"), "{text}");
    }

    #[test]
    fn other_types_are_refused() {
        let of = |value: Value| message("DescribeUserPoolRequest", json!({ "UserPoolId": value }));
        assert_eq!(of(json!(7)), "SerializationException: NUMBER_VALUE can not be converted to a String");
        assert_eq!(of(json!([])), "SerializationException: Start of list found where not expected");
        assert_eq!(
            of(json!({})),
            "SerializationException: Start of structure or map found where not expected."
        );
        let limit = json!({ "UserPoolId": "r_A", "Limit": 1.5 });
        assert_eq!(
            message("ListUsersRequest", limit),
            "SerializationException: DECIMAL_VALUE can not be converted to an Integer"
        );
        assert!(message("ListUsersRequest", json!([])).starts_with("SerializationException"));
    }

    #[test]
    fn a_message_names_a_bounded_number_of_violations() {
        let all: Vec<Value> = (0..10_000).map(|_| json!({})).collect();
        let request = json!({ "ClientId": "c", "Username": "u", "UserAttributes": all });
        let text = message("SignUpRequest", request);
        assert!(text.starts_with("InvalidParameterException: 20 validation errors") && text.len() < 4000);
    }

    #[test]
    fn unknown_members_are_removed_from_requests() {
        let mut request = json!({
            "UserPoolId": "r_A", "MfaConfiguration": null, "Other": 1,
            "EmailConfiguration": { "From": "a@b.example", "Other": {}, "SourceArn": null },
            "UserPoolTags": { "a": "b", "c": null },
        });
        prune(&COGNITO_IDP, "UpdateUserPoolRequest", &mut request);
        let pruned = json!({
            "UserPoolId": "r_A", "EmailConfiguration": { "From": "a@b.example" }, "UserPoolTags": { "a": "b" },
        });
        assert_eq!(request, pruned);
    }

    #[test]
    fn responses_hold_what_the_model_knows() {
        let unknown = |shape: &str, value: Value| unknown_in_response(&COGNITO_IDP, shape, &value);
        assert_eq!(unknown("SignUpResponse", json!({ "UserConfirmed": true, "UserSub": "x" })), None);
        assert!(unknown("SignUpResponse", json!({ "UserConfirmed": "true" })).is_some());
        assert!(unknown("SignUpResponse", json!({ "Sub": "x" })).is_some());
        assert!(unknown("UserType", json!({ "UserStatus": "NEW" })).is_some());
        assert!(unknown("UserType", json!({ "UserCreateDate": "today" })).is_some());
    }
}
