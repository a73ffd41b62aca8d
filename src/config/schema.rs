//! The JSON Schema of the configuration file, for editors.

use super::file;
use super::key::{Declared, Presence, Section, Shape};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use toml::de::DeValue;

/// Returns the JSON Schema (draft 7) of `narthex.toml`.
pub fn schema() -> String {
    let mut schema = table(&file::SECTION);
    schema.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
    schema.insert("title".into(), json!("narthex.toml"));
    schema.insert("definitions".into(), definitions());
    format!("{:#}\n", Value::Object(schema))
}

/// Returns the schemas that several keys use.
fn definitions() -> Value {
    let source = |name: &str, about: &str| {
        json!({
            "type": "object",
            "properties": { name: { "type": "string", "description": about } },
            "required": [name],
            "additionalProperties": false,
        })
    };
    json!({
        "env": source("env", "Environment variable that contains the value."),
        "file": source("file", "File that contains the value."),
        "string": external(json!({ "type": "string" })),
        "boolean": external(json!({ "type": "boolean" })),
        "duration": external(json!({ "type": "string", "pattern": "^[0-9]+[smhd]$" })),
        "path": { "anyOf": [{ "type": "string" }, definition("env")] },
    })
}

fn definition(name: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{name}") })
}

/// Returns the schema of a value that may be outside of the file.
fn external(value: Value) -> Value {
    json!({ "anyOf": [value, definition("env"), definition("file")] })
}

/// Returns the schema of a table.
fn table(section: &Section) -> Map<String, Value> {
    let mut by_name: BTreeMap<&str, Vec<&dyn Declared>> = BTreeMap::new();
    for key in section.declared() {
        by_name.entry(key.entry().name).or_default().push(key);
    }
    let properties: Map<String, Value> =
        by_name.iter().map(|(name, keys)| ((*name).to_owned(), property(keys))).collect();
    let schema = json!({
        "type": "object",
        "properties": properties,
        "required": required(section, None),
        "additionalProperties": false,
        "allOf": conditions(section),
    });
    let Value::Object(mut schema) = schema else { return Map::new() };
    schema.retain(|name, value| !matches!(name.as_str(), "required" | "allOf") || *value != json!([]));
    schema
}

/// Returns the names of the keys that are always required for this value of `type`.
fn required(section: &Section, kind: Option<&str>) -> Vec<&'static str> {
    let keys = section.declared().map(|key| key.entry()).filter(|entry| match kind {
        Some(kind) => entry.only.contains(&kind),
        None => entry.only.is_empty(),
    });
    keys.filter(|entry| matches!(entry.presence, Presence::Required(_))).map(|entry| entry.name).collect()
}

/// Returns the keys that exist, and those that are required, for each value of `type`.
fn conditions(section: &Section) -> Vec<Value> {
    let selects = section.declared().any(|key| !key.entry().only.is_empty());
    let types = section.declared().find(|key| selects && key.entry().name == "type");
    let mut groups: BTreeMap<(BTreeSet<&str>, Vec<&str>), Vec<&str>> = BTreeMap::new();
    for kind in types.map(Declared::words).unwrap_or_default() {
        let names = section.entries(Some(kind)).map(|entry| entry.name).collect();
        groups.entry((names, required(section, Some(kind)))).or_default().push(kind);
    }
    let condition = |((names, required), types): (_, Vec<&str>)| {
        json!({
            "if": { "properties": { "type": { "enum": types } }, "required": ["type"] },
            "then": { "propertyNames": { "enum": names }, "required": required },
        })
    };
    groups.into_iter().map(condition).collect()
}

/// Returns the schema of the keys with one name. There are several if the keys belong to different
/// types.
fn property(keys: &[&dyn Declared]) -> Value {
    let [key] = keys else {
        let one_of: Vec<Value> = keys.iter().map(|key| property(&[*key])).collect();
        return json!({ "anyOf": one_of });
    };
    let entry = key.entry();
    let mut schema = value(key.shape(), &key.words());
    let about = match entry.only {
        [] => entry.about.to_owned(),
        types => format!("{} Only with type {}.", entry.about, types.join(", ")),
    };
    schema.insert("description".into(), json!(about));
    if let Presence::Default(toml) = entry.presence {
        schema.insert("default".into(), from_toml(toml));
    }
    if !entry.example.is_empty() {
        schema.insert("examples".into(), json!([from_toml(entry.example)]));
    }
    Value::Object(schema)
}

/// Returns the schema of a value.
fn value(shape: Shape, words: &[&str]) -> Map<String, Value> {
    // In draft 7, members beside `$ref` are ignored, and a description is added later.
    let defined = |name| json!({ "allOf": [definition(name)] });
    let value = match shape {
        Shape::Text | Shape::Secret => defined("string"),
        Shape::Words(words) => external(json!({ "enum": words })),
        Shape::ProviderChoice => external(json!({ "enum": words })),
        Shape::Flag => defined("boolean"),
        Shape::Integer(minimum) => external(json!({ "type": "integer", "minimum": minimum })),
        Shape::Duration => defined("duration"),
        Shape::Path => defined("path"),
        Shape::OneOrMore(shape) => {
            let one = value(*shape, words);
            json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
        }
        Shape::Map(shape) => json!({ "type": "object", "additionalProperties": value(*shape, words) }),
        Shape::Table(section) => json!(table(section)),
        Shape::Tables(section) => json!({ "type": "array", "items": table(section) }),
        Shape::WordOrTable(word, section) => {
            json!({ "anyOf": [external(json!({ "enum": [word] })), table(section)] })
        }
    };
    match value {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

/// Converts a TOML value to JSON.
fn from_toml(text: &str) -> Value {
    DeValue::parse(text).map_or(Value::Null, |value| json_value(value.get_ref()))
}

fn json_value(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::Array(items) => items.iter().map(|item| json_value(item.get_ref())).collect(),
        DeValue::Table(entries) => {
            let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
                let key: &std::borrow::Cow<'_, str> = key.get_ref();
                (key.to_string(), json_value(value.get_ref()))
            };
            Value::Object(entries.iter().map(entry).collect())
        }
        DeValue::Boolean(flag) => json!(flag),
        DeValue::Integer(number) => number.to_string().parse::<i64>().map_or(Value::Null, Value::from),
        DeValue::String(text) => json!(text),
        DeValue::Float(_) | DeValue::Datetime(_) => Value::Null,
    }
}
