//! The model of Cognito's API: operations with their inputs, outputs and exceptions, and the shapes
//! of members. `tests/aws_model.py` derives the file from botocore's.

use regex::Regex;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::{LazyLock, OnceLock};

/// The model of `cognito-idp`.
pub static COGNITO_IDP: LazyLock<Model> = LazyLock::new(|| {
    Model::parse(include_str!("cognito_idp.json")).expect("invariant: a test parses the file")
});

/// The model of a service.
#[derive(Debug, Deserialize)]
pub struct Model {
    operations: HashMap<String, OperationModel>,
    shapes: HashMap<String, Shape>,
}

/// An operation.
#[derive(Debug, Deserialize)]
pub struct OperationModel {
    /// Whether requests have no signature.
    #[cfg(test)]
    #[serde(default)]
    pub unsigned: bool,
    /// The shape of the request.
    pub input: String,
    /// The shape of the response; `None` for an empty one.
    pub output: Option<String>,
    /// The names of the exceptions.
    pub errors: Vec<String>,
}

/// The shape of a member.
#[derive(Debug, Deserialize)]
pub struct Shape {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The shapes of the members of a structure, by name.
    #[serde(default)]
    pub members: BTreeMap<String, String>,
    /// The members that must be present.
    #[serde(default)]
    pub required: Vec<String>,
    /// The shape of the items of a list.
    pub member: Option<String>,
    /// The shape of the keys of a map.
    pub key: Option<String>,
    /// The shape of the values of a map.
    pub value: Option<String>,
    /// Minimum characters, items, or value.
    pub min: Option<i64>,
    /// Maximum characters, items, or value.
    pub max: Option<i64>,
    /// The regular expression of the whole value, in Java's syntax: messages have it.
    pub pattern: Option<String>,
    /// The same in Rust's syntax, if that differs.
    regex: Option<String>,
    /// The possible values.
    #[serde(default, rename = "enum")]
    pub values: Vec<String>,
    /// Whether messages do not repeat the value.
    #[serde(default)]
    pub sensitive: bool,
    /// Whether it is any JSON value.
    #[serde(default)]
    pub document: bool,
    /// Whether it is an exception.
    #[cfg(test)]
    #[serde(default)]
    pub exception: bool,
    #[serde(skip)]
    compiled: OnceLock<Option<Regex>>,
}

/// The type of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Members by name.
    Structure,
    /// Items of one shape.
    List,
    /// Values by key.
    Map,
    /// Text.
    String,
    /// A number of 32 bits.
    Integer,
    /// A number of 64 bits.
    Long,
    /// `true` or `false`.
    Boolean,
    /// Seconds since 1970, with a fraction.
    Timestamp,
    /// Bytes in base64.
    Blob,
}

impl Model {
    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Returns the operation of this name.
    pub fn operation(&self, name: &str) -> Option<&OperationModel> {
        self.operations.get(name)
    }

    /// Returns the shape of this name, which another shape or an operation names.
    pub fn shape(&self, name: &str) -> &Shape {
        self.shapes.get(name).expect("invariant: a test reads every name of a shape")
    }
}

impl Shape {
    /// Returns whether the whole of `text` matches the pattern, if there is one.
    pub fn matches(&self, text: &str) -> bool {
        self.compiled.get_or_init(|| self.compile()).as_ref().is_none_or(|regex| regex.is_match(text))
    }

    fn compile(&self) -> Option<Regex> {
        let pattern = self.regex.as_ref().or(self.pattern.as_ref())?;
        let regex = Regex::new(&format!(r"\A(?:{pattern})\z"));
        Some(regex.expect("invariant: a test compiles every pattern"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_shape_resolves_and_every_pattern_compiles() {
        let model = &*COGNITO_IDP;
        assert_eq!(model.operations.len(), 153);
        for operation in model.operations.values() {
            for name in std::iter::once(&operation.input).chain(&operation.output) {
                assert!(!model.shape(name).exception, "{name}");
            }
            for name in &operation.errors {
                assert!(model.shape(name).exception, "{name}");
            }
        }
        for shape in model.shapes.values() {
            for name in shape.members.values().chain(&shape.member).chain(&shape.key).chain(&shape.value) {
                model.shape(name);
            }
            shape.compile();
        }
    }

    #[test]
    fn patterns_are_of_the_whole_value() {
        let matches = |shape: &str, text: &str| COGNITO_IDP.shape(shape).matches(text);
        assert!(matches("UserPoolIdType", "eu-central-1_Ab9"));
        assert!(!matches("UserPoolIdType", "eu-central-1_Ab9/x"));
        assert!(!matches("UserPoolIdType", "é_Ab9"));
        assert!(matches("PasswordType", "Pä55-word"));
        assert!(!matches("PasswordType", "two words"));
        // In Java, `\S` is what is not white space of ASCII.
        assert!(matches("PasswordType", "no\u{a0}break"));
        assert!(matches("S3BucketType", "a.b") && !matches("S3BucketType", "a."));
    }
}
