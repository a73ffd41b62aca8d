//! The attributes of a user pool, and the values that they accept.

use super::{Attributes, MAX_ATTRIBUTE_LENGTH, is_address, is_phone_number};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// The prefix of a pool's custom attributes.
pub const CUSTOM_PREFIX: &str = "custom:";
/// Maximum length of a custom attribute's name without its prefix, in characters.
pub const MAX_CUSTOM_NAME_LENGTH: usize = 20;
/// Maximum number of attributes in one request.
pub const MAX_ATTRIBUTES: usize = 100;

/// The type of an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttributeType {
    /// Text. The bounds are lengths in characters.
    String,
    /// An integer. The bounds are values.
    Number,
    /// A date and time (RFC 3339).
    DateTime,
    /// `true` or `false`.
    Boolean,
}

/// The declaration of an attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaAttribute {
    /// The name, including the prefix of a custom attribute.
    pub name: Cow<'static, str>,
    /// The type of the value.
    #[serde(rename = "type")]
    pub kind: AttributeType,
    /// Whether the value may change.
    pub mutable: bool,
    /// Whether each user must have a value.
    pub required: bool,
    /// The minimum length of a text in characters, or the smallest number.
    pub min: Option<i64>,
    /// The maximum length of a text in characters, or the largest number.
    pub max: Option<i64>,
}

const fn standard(
    name: &'static str,
    kind: AttributeType,
    min: Option<i64>,
    max: Option<i64>,
) -> SchemaAttribute {
    SchemaAttribute { name: Cow::Borrowed(name), kind, mutable: true, required: false, min, max }
}

const fn text(name: &'static str) -> SchemaAttribute {
    standard(name, AttributeType::String, Some(0), Some(2048))
}

/// The standard attributes, with the bounds that Cognito returns.
const STANDARD: [SchemaAttribute; 20] = [
    SchemaAttribute {
        name: Cow::Borrowed("sub"),
        kind: AttributeType::String,
        mutable: false,
        required: true,
        min: Some(1),
        max: Some(2048),
    },
    text("name"),
    text("given_name"),
    text("family_name"),
    text("middle_name"),
    text("nickname"),
    text("preferred_username"),
    text("profile"),
    text("picture"),
    text("website"),
    text("email"),
    standard("email_verified", AttributeType::Boolean, None, None),
    text("gender"),
    standard("birthdate", AttributeType::String, Some(10), Some(10)),
    text("zoneinfo"),
    text("locale"),
    text("phone_number"),
    standard("phone_number_verified", AttributeType::Boolean, None, None),
    text("address"),
    standard("updated_at", AttributeType::Number, Some(0), None),
];

/// The schema of a pool: the standard attributes, some with changed declarations, and custom
/// attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schema {
    declared: Vec<SchemaAttribute>,
}

/// The attributes that do not conform to the schema: each name, with AWS's message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaViolations(pub Vec<(String, String)>);

impl fmt::Display for SchemaViolations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attributes did not conform to the schema: ")?;
        self.0.iter().try_for_each(|(name, words)| writeln!(f, "{name}: {words}"))
    }
}

impl Schema {
    /// Creates a schema. A declaration replaces the standard attribute with the same name, except
    /// `sub`.
    pub fn new(declared: Vec<SchemaAttribute>) -> Self {
        Self { declared: declared.into_iter().filter(|attribute| attribute.name != "sub").collect() }
    }

    /// Iterates over all attributes: the standard ones, then the custom ones.
    pub fn iter(&self) -> impl Iterator<Item = &SchemaAttribute> {
        let own = |attribute: &&SchemaAttribute| !is_standard(&attribute.name);
        let current = |attribute: &'static SchemaAttribute| self.get(&attribute.name).unwrap_or(attribute);
        STANDARD_REF.iter().map(current).chain(self.declared.iter().filter(own))
    }

    /// Returns the attributes that the pool declares: custom ones, and standard ones with changes.
    pub fn declared(&self) -> &[SchemaAttribute] {
        &self.declared
    }

    /// Returns the standard attribute `name`.
    pub fn standard(name: &str) -> Option<&'static SchemaAttribute> {
        STANDARD_REF.iter().find(|attribute| attribute.name == name)
    }

    /// Returns the declaration of the attribute `name`.
    pub fn get(&self, name: &str) -> Option<&SchemaAttribute> {
        let named = |attribute: &&SchemaAttribute| attribute.name == name;
        self.declared.iter().find(named).or_else(|| STANDARD_REF.iter().find(named))
    }

    /// Checks `changes` against types and bounds. An empty value removes an attribute and is always
    /// valid.
    ///
    /// # Errors
    /// Returns all violations.
    pub fn check_values(&self, changes: &Attributes) -> Result<(), SchemaViolations> {
        let mut violations = Vec::new();
        for (name, value) in changes.iter() {
            let verdict = match self.get(name) {
                None => Err("Attribute does not exist in the schema.".to_owned()),
                Some(_) if value.is_empty() => Ok(()),
                Some(attribute) => attribute.check(value),
            };
            if let Err(words) = verdict {
                violations.push((name.to_owned(), words));
            }
        }
        match violations.is_empty() {
            true => Ok(()),
            false => Err(SchemaViolations(violations)),
        }
    }

    /// Checks that `attributes` contains every required attribute except `sub`.
    ///
    /// # Errors
    /// Returns the missing attributes.
    pub fn check_required(&self, attributes: &Attributes) -> Result<(), SchemaViolations> {
        let missing = self.iter().filter(|attribute| {
            attribute.required && attribute.name != "sub" && !attributes.contains(&attribute.name)
        });
        let violations: Vec<_> = missing
            .map(|attribute| (attribute.name.to_string(), "The attribute is required".to_owned()))
            .collect();
        match violations.is_empty() {
            true => Ok(()),
            false => Err(SchemaViolations(violations)),
        }
    }
}

static STANDARD_REF: &[SchemaAttribute] = &STANDARD;

fn is_standard(name: &str) -> bool {
    STANDARD_REF.iter().any(|attribute| attribute.name == name)
}

impl SchemaAttribute {
    /// Checks a value that is not empty.
    ///
    /// # Errors
    /// Returns AWS's message.
    pub fn check(&self, value: &str) -> Result<(), String> {
        if value.chars().count() > MAX_ATTRIBUTE_LENGTH {
            return Err(format!("String must be no longer than {MAX_ATTRIBUTE_LENGTH} characters"));
        }
        match self.kind {
            AttributeType::String => self.check_length(value),
            AttributeType::Number => self.check_number(value),
            AttributeType::Boolean if matches!(value, "true" | "false") => Ok(()),
            AttributeType::Boolean => Err("Boolean must be true or false".to_owned()),
            AttributeType::DateTime => match chrono::DateTime::parse_from_rfc3339(value) {
                Ok(_) => Ok(()),
                Err(_) => Err("DateTime must be an ISO 8601 date and time".to_owned()),
            },
        }
    }

    fn check_length(&self, value: &str) -> Result<(), String> {
        let length = i64::try_from(value.chars().count()).unwrap_or(i64::MAX);
        match (self.min, self.max) {
            (Some(min), _) if length < min => Err(format!("String must be at least {min} characters")),
            (_, Some(max)) if length > max => Err(format!("String must be no longer than {max} characters")),
            _ => Ok(()),
        }
    }

    fn check_number(&self, value: &str) -> Result<(), String> {
        let Ok(number) = value.parse::<i64>() else { return Err("Number must be an integer".to_owned()) };
        match (self.min, self.max) {
            (Some(min), _) if number < min => Err(format!("Number must be no less than {min}")),
            (_, Some(max)) if number > max => Err(format!("Number must be no greater than {max}")),
            _ => Ok(()),
        }
    }
}

/// Checks the form of the e-mail address and the phone number.
///
/// # Errors
/// Returns AWS's message.
pub fn check_addresses(attributes: &Attributes) -> Result<(), &'static str> {
    match (attributes.get("email"), attributes.get("phone_number")) {
        (Some(email), _) if !email.is_empty() && !is_address(email) => Err("Invalid email address format."),
        (_, Some(number)) if !number.is_empty() && !is_phone_number(number) => {
            Err("Invalid phone number format.")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &'static str, kind: AttributeType, bounds: (Option<i64>, Option<i64>)) -> SchemaAttribute {
        SchemaAttribute {
            name: name.into(),
            kind,
            mutable: true,
            required: false,
            min: bounds.0,
            max: bounds.1,
        }
    }

    #[test]
    fn standard_attributes_have_the_bounds_that_terraform_compares() {
        let schema = Schema::default();
        let all: Vec<_> = schema.iter().collect();
        assert_eq!(all.len(), 20);
        let sub = schema.get("sub").unwrap();
        assert_eq!((sub.mutable, sub.required, sub.min, sub.max), (false, true, Some(1), Some(2048)));
        let birthdate = schema.get("birthdate").unwrap();
        assert_eq!((birthdate.min, birthdate.max), (Some(10), Some(10)));
        assert_eq!(schema.get("updated_at").unwrap().min, Some(0));
        assert_eq!(schema.get("email_verified").unwrap().kind, AttributeType::Boolean);
        assert!(all.iter().filter(|attribute| attribute.required).count() == 1);
    }

    #[test]
    fn a_declaration_replaces_a_standard_attribute_but_never_sub() {
        let required = SchemaAttribute { required: true, mutable: false, ..text("email") };
        let loose = SchemaAttribute { required: false, mutable: true, ..text("sub") };
        let schema =
            Schema::new(vec![required.clone(), loose, own("custom:n", AttributeType::Number, (None, None))]);
        assert_eq!(schema.get("email"), Some(&required));
        assert!(!schema.get("sub").unwrap().mutable);
        assert_eq!(schema.iter().count(), 21);
        assert!(schema.iter().any(|attribute| *attribute == required));
    }

    #[test]
    fn values_are_checked_by_type_and_bounds() {
        let schema = Schema::new(vec![
            own("custom:s", AttributeType::String, (Some(2), Some(3))),
            own("custom:n", AttributeType::Number, (Some(-5), Some(10))),
            own("custom:d", AttributeType::DateTime, (None, None)),
            own("custom:b", AttributeType::Boolean, (None, None)),
        ]);
        let long = "x".repeat(2049);
        for (name, value, fits) in [
            ("custom:s", "ab", true),
            ("custom:s", "äöü", true),
            ("custom:s", "a", false),
            ("custom:s", "abcd", false),
            ("custom:s", "", true),
            ("custom:n", "-5", true),
            ("custom:n", "-6", false),
            ("custom:n", "11", false),
            ("custom:n", "1.5", false),
            ("custom:n", "9223372036854775808", false),
            ("custom:d", "2026-11-28T18:00:00Z", true),
            ("custom:d", "yesterday", false),
            ("custom:b", "true", true),
            ("custom:b", "yes", false),
            ("birthdate", "2000-01-01", true),
            ("birthdate", "2000-1-1", false),
            ("name", long.as_str(), false),
            ("custom:unknown", "x", false),
            ("nickname", "x", true),
        ] {
            let changes: Attributes = [(name, value)].into_iter().collect();
            assert_eq!(schema.check_values(&changes).is_ok(), fits, "{name} {value:?}");
        }
    }

    #[test]
    fn violations_have_awss_words() {
        let required = SchemaAttribute { required: true, ..text("email") };
        let schema = Schema::new(vec![required]);
        let unknown =
            schema.check_values(&[("custom:x", "1"), ("y", "2")].into_iter().collect()).unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "Attributes did not conform to the schema: custom:x: Attribute does not exist in the schema.\n\
             y: Attribute does not exist in the schema.\n"
        );
        let missing = schema.check_required(&Attributes::default()).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "Attributes did not conform to the schema: email: The attribute is required\n"
        );
    }

    #[test]
    fn addresses_have_a_form() {
        for (name, value, fits) in [
            ("email", "a@b.example", true),
            ("email", "a@b@c", false),
            ("email", "no", false),
            ("phone_number", "+14155550123", true),
            ("phone_number", "4155550123", false),
            ("phone_number", "+1 415", false),
            ("phone_number", "+1234567890123456", false),
            ("phone_number", "", true),
        ] {
            assert_eq!(check_addresses(&[(name, value)].into_iter().collect()).is_ok(), fits, "{value:?}");
        }
    }
}
