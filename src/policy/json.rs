//! The JSON grammar of policy documents, with line numbers.

use super::principal;
use super::statement::Effect;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Unexpected, Visitor,
};
use std::cell::Cell;
use std::{fmt, io};

/// A parsed document.
pub(super) struct Written {
    pub(super) version: Version,
    /// The first line of the statements, from 1.
    pub(super) line: usize,
    /// Each statement with its first line.
    pub(super) statements: Vec<(usize, Raw)>,
}

/// The version of the policy language: "If you do not include a Version element, the value defaults
/// to 2008-10-17."
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) enum Version {
    #[default]
    #[serde(rename = "2008-10-17")]
    Old,
    #[serde(rename = "2012-10-17")]
    New,
}

/// The elements of a statement. [`present`] parses each of them, because serde parses `null` in an
/// `Option` as an absent element. A statement would then apply without its condition.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
pub(super) struct Raw {
    #[serde(default, deserialize_with = "present")]
    pub(super) sid: Option<String>,
    pub(super) effect: Effect,
    #[serde(default, deserialize_with = "present")]
    pub(super) principal: Option<Principals>,
    #[serde(default, deserialize_with = "present")]
    pub(super) not_principal: Option<Principals>,
    #[serde(default, deserialize_with = "present")]
    pub(super) action: Option<Strings>,
    #[serde(default, deserialize_with = "present")]
    pub(super) not_action: Option<Strings>,
    #[serde(default, deserialize_with = "present")]
    pub(super) resource: Option<Strings>,
    #[serde(default, deserialize_with = "present")]
    pub(super) not_resource: Option<Strings>,
    #[serde(default, deserialize_with = "present")]
    pub(super) condition: Option<Entries<Entries<Scalars>>>,
}

/// Parses a present element; `null` is invalid for every element.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Parses `text`.
///
/// # Errors
/// Returns the first syntax error.
pub(super) fn read(text: &str) -> serde_json::Result<Written> {
    let line = Cell::new(1);
    let mut reader = serde_json::Deserializer::from_reader(Lines { rest: text.as_bytes(), line: &line });
    let document = reader.deserialize_map(Elements(&line))?;
    reader.end()?;
    Ok(document)
}

/// A reader that returns single bytes, so that the line number is that of the current byte.
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

/// The visitor of a document's elements.
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
                Element::Id => ("Id", id.replace(map.next_value::<String>()?).is_some()),
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

/// The deserializer of one statement or a list of them. Records the line of the first.
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

/// The deserializer of one statement with its line.
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
        // At this point, exactly the opening brace has been read.
        let line = self.0.get();
        Ok((line, Raw::deserialize(MapAccessDeserializer::new(map))?))
    }
}

/// Strings in the grammar of the IAM JSON policy language: `("*" | [<action_string>, …])`. The
/// brackets are optional for a single string.
pub(super) type Strings = OneOrMore<false>;

/// Operands of conditions: `("string" | "number" | "Boolean")`.
pub(super) type Scalars = OneOrMore<true>;

/// One value or a flat list, as texts. Numbers and Booleans are accepted if `SCALARS` is true.
pub(super) struct OneOrMore<const SCALARS: bool>(pub(super) Vec<String>);

/// One value; lists are rejected.
struct Single<const SCALARS: bool>(String);

/// A visitor of one value, or also of a list if `LISTS` is true.
struct ReadValues<const SCALARS: bool, const LISTS: bool>;

impl<const SCALARS: bool, const LISTS: bool> ReadValues<SCALARS, LISTS> {
    fn scalar<E: serde::de::Error>(
        self,
        value: &dyn fmt::Display,
        read: Unexpected<'_>,
    ) -> Result<Vec<String>, E> {
        if SCALARS { Ok(vec![value.to_string()]) } else { Err(E::invalid_type(read, &self)) }
    }
}

impl<'de, const SCALARS: bool, const LISTS: bool> Visitor<'de> for ReadValues<SCALARS, LISTS> {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if LISTS { "a string, or a list of strings" } else { "a string" })
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_bool<E: serde::de::Error>(self, truth: bool) -> Result<Self::Value, E> {
        self.scalar(&truth, Unexpected::Bool(truth))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
        self.scalar(&number, Unexpected::Signed(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
        self.scalar(&number, Unexpected::Unsigned(number))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Self::Value, E> {
        // Larger numbers may have lost digits.
        if number.abs() >= EXACT {
            return Err(E::custom(format!("the number {number} is too large; help: write it as a string")));
        }
        self.scalar(&number, Unexpected::Float(number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        if !LISTS {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        let mut all = Vec::new();
        while let Some(Single::<SCALARS>(one)) = list.next_element()? {
            all.push(one);
        }
        Ok(all)
    }
}

/// 2^53: every integer below it is exactly representable.
const EXACT: f64 = 9_007_199_254_740_992.0;

impl<'de, const SCALARS: bool> Deserialize<'de> for OneOrMore<SCALARS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadValues::<SCALARS, true>).map(Self)
    }
}

impl<'de, const SCALARS: bool> Deserialize<'de> for Single<SCALARS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = deserializer.deserialize_any(ReadValues::<SCALARS, false>)?;
        Ok(Self(values.into_iter().next().unwrap_or_default()))
    }
}

/// The entries of an object, in order, without duplicate names. Names are compared without case, as
/// condition keys are.
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
                    if all.iter().any(|(other, _)| other.to_lowercase() == name.to_lowercase()) {
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

/// The principals of a statement, by kind. `*` alone denotes everyone.
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
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let kinds = Entries::<Strings>::deserialize(MapAccessDeserializer::new(map))?;
                let mut all = Vec::new();
                for (kind, OneOrMore(names)) in kinds.0 {
                    if names.is_empty() {
                        return Err(A::Error::custom(format!("the Principal has no name under `{kind}`")));
                    }
                    for name in names {
                        principal::check(&kind, &name).map_err(A::Error::custom)?;
                        all.push((kind.clone(), name));
                    }
                }
                Ok(all)
            }
        }
        deserializer.deserialize_any(Any).map(Self)
    }
}
