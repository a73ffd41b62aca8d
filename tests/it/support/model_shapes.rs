//! The shapes of the Cognito API's model, and values that fit them.

use regex::Regex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Characters of a value that a message repeats.
const SHOWN: usize = 256;

/// The model.
pub static MODEL: LazyLock<Value> = LazyLock::new(|| {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/aws/model/cognito_idp.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
});
/// The compiled patterns, by shape.
pub static PATTERNS: LazyLock<HashMap<String, Regex>> = LazyLock::new(|| {
    let shapes = MODEL["shapes"].as_object().unwrap().iter();
    let pattern = |(name, shape): (&String, &Value)| {
        let pattern = shape.get("regex").or(shape.get("pattern"))?.as_str()?;
        Some((name.clone(), Regex::new(&format!(r"\A(?:{pattern})\z")).unwrap()))
    };
    shapes.filter_map(pattern).collect()
});

/// What a value of a member leads to.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is within all bounds.
    Accepted,
    /// It violates constraints.
    Violations(Vec<String>),
    /// It has another JSON type; the message.
    OtherType(String),
}

/// Where a value is in the request.
#[derive(Clone, Debug, Default)]
pub struct At {
    pub path: String,
    /// Whether a sensitive member holds it.
    pub is_sensitive: bool,
}

impl At {
    /// The place of a member.
    pub fn member(&self, name: &str) -> Self {
        let lower = name[..1].to_ascii_lowercase() + &name[1..];
        let path = if self.path.is_empty() { lower } else { format!("{}.{lower}", self.path) };
        Self { path, ..self.clone() }
    }

    /// The place of an item, a key or a value.
    pub fn entry(&self, name: &str) -> Self {
        Self { path: format!("{}.{name}", self.path), ..self.clone() }
    }

    /// The same, for a value of `shape`.
    pub fn of(&self, shape: &Value) -> Self {
        Self { is_sensitive: self.is_sensitive || shape["sensitive"] == true, ..self.clone() }
    }

    /// The text of a violation in the words of AWS.
    pub fn violation(&self, value: Option<&str>, constraint: &str) -> String {
        let shown = match value {
            Some(value) if !self.is_sensitive => {
                format!(" '{}'", value.chars().take(SHOWN).collect::<String>())
            }
            Some(_) | None => String::new(),
        };
        format!("Value{shown} at '{}' failed to satisfy constraint: Member must {constraint}", self.path)
    }

    /// The text of a required member that is missing.
    pub fn missing(&self) -> String {
        let null = if self.is_sensitive { "" } else { " null" };
        format!("Value{null} at '{}' failed to satisfy constraint: Member must not be null", self.path)
    }
}

/// The shape of this name.
pub fn shape(name: &str) -> &'static Value {
    &MODEL["shapes"][name]
}

/// The name that a value of the model is.
pub fn name_of(value: &'static Value) -> &'static str {
    value.as_str().unwrap()
}

/// The names of the required members of a structure.
pub fn required(of: &'static Value) -> impl Iterator<Item = &'static str> {
    of["required"].as_array().into_iter().flatten().map(name_of)
}

/// A text of `length` characters that fits the pattern, if one of this length does.
pub fn text(name: &str, length: usize) -> String {
    let begin = match name {
        "ArnType" | "EncryptionKeyArnType" | "OptionalArnType" => "arn:aws:iam::123456789012:role/",
        "UserPoolIdType" => "us-east-1_",
        "DeviceKeyType" => "us_",
        "EmailAddressType" => "a@",
        "AcrLevelKeyType" | "AcrMappingKeyType" => "Level1",
        "EmailVerificationMessageByLinkType" => "{##a##}",
        _ if shape(name)["pattern"].as_str().is_some_and(|pattern| pattern.contains("####")) => "{####}",
        _ => "",
    };
    let is_of_digits = matches!(name, "DeviceKeyType" | "SoftwareTokenMFAUserCodeType");
    let filler = if is_of_digits { '0' } else { 'a' };
    begin.chars().chain(std::iter::repeat(filler)).take(length).collect()
}

/// Whether a text fits the pattern of a shape.
pub fn matches(name: &str, text: &str) -> bool {
    PATTERNS.get(name).is_none_or(|pattern| pattern.is_match(text))
}

/// A bound of a shape.
pub fn bound(of: &Value, name: &str) -> Option<i64> {
    of.get(name).and_then(Value::as_i64)
}

/// A value within all bounds: the required members, the fewest items.
pub fn valid(name: &str) -> Value {
    let of = shape(name);
    let min = bound(of, "min").unwrap_or(0);
    match of["type"].as_str().unwrap() {
        "structure" => {
            let member = |member: &str| (member.to_owned(), valid(name_of(&of["members"][member])));
            Value::Object(required(of).map(member).collect())
        }
        "list" => (0..min).map(|_| valid(name_of(&of["member"]))).collect(),
        "map" => json!({}),
        "string" => match of["enum"].as_array() {
            Some(values) => values[0].clone(),
            None => {
                let mut lengths = (min.max(1) as usize)..200;
                let length = lengths.find(|length| matches(name, &text(name, *length)));
                json!(text(name, length.unwrap_or_else(|| panic!("no valid text of {name}"))))
            }
        },
        "integer" | "long" => json!(min.max(1)),
        "boolean" => json!(true),
        other => panic!("{name}: {other}"),
    }
}
