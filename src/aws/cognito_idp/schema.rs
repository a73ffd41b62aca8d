//! `SchemaAttributeType`: the attributes of a user pool's schema.

use crate::aws::error::ApiError;
use crate::aws::operation::Answer;
use crate::model::{AttributeType, CUSTOM_PREFIX, Schema, SchemaAttribute};
use serde::{Deserialize, Serialize};

/// `SchemaAttributeType`
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SchemaAttributeShape {
    name: Option<String>,
    attribute_data_type: Option<AttributeType>,
    developer_only_attribute: Option<bool>,
    mutable: Option<bool>,
    required: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number_attribute_constraints: Option<NumberConstraints>,
    #[serde(skip_serializing_if = "Option::is_none")]
    string_attribute_constraints: Option<StringConstraints>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NumberConstraints {
    #[serde(skip_serializing_if = "Option::is_none")]
    min_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_value: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StringConstraints {
    #[serde(skip_serializing_if = "Option::is_none")]
    min_length: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_length: Option<String>,
}

impl SchemaAttributeShape {
    /// Returns a standard attribute that is declared anew, or else an own one.
    ///
    /// # Errors
    /// Returns `InvalidParameterException` without a name, or for a bound that is no number.
    pub fn declaration(self) -> Answer<SchemaAttribute> {
        match self.name.as_deref().and_then(Schema::standard) {
            Some(standard) => {
                let (min, max) = self.bounds()?;
                Ok(SchemaAttribute {
                    name: standard.name.clone(),
                    kind: self.attribute_data_type.unwrap_or(standard.kind),
                    mutable: self.mutable.unwrap_or(standard.mutable),
                    required: self.required.unwrap_or(false),
                    min: min.or(standard.min),
                    max: max.or(standard.max),
                })
            }
            None => self.custom_attribute(),
        }
    }

    /// Returns an own attribute: its name gets the prefix.
    ///
    /// # Errors
    /// Returns `InvalidParameterException` without a name, or for a bound that is no number.
    pub fn custom_attribute(self) -> Answer<SchemaAttribute> {
        let (min, max) = self.bounds()?;
        let name = self.name.ok_or_else(|| ApiError::invalid_parameter("An attribute needs a name."))?;
        let name = if name.starts_with(CUSTOM_PREFIX) { name } else { format!("{CUSTOM_PREFIX}{name}") };
        Ok(SchemaAttribute {
            name: name.into(),
            kind: self.attribute_data_type.unwrap_or(AttributeType::String),
            mutable: self.mutable.unwrap_or(false),
            required: self.required.unwrap_or(false),
            min,
            max,
        })
    }

    fn bounds(&self) -> Answer<(Option<i64>, Option<i64>)> {
        let bound = |text: &Option<String>| match text.as_deref() {
            Some(text) => text.parse().map(Some).map_err(|_| {
                ApiError::invalid_parameter(format!("The attribute constraint {text} is not an integer."))
            }),
            None => Ok(None),
        };
        let (min, max) = match (&self.string_attribute_constraints, &self.number_attribute_constraints) {
            (Some(of), None) => (&of.min_length, &of.max_length),
            (None, Some(of)) => (&of.min_value, &of.max_value),
            (None, None) => (&None, &None),
            (Some(strings), Some(numbers)) => match self.attribute_data_type {
                Some(AttributeType::Number) => (&numbers.min_value, &numbers.max_value),
                _ => (&strings.min_length, &strings.max_length),
            },
        };
        Ok((bound(min)?, bound(max)?))
    }
}

impl From<&SchemaAttribute> for SchemaAttributeShape {
    fn from(of: &SchemaAttribute) -> Self {
        let (min, max) = (of.min.map(|bound| bound.to_string()), of.max.map(|bound| bound.to_string()));
        let is_bounded = min.is_some() || max.is_some();
        let (mut numbers, mut strings) = (None, None);
        match of.kind {
            AttributeType::Number if is_bounded => {
                numbers = Some(NumberConstraints { min_value: min, max_value: max });
            }
            _ if is_bounded => strings = Some(StringConstraints { min_length: min, max_length: max }),
            _ => {}
        }
        Self {
            name: Some(of.name.to_string()),
            attribute_data_type: Some(of.kind),
            developer_only_attribute: Some(false),
            mutable: Some(of.mutable),
            required: Some(of.required),
            number_attribute_constraints: numbers,
            string_attribute_constraints: strings,
        }
    }
}
