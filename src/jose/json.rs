//! Strict parsing of JSON objects from untrusted sources.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// An object without duplicate keys at any depth. RFC 7519, section 4: "The Claim Names within a
/// JWT Claims Set MUST be unique"; two parsers could choose different values.
pub struct UniqueKeysObject(pub Map<String, Value>);

impl<'de> Deserialize<'de> for UniqueKeysObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_map(Reader)? {
            Value::Object(names) => Ok(Self(names)),
            _ => Err(D::Error::custom("no object")),
        }
    }
}

/// Parses a JSON object in which no name occurs twice. Returns `None` for any other text.
pub fn unique_keys_object(text: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(text).ok().map(|UniqueKeysObject(names)| names)
}

/// Any JSON value whose objects have no duplicate keys.
pub struct UniqueKeysValue(pub Value);

impl<'de> Deserialize<'de> for UniqueKeysValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(UniqueKeysValue(value)) = all.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, UniqueKeysValue(value))) = entries.next_entry::<String, UniqueKeysValue>()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a name comes twice"));
            }
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Option<Value> {
        serde_json::from_str(text).ok().map(|UniqueKeysObject(names)| names.into())
    }

    #[test]
    fn an_object_is_read_as_it_stands_there() {
        let all =
            json!({"a": [1, -1, 1.5, u64::MAX, true, null, "x\"\n"], "b": {"c": {}}, "d": [], "é": "\u{0}"});
        assert_eq!(read(&all.to_string()), Some(all));
        for other in ["[]", "1", "\"{}\"", "", "{", "{} {}", r#"["RS256"]"#] {
            assert_eq!(read(other), None, "{other}");
        }
        let deep = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&deep(100)).is_some() && read(&deep(200)).is_none());
    }

    #[test]
    fn nothing_comes_twice_in_any_of_its_objects() {
        for twice in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":1}"#, r#"{"b":{"a":1,"a":1}}"#] {
            assert_eq!(read(twice), None, "{twice}");
        }
    }
}
