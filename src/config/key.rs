//! Declarations of the keys of the configuration file, one per key. The reader, the JSON Schema and
//! the reference page use them.

use super::item::Item;

/// A key of a table, whose value is a `T`.
pub(super) struct Key<T: 'static> {
    /// The part that does not depend on the value's type.
    pub entry: Entry,
    kind: Type<T>,
}

/// The documentation of a key.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// The key as it is written in the file.
    pub name: &'static str,
    /// Whether the key may be absent, and the value that applies then.
    pub presence: Presence,
    /// One or two sentences for the reference page and the schema.
    pub about: &'static str,
    /// A valid value, as TOML.
    pub example: &'static str,
    /// The values of `type` for which the key exists; empty if it always exists.
    pub only: &'static [&'static str],
}

/// Whether a key may be absent, and the value that applies then.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// The key is always required. The text is a hint for a file without it, and may be empty.
    Required(&'static str),
    /// The key is required on this condition, which the section's reader checks.
    RequiredIf(&'static str),
    /// This value applies, in TOML.
    Default(&'static str),
    /// The section's reader computes a value, which the text describes.
    Computed(&'static str),
    /// An absent key has no value.
    Optional,
    /// The key was removed. The text is the remedy.
    Removed(&'static str),
}

/// The type of a key's value, with its documentation and its reader.
pub(super) enum Type<T: 'static> {
    /// One of these words.
    ProviderChoice(&'static [(&'static str, T)]),
    /// A value of this shape, with the function that reads it.
    Read(Shape, fn(&Item<'_>) -> Option<T>),
}

/// The form of a value in the file.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// A string.
    Text,
    /// One of these strings.
    Words(&'static [&'static str]),
    /// The words of the key's [`Type::ProviderChoice`].
    ProviderChoice,
    /// `true` or `false`.
    Flag,
    /// An integer of at least this value.
    Integer(u32),
    /// A duration such as `"90s"`.
    Duration,
    /// The path of a file, which cannot be given by `{ file = "…" }`.
    Path,
    /// A string that must not be displayed.
    Secret,
    /// A value of this shape, or an array of them.
    OneOrMore(&'static Shape),
    /// A table with arbitrary keys, and values of this shape.
    Map(&'static Shape),
    /// A table with these keys.
    Table(&'static Section),
    /// An array of tables with these keys.
    Tables(&'static Section),
    /// This word, or a table with these keys.
    WordOrTable(&'static str, &'static Section),
}

/// A table of the file, with its keys.
pub(super) struct Section {
    /// The header of the table in the file, such as `[[route]]`.
    pub header: &'static str,
    /// One or two sentences for the reference page.
    pub about: &'static str,
    /// The keys, in the order of the reference page.
    pub keys: &'static [&'static dyn Declared],
}

/// A key of any type.
pub(super) trait Declared: Sync {
    /// Returns the documentation of the key.
    fn entry(&self) -> &Entry;
    /// Returns the form of the key's value.
    fn shape(&self) -> Shape;
    /// Returns the words of a [`Type::ProviderChoice`].
    fn words(&self) -> Vec<&'static str>;
    /// Returns the section of the key's table, or of each of its tables.
    fn section(&self) -> Option<&'static Section> {
        match self.shape() {
            Shape::Table(section) | Shape::Tables(section) => Some(section),
            _ => None,
        }
    }
    /// Returns whether `item` is a valid value.
    #[cfg(test)]
    fn accepts(&self, item: &Item<'_>) -> bool;
}

/// The type of a key that contains tables, which `Table::table` and `Table::tables` read.
#[derive(Clone, Copy)]
pub(super) enum Nested {}

impl Key<Nested> {
    /// Declares a table.
    pub const fn table(name: &'static str, section: &'static Section) -> Self {
        Self::new(name, Type::Read(Shape::Table(section), |_| None), section.about)
    }

    /// Declares an array of tables.
    pub const fn tables(name: &'static str, section: &'static Section) -> Self {
        Self::new(name, Type::Read(Shape::Tables(section), |_| None), section.about)
    }
}

impl Key<()> {
    /// Declares a key that was removed.
    pub const fn removed(name: &'static str, help: &'static str) -> Self {
        let mut key = Self::new(name, Type::Read(Shape::Text, |_| None), "");
        key.entry.presence = Presence::Removed(help);
        key
    }
}

impl<T: 'static> Key<T> {
    /// Declares an optional key without a default.
    pub const fn new(name: &'static str, kind: Type<T>, about: &'static str) -> Self {
        Self { entry: Entry { name, presence: Presence::Optional, about, example: "", only: &[] }, kind }
    }

    /// Makes the key required. `hint` is shown for a file without it.
    pub const fn required(mut self, hint: &'static str) -> Self {
        self.entry.presence = Presence::Required(hint);
        self
    }

    /// Documents that the key is required if `condition` holds.
    pub const fn required_if(mut self, condition: &'static str) -> Self {
        self.entry.presence = Presence::RequiredIf(condition);
        self
    }

    /// Sets the default value, in TOML, which is also the example.
    pub const fn default(mut self, toml: &'static str) -> Self {
        self.entry.presence = Presence::Default(toml);
        self.example(toml)
    }

    /// Documents how the section's reader computes the default value.
    pub const fn computed(mut self, text: &'static str) -> Self {
        self.entry.presence = Presence::Computed(text);
        self
    }

    /// Sets the example, in TOML.
    pub const fn example(mut self, toml: &'static str) -> Self {
        self.entry.example = toml;
        self
    }

    /// Restricts the key to these values of `type`.
    pub const fn only(mut self, types: &'static [&'static str]) -> Self {
        self.entry.only = types;
        self
    }
}

impl<T: Clone + 'static> Key<T> {
    /// Reads a value of this key.
    pub fn value(&self, item: &Item<'_>) -> Option<T> {
        match self.kind {
            Type::ProviderChoice(choices) => item.choice(choices),
            Type::Read(_, read) => read(item),
        }
    }
}

impl<T: Clone + Sync + 'static> Declared for Key<T> {
    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn shape(&self) -> Shape {
        match self.kind {
            Type::ProviderChoice(_) => Shape::ProviderChoice,
            Type::Read(shape, _) => shape,
        }
    }

    fn words(&self) -> Vec<&'static str> {
        match self.kind {
            Type::ProviderChoice(choices) => choices.iter().map(|(word, _)| *word).collect(),
            Type::Read(..) => Vec::new(),
        }
    }

    #[cfg(test)]
    fn accepts(&self, item: &Item<'_>) -> bool {
        self.value(item).is_some()
    }
}

impl Entry {
    /// Returns whether the key exists for this value of `type`. Every key exists if the type is
    /// unknown.
    pub fn exists_with(&self, kind: Option<&str>) -> bool {
        self.only.is_empty() || kind.is_none_or(|kind| self.only.contains(&kind))
    }
}

impl Section {
    /// Returns the keys that were not removed.
    pub fn declared(&self) -> impl Iterator<Item = &'static dyn Declared> {
        let exists = |key: &&dyn Declared| !matches!(key.entry().presence, Presence::Removed(_));
        self.keys.iter().copied().filter(exists)
    }

    /// Returns the keys that exist for this value of `type`.
    pub fn entries(&self, kind: Option<&str>) -> impl Iterator<Item = &'static Entry> {
        self.declared().map(|key| key.entry()).filter(move |entry| entry.exists_with(kind))
    }

    /// Returns the removed keys, each with the remedy.
    pub fn removed(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.keys.iter().filter_map(|key| match key.entry() {
            Entry { name, presence: Presence::Removed(help), .. } => Some((*name, *help)),
            _ => None,
        })
    }
}
