//! Reads the parsed file. A reader reports an error and continues, so that one run reports every
//! error.

use super::diagnostic::Diagnostic;
use super::files::{FileState, Files};
use super::item::Item;
use super::key::{Declared as _, Entry, Key, Nested, Presence, Section};
use super::redaction::{ExternalValues, without_user_info};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use toml::de::{DeTable, DeValue};
use typed_arena::Arena;

/// The function that looks up environment variables for `{ env = "NAME" }`.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A message about an invalid value, and the remedy.
pub type Invalid = (String, String);

/// The file being read, with the errors found so far.
pub(super) struct Source<'a> {
    pub text: &'a str,
    pub folder: &'a Path,
    pub environment: Environment<'a>,
    /// Every file named so far, with its state before it was read.
    pub files: RefCell<Files>,
    pub diagnostics: RefCell<Vec<Diagnostic>>,
    /// The values read from variables and files.
    pub texts: Arena<u8>,
    /// The same values with their sources, for the redaction of messages.
    pub external: ExternalValues,
    /// The variables and files without a value. Each is reported once.
    pub missing: RefCell<BTreeSet<String>>,
    /// Whether a value is missing. Errors that may follow from its absence are not reported then.
    pub incomplete: Cell<bool>,
}

impl<'a> Source<'a> {
    pub fn new(text: &'a str, folder: &'a Path, environment: Environment<'a>) -> Self {
        Self {
            text,
            folder,
            environment,
            files: RefCell::default(),
            diagnostics: RefCell::default(),
            texts: Arena::new(),
            external: ExternalValues::default(),
            missing: RefCell::default(),
            incomplete: Cell::new(false),
        }
    }

    /// Reports an error at `span`. Replaces values of variables and files with their sources.
    pub fn report(&self, span: Range<usize>, message: impl Into<String>, help: impl Into<String>) {
        let message = without_user_info(&self.external.redact(&message.into()));
        let help = self.external.redact(&help.into());
        let diagnostic = Diagnostic::at(self.text, span, message, help);
        self.diagnostics.borrow_mut().push(diagnostic);
    }

    /// Returns the path of the file `name`, and adds it to the files that are watched for changes.
    pub fn watch(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        self.files.borrow_mut().entry(path.clone()).or_insert_with(|| FileState::of(&path));
        path
    }
}

/// A table of the file.
pub(super) struct Table<'a> {
    source: &'a Source<'a>,
    /// The table's name in messages, such as `[[route]]`.
    name: String,
    section: &'static Section,
    span: Range<usize>,
    entries: &'a DeTable<'a>,
    /// The value of `type`, if it selects keys.
    kind: Cell<Option<&'static str>>,
    /// The keys that the reader has looked up.
    read: RefCell<BTreeSet<&'static str>>,
}

/// The entries of an absent table.
static EMPTY: LazyLock<DeTable<'static>> = LazyLock::new(DeTable::new);

impl<'a> Table<'a> {
    pub fn new(
        source: &'a Source<'a>,
        section: &'static Section,
        span: Range<usize>,
        entries: &'a DeTable<'a>,
    ) -> Self {
        let name = section.header.to_owned();
        Self { source, name, section, span, entries, kind: Cell::new(None), read: RefCell::default() }
    }

    /// Replaces the table's name in messages.
    pub fn named(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// Selects the keys that exist for this value of `type`.
    pub fn select(&self, kind: &'static str) {
        self.kind.set(Some(kind));
    }

    /// Returns the value of `key`, if the file has one. Reports a missing required key.
    pub fn get<T>(&self, key: &Key<T>) -> Option<Item<'a>> {
        let Entry { name, presence, .. } = key.entry;
        debug_assert!(
            self.section.entries(self.kind.get()).any(|entry| entry.name == name),
            "`{name}` is not declared in {}",
            self.section.header
        );
        self.read.borrow_mut().insert(name);
        let Some(value) = self.entries.get(name) else {
            if let Presence::Required(hint) = presence {
                self.report_missing(&key.entry, hint);
            }
            return None;
        };
        Some(Item::new(self.source, name.to_owned(), value))
    }

    /// Returns the value of `key`, which is required in this case. Reports a missing key.
    pub fn required<T>(&self, key: &Key<T>) -> Option<Item<'a>> {
        let item = self.get(key);
        if item.is_none() {
            self.report_missing(&key.entry, "");
        }
        item
    }

    fn report_missing(&self, entry: &Entry, hint: &str) {
        let help = match hint {
            "" => format!("add {} = {}", entry.name, entry.example),
            hint => format!("add {} = {}; {hint}", entry.name, entry.example),
        };
        self.source.report(self.span.clone(), format!("`{}` is missing in {}", entry.name, self.name), help);
    }

    /// Reads the value of `key` in the file, or the default.
    pub fn read<T: Clone>(&self, key: &Key<T>) -> Option<T> {
        let value = self.get(key).and_then(|item| key.value(&item));
        value.or_else(|| self.default(key))
    }

    /// Reads the default of `key` as if the file had it.
    pub fn default<T: Clone>(&self, key: &Key<T>) -> Option<T> {
        let Presence::Default(toml) = key.entry.presence else { return None };
        let value = DeValue::parse(toml).ok()?;
        key.value(&Item::new(self.source, key.entry.name.to_owned(), &value))
    }

    /// Reads the table `key`. Returns an empty table if the file has none.
    pub fn table(&self, key: &Key<Nested>) -> Option<Table<'a>> {
        let section = key.section()?;
        self.get(key).and_then(|item| item.table(section)).or_else(|| self.empty(key))
    }

    /// Returns an empty table for `key`, whose values are the defaults.
    pub fn empty(&self, key: &Key<Nested>) -> Option<Table<'a>> {
        Some(Table::new(self.source, key.section()?, self.span.clone(), &EMPTY))
    }

    /// Reads the array of tables `key`.
    pub fn tables(&self, key: &Key<Nested>) -> Vec<Table<'a>> {
        let item = self.get(key).zip(key.section());
        item.map(|(item, section)| item.tables(section)).unwrap_or_default()
    }

    /// Reads the array of tables `key` with `read`. `identity` returns the identity of a value and
    /// the message for a duplicate, which is reported.
    pub fn distinct<T>(
        &self,
        key: &Key<Nested>,
        mut read: impl FnMut(&Table<'a>) -> Option<T>,
        identity: impl Fn(&T) -> (String, String),
    ) -> Vec<T> {
        let mut seen = std::collections::HashSet::new();
        let mut values = Vec::new();
        for table in self.tables(key) {
            let Some(value) = read(&table) else { continue };
            let (identity, message) = identity(&value);
            if !seen.insert(identity) {
                table.report(message, "make them one, or give them different names");
            }
            values.push(value);
        }
        values
    }

    /// Returns whether the file has the array of tables `key`, valid or not.
    pub fn has(&self, key: &Key<Nested>) -> bool {
        self.entries.contains_key(key.entry.name)
    }

    /// Reports an error that involves several keys, at the table's header. Nothing is reported if a
    /// value is missing, from which the error may follow.
    pub fn report(&self, message: impl Into<String>, help: impl Into<String>) {
        if !self.source.incomplete.get() {
            self.source.report(self.span.clone(), message, help);
        }
    }

    /// Reports every key that is not declared, and panics in debug builds if a declared key was not
    /// read.
    pub fn finish(&self) {
        let kind = self.kind.get();
        for key in self.entries.keys() {
            let name: &str = key.as_ref();
            if let Some((_, help)) = self.section.removed().find(|(removed, _)| *removed == name) {
                self.source.report(key.span(), format!("`{name}` was removed from {}", self.name), help);
                continue;
            }
            let declared: Vec<&Entry> =
                self.section.entries(None).filter(|entry| entry.name == name).collect();
            if declared.is_empty() {
                let help = self.suggestion(name);
                self.source.report(key.span(), format!("unknown key `{name}` in {}", self.name), help);
            } else if let Some(kind) = kind
                && !declared.iter().any(|entry| entry.exists_with(Some(kind)))
            {
                let types: Vec<&str> = declared.iter().flat_map(|entry| entry.only).copied().collect();
                self.source.report(
                    key.span(),
                    format!("{} with type = \"{kind}\" has no key `{name}`", self.name),
                    format!("remove it, or choose a type that has it: {}", types.join(", ")),
                );
            }
        }
        // If there are no errors, the reader has looked up every key that exists.
        let selects = kind.is_some() || self.section.entries(None).all(|entry| entry.only.is_empty());
        if cfg!(debug_assertions) && selects && self.source.diagnostics.borrow().is_empty() {
            let read = self.read.borrow();
            let unread: Vec<_> = self
                .section
                .entries(kind)
                .map(|entry| entry.name)
                .filter(|name| !read.contains(name))
                .collect();
            assert!(unread.is_empty(), "{}: no reader reads {unread:?}", self.section.header);
        }
    }

    fn suggestion(&self, name: &str) -> String {
        let known: Vec<&str> = self.section.entries(self.kind.get()).map(|entry| entry.name).collect();
        match nearest(name, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let known: BTreeSet<String> = known.iter().map(|name| format!("`{name}`")).collect();
                let known: Vec<String> = known.into_iter().collect();
                format!("remove it; the keys of {} are {}", self.name, known.join(", "))
            }
        }
    }
}

/// Returns the known word with the smallest edit distance to `name`, if it is small enough for a
/// misspelling.
pub(super) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let limit = 1 + name.chars().count() / 4;
    known
        .iter()
        .map(|word| (strsim::damerau_levenshtein(name, word), *word))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, word)| word)
}
