//! Policy documents as AWS writes them (IAM User Guide, "IAM JSON policy elements reference").

use super::statement::{Effect, Elements, Statement};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;

/// "Managed policies: 6,144 characters"; trust policies and people's own files may be longer, but not without end.
const LONGEST: usize = 256 * 1024;

/// What a document is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It says what whoever it is attached to may do: resources, and no principal.
    Identity,
    /// It says who may take on a role: principals, and no resource.
    Trust,
}

/// A policy document.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its statements, in their order.
    pub statements: Vec<Arc<Statement>>,
}

/// Where a document is wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1; 0 where only the line is known.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            0 => write!(f, "{}: {}", self.line, self.message),
            column => write!(f, "{}:{column}: {}", self.line, self.message),
        }
    }
}

impl std::error::Error for Mistake {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head<'t> {
    #[serde(rename = "Version", default)]
    version: Version,
    #[serde(rename = "Id", default)]
    _id: Option<String>,
    #[serde(rename = "Statement", borrow)]
    statement: &'t RawValue,
}

/// "If you do not include a Version element, the value defaults to 2008-10-17."
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum Version {
    #[default]
    #[serde(rename = "2008-10-17")]
    Old,
    #[serde(rename = "2012-10-17")]
    New,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Raw {
    sid: Option<String>,
    effect: Effect,
    principal: Option<Principals>,
    not_principal: Option<Principals>,
    action: Option<Many>,
    not_action: Option<Many>,
    resource: Option<Many>,
    not_resource: Option<Many>,
    condition: Option<Entries<Entries<Many>>>,
}

impl Document {
    /// Reads `text`.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn parse(text: &str, purpose: Purpose) -> Result<Self, Mistake> {
        if text.len() > LONGEST {
            let message = format!("a policy has at most {LONGEST} bytes");
            return Err(Mistake { line: 1, column: 0, message });
        }
        let head: Head<'_> = at(1, text)?;
        let variables = head.version == Version::New;
        let list = head.statement.get();
        let statements: Vec<&RawValue> = match list.starts_with('[') {
            true => at(line_of(text, list), list)?,
            false => vec![head.statement],
        };
        if statements.is_empty() {
            let message = "a policy without a statement says nothing".to_owned();
            return Err(Mistake { line: line_of(text, list), column: 0, message });
        }
        let mut read: Vec<Arc<Statement>> = Vec::new();
        for (number, raw) in statements.into_iter().enumerate() {
            let line = line_of(text, raw.get());
            let raw: Raw = at(line, raw.get())?;
            let wrong = |message| Mistake { line, column: 0, message };
            let statement = statement(raw, number + 1, line, purpose, variables).map_err(wrong)?;
            let twice = |other: &Arc<Statement>| other.sid.is_some() && other.sid == statement.sid;
            if let Some(other) = read.iter().find(|other| twice(other)) {
                let sid = other.sid.as_deref().unwrap_or_default();
                return Err(wrong(format!("two statements have the Sid `{sid}`")));
            }
            read.push(Arc::new(statement));
        }
        Ok(Self { statements: read })
    }
}

impl Document {
    /// The same, called `name`.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        let name: Arc<str> = name.into();
        self.statements.iter_mut().for_each(|statement| Arc::make_mut(statement).policy = name.clone());
        self
    }
}

/// `part`, which begins at `line`, read as JSON.
fn at<'t, T: Deserialize<'t>>(line: usize, part: &'t str) -> Result<T, Mistake> {
    serde_json::from_str(part).map_err(|error| {
        let told = error.to_string();
        // serde_json tells the place behind the message; ours stands before it.
        let message = told.rsplit_once(" at line ").map_or(told.as_str(), |(message, _)| message);
        // A column counts from where the part begins: in its first line that is not the line's own.
        let column = if error.line() > 1 || line == 1 { error.column() } else { 0 };
        Mistake { line: line + error.line().saturating_sub(1), column, message: message.to_owned() }
    })
}

/// The line of `text` on which `part` of it begins.
fn line_of(text: &str, part: &str) -> usize {
    let offset = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len());
    1 + text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count()
}

fn statement(
    raw: Raw,
    number: usize,
    line: usize,
    purpose: Purpose,
    variables: bool,
) -> Result<Statement, String> {
    if let Some(sid) = &raw.sid
        && !sid.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        return Err(format!("the Sid `{sid}` holds more than letters and digits"));
    }
    let action = one_of("Action", raw.action, "NotAction", raw.not_action)?;
    let action = action.ok_or("a statement has an Action or a NotAction")?;
    let principal = one_of("Principal", raw.principal, "NotPrincipal", raw.not_principal)?;
    let resource = one_of("Resource", raw.resource, "NotResource", raw.not_resource)?;
    match (purpose, &principal, &resource) {
        (Purpose::Identity, Some(_), _) => {
            return Err(
                "a Principal stands in trust policies; whom this one is for is said where it is used".into(),
            );
        }
        (Purpose::Identity, None, None) => return Err("a statement has a Resource or a NotResource".into()),
        (Purpose::Trust, None, _) => return Err("a statement of a trust policy has a Principal".into()),
        (Purpose::Trust, _, Some(_)) => {
            return Err("a trust policy speaks of its own role: remove the Resource".into());
        }
        _ => {}
    }
    let mut conditions = Vec::new();
    for (operator, keys) in raw.condition.map(|conditions| conditions.0).unwrap_or_default() {
        conditions.extend(keys.0.into_iter().map(|(key, values)| (operator.clone(), key, values.0)));
    }
    Statement::new(Elements {
        sid: raw.sid,
        number,
        line,
        effect: raw.effect,
        principal: principal.map(|(not, principals)| (not, principals.0)),
        action: (action.0, action.1.0),
        resource: resource.map(|(not, resources)| (not, resources.0)),
        conditions,
        variables,
    })
}

/// The one of two elements that is there, and whether it is the second.
fn one_of<T>(name: &str, one: Option<T>, other: &str, not: Option<T>) -> Result<Option<(bool, T)>, String> {
    match (one, not) {
        (Some(_), Some(_)) => Err(format!("a statement has {name} or {other}, not both")),
        (Some(value), None) => Ok(Some((false, value))),
        (None, Some(value)) => Ok(Some((true, value))),
        (None, None) => Ok(None),
    }
}

/// A text, a number or a truth value; or several.
struct Many(Vec<String>);

impl<'de> Deserialize<'de> for Many {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Vec<String>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or a list of strings")
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(vec![text.to_owned()])
            }
            fn visit_bool<E>(self, truth: bool) -> Result<Self::Value, E> {
                Ok(vec![truth.to_string()])
            }
            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(vec![number.to_string()])
            }
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(vec![number.to_string()])
            }
            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                Ok(vec![number.to_string()])
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(Many(mut one)) = list.next_element()? {
                    match (one.pop(), one.is_empty()) {
                        (Some(text), true) => all.push(text),
                        _ => return Err(A::Error::custom("a list in a list")),
                    }
                }
                Ok(all)
            }
        }
        deserializer.deserialize_any(OneOrMore).map(Self)
    }
}

/// An object's entries, in their order, no name twice.
struct Entries<V>(Vec<(String, V)>);

impl<'de, V: DeserializeOwned> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each<V>(std::marker::PhantomData<V>);
        impl<'de, V: DeserializeOwned> Visitor<'de> for Each<V> {
            type Value = Vec<(String, V)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all: Self::Value = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if all.iter().any(|(other, _)| *other == name) {
                        return Err(A::Error::custom(format!("`{name}` comes twice")));
                    }
                    all.push((name, map.next_value()?));
                }
                Ok(all)
            }
        }
        deserializer.deserialize_map(Each(std::marker::PhantomData)).map(Self)
    }
}

/// Who may take a role on, by kind; `*` alone is everybody.
struct Principals(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Principals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Vec<(String, String)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"*\", or an object such as {\"Federated\": \"cognito-identity.amazonaws.com\"}")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                match text {
                    "*" => Ok(vec![("*".to_owned(), "*".to_owned())]),
                    other => Err(E::custom(format!("`{other}` is no principal"))),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(kind) = map.next_key::<String>()? {
                    if !["AWS", "Federated", "Service", "CanonicalUser"].contains(&&*kind) {
                        return Err(A::Error::custom(format!("`{kind}` is no kind of principal")));
                    }
                    let Many(names) = map.next_value()?;
                    all.extend(names.into_iter().map(|name| (kind.clone(), name)));
                }
                Ok(all)
            }
        }
        deserializer.deserialize_any(Any).map(Self)
    }
}
