//! The JSON of policy documents: what may stand where, and on which line it stands.

use super::statement::Effect;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::{fmt, io};

/// A document as it is written.
pub(super) struct Written {
    pub(super) version: Version,
    /// The line on which the statements begin, from 1.
    pub(super) line: usize,
    /// The line on which each begins, and its elements.
    pub(super) statements: Vec<(usize, Raw)>,
}

/// "If you do not include a Version element, the value defaults to 2008-10-17."
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Version {
    #[default]
    #[serde(rename = "2008-10-17")]
    Old,
    #[serde(rename = "2012-10-17")]
    New,
}

/// A statement's elements.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct Raw {
    pub(super) sid: Option<String>,
    pub(super) effect: Effect,
    pub(super) principal: Option<Principals>,
    pub(super) not_principal: Option<Principals>,
    pub(super) action: Option<Many>,
    pub(super) not_action: Option<Many>,
    pub(super) resource: Option<Many>,
    pub(super) not_resource: Option<Many>,
    pub(super) condition: Option<Entries<Entries<Many>>>,
}

/// Reads `text`.
///
/// # Errors
/// The first place at which it is no document.
pub(super) fn read(text: &str) -> serde_json::Result<Written> {
    let line = Cell::new(1);
    let mut reader = serde_json::Deserializer::from_reader(Lines { rest: text.as_bytes(), line: &line });
    let document = reader.deserialize_map(Elements(&line))?;
    reader.end()?;
    Ok(document)
}

/// A text that is read byte by byte, so that the line is the one of the byte that is looked at.
struct Lines<'t> {
    rest: &'t [u8],
    line: &'t Cell<usize>,
}

impl io::Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (Some((byte, rest)), Some(place)) = (self.rest.split_first(), buffer.first_mut()) else {
            return Ok(0);
        };
        (*place, self.rest) = (*byte, rest);
        self.line.set(self.line.get() + usize::from(*byte == b'\n'));
        Ok(1)
    }
}

/// A document's elements.
struct Elements<'t>(&'t Cell<usize>);

#[derive(Deserialize)]
#[serde(field_identifier)]
enum Element {
    Version,
    Id,
    Statement,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a policy document, which is an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
        let (mut version, mut id, mut statements) = (None, None, None);
        while let Some(element) = map.next_key()? {
            let (name, twice) = match element {
                Element::Version => ("Version", version.replace(map.next_value()?).is_some()),
                Element::Id => ("Id", id.replace(map.next_value::<Option<String>>()?).is_some()),
                Element::Statement => {
                    ("Statement", statements.replace(map.next_value_seed(Statements(self.0))?).is_some())
                }
            };
            if twice {
                return Err(A::Error::custom(format!("duplicate field `{name}`")));
            }
        }
        let (line, statements) = statements.ok_or_else(|| A::Error::missing_field("Statement"))?;
        Ok(Written { version: version.unwrap_or_default(), line, statements })
    }
}

/// One statement, or a list of them; the line of the first.
struct Statements<'t>(&'t Cell<usize>);

impl<'de> DeserializeSeed<'de> for Statements<'_> {
    type Value = (usize, Vec<(usize, Raw)>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Statements<'_> {
    type Value = (usize, Vec<(usize, Raw)>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a statement, which is an object, or a list of statements")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let one = One(self.0).visit_map(map)?;
        Ok((one.0, vec![one]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let line = self.0.get();
        let mut all = Vec::new();
        while let Some(one) = list.next_element_seed(One(self.0))? {
            all.push(one);
        }
        Ok((line, all))
    }
}

/// One statement, and its line.
struct One<'t>(&'t Cell<usize>);

impl<'de> DeserializeSeed<'de> for One<'_> {
    type Value = (usize, Raw);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for One<'_> {
    type Value = (usize, Raw);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a statement, which is an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        // Its brace was just read, and nothing behind it.
        let line = self.0.get();
        Ok((line, Raw::deserialize(MapAccessDeserializer::new(map))?))
    }
}

/// A text, a number or a truth value; or several.
pub(super) struct Many(pub(super) Vec<String>);

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
pub(super) struct Entries<V>(pub(super) Vec<(String, V)>);

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
pub(super) struct Principals(pub(super) Vec<(String, String)>);

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
