//! A user's attributes, in two pieces of memory: a busy gateway holds those of a hundred thousand
//! people.

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// A user's attributes by name: `email`, `name`, `custom:department`; in the order of their names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Name, value, name, value.
    text: Box<str>,
    /// Where each of them ends.
    ends: Box<[u32]>,
}

impl Attributes {
    /// Every name with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut from = 0;
        self.ends.as_chunks::<2>().0.iter().map(move |ends| {
            let [name, value] = ends.map(|end| end as usize);
            let pair = (&self.text[from..name], &self.text[name..value]);
            from = value;
            pair
        })
    }

    /// The value of the attribute of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether there is one of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Gives the attribute of this name this value.
    pub fn set(&mut self, name: &str, value: &str) {
        let others = self.iter().filter(|(known, _)| *known != name);
        *self = others.chain([(name, value)]).collect();
    }

    /// Takes the attribute of this name away.
    pub fn remove(&mut self, name: &str) {
        *self = self.iter().filter(|(known, _)| *known != name).collect();
    }
}

/// Of two attributes of one name, the last is kept.
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
