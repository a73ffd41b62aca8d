//! The fields of a JSON object. An error names the field and never repeats a value, which may be a
//! password hash.

use crate::base::Timestamp;
use crate::directory::error::{DirectoryError, Outcome};
use crate::model::{Attributes, MAX_ATTRIBUTES};
use serde_json::{Map, Value};

/// The last time that a date of four digits has, in seconds.
const MAX_SECONDS: i64 = 253_402_300_799;
/// Maximum texts of a list.
const MAX_LIST: usize = 1000;

/// The fields that are left of an object.
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Takes the fields of an object.
    pub fn new(object: Map<String, Value>) -> Self {
        Self(object)
    }

    /// Takes a text.
    pub fn text(&mut self, name: &str) -> Outcome<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => clean(name, text).map(Some),
            Some(_) => Err(wrong(name, "a text")),
        }
    }

    /// Takes a text that must be there.
    pub fn required(&mut self, name: &str) -> Outcome<String> {
        self.text(name)?.ok_or_else(|| DirectoryError::invalid(format!("{name}: the value is required.")))
    }

    /// Takes a truth value.
    pub fn flag(&mut self, name: &str) -> Outcome<Option<bool>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }

    /// Takes a number that is not negative.
    pub fn number(&mut self, name: &str) -> Outcome<Option<u32>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(wrong(name, "a number from 0 to 4294967295")),
        }
    }

    /// Takes a time: seconds since 1970, with milliseconds as decimals.
    pub fn time(&mut self, name: &str) -> Outcome<Option<Timestamp>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| (0.0..=MAX_SECONDS as f64).contains(seconds));
        match seconds {
            Some(seconds) => Ok(Some(Timestamp::from_millis((seconds * 1000.0).round() as i64))),
            None => Err(wrong(name, "a number of seconds since 1970")),
        }
    }

    /// Takes a list of texts.
    pub fn texts(&mut self, name: &str) -> Outcome<Vec<String>> {
        self.list(name)?
            .into_iter()
            .map(|value| match value {
                Value::String(text) => clean(name, text),
                _ => Err(wrong(name, "a list of texts")),
            })
            .collect()
    }

    /// Takes a list of objects.
    pub fn objects(&mut self, name: &str) -> Outcome<Vec<Self>> {
        self.list(name)?
            .into_iter()
            .map(|value| match value {
                Value::Object(object) => Ok(Self(object)),
                _ => Err(wrong(name, "a list of objects")),
            })
            .collect()
    }

    fn list(&mut self, name: &str) -> Outcome<Vec<Value>> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) if values.len() <= MAX_LIST => Ok(values),
            Some(_) => Err(wrong(name, &format!("a list of at most {MAX_LIST} values"))),
        }
    }

    /// Takes an object.
    pub fn object(&mut self, name: &str) -> Outcome<Option<Self>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Self(object))),
            Some(_) => Err(wrong(name, "an object")),
        }
    }

    /// Takes an object of texts.
    pub fn attributes(&mut self, name: &str) -> Outcome<Option<Attributes>> {
        let Some(Self(object)) = self.object(name)? else { return Ok(None) };
        if object.len() > MAX_ATTRIBUTES {
            return Err(DirectoryError::invalid("Too many attributes."));
        }
        let pairs = object.into_iter().map(|(key, value)| match value {
            Value::String(text) => Ok((clean(name, key)?, clean(name, text)?)),
            _ => Err(wrong(name, "an object of texts")),
        });
        pairs.collect::<Outcome<Vec<_>>>().map(|pairs| Some(pairs.into_iter().collect()))
    }

    /// Checks that no field is left.
    pub fn finish(self) -> Outcome<()> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(DirectoryError::invalid(format!("unknown field `{name}`"))),
        }
    }

    /// Takes a value. `null` is none.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }
}

fn wrong(name: &str, expected: &str) -> DirectoryError {
    DirectoryError::invalid(format!("{name}: must be {expected}."))
}

/// Refuses a NUL character, which PostgreSQL cannot store.
fn clean(name: &str, text: String) -> Outcome<String> {
    match text.contains('\0') {
        true => Err(DirectoryError::invalid(format!("{name}: has a NUL character."))),
        false => Ok(text),
    }
}
