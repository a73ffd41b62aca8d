//! A user's attributes in two allocations: the caches of a busy gateway contain those of a hundred
//! thousand users.

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// A user's attributes, such as `email`, `name` and `custom:department`, ordered by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The concatenated names and values: name, value, name, value.
    text: Box<str>,
    /// The end of each of them, in bytes.
    ends: Box<[u32]>,
}

impl Attributes {
    /// Iterates over the names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut from = 0;
        self.ends.as_chunks::<2>().0.iter().map(move |ends| {
            let [name, value] = ends.map(|end| end as usize);
            let pair = (&self.text[from..name], &self.text[name..value]);
            from = value;
            pair
        })
    }

    /// Returns the value of the attribute `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Returns whether there is an attribute `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets the attribute `name` to `value`.
    pub fn set(&mut self, name: &str, value: &str) {
        let others = self.iter().filter(|(known, _)| *known != name);
        *self = others.chain([(name, value)]).collect();
    }

    /// Removes the attribute `name`.
    pub fn remove(&mut self, name: &str) {
        *self = self.iter().filter(|(known, _)| *known != name).collect();
    }
}

/// If a name occurs twice, the last value is kept.
impl<Name: AsRef<str> + Ord, Value: AsRef<str>> FromIterator<(Name, Value)> for Attributes {
    fn from_iter<All: IntoIterator<Item = (Name, Value)>>(all: All) -> Self {
        let mut all: Vec<(Name, Value)> = all.into_iter().collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all.dedup_by(|later, before| {
            let same = later.0 == before.0;
            if same {
                std::mem::swap(later, before);
            }
            same
        });
        let parts = || all.iter().flat_map(|(name, value)| [name.as_ref(), value.as_ref()]);
        let mut text = String::with_capacity(parts().map(str::len).sum());
        let mut ends = Vec::with_capacity(2 * all.len());
        for part in parts() {
            text.push_str(part);
            ends.push(u32::try_from(text.len()).expect("invariant: bounded far below"));
        }
        Self { text: text.into(), ends: ends.into() }
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::<String, String>::deserialize(deserializer).map(|all| all.into_iter().collect())
    }
}
