//! Walking the parsed file. A reader never stops at a mistake: it notes it and goes on, so that
//! one run tells all of them.

use super::external::{External, placeholder};
use super::files::{FileState, Files};
use super::mistake::Mistake;
use crate::base::{Duration, MAX_SMALL_FILE, Secret, read_text};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use typed_arena::Arena;
use zeroize::Zeroizing;

/// Where a file's secrets come from: the process's environment, or a test's.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What is wrong with a value, and the mend.
pub type Wrong = (String, String);

/// The file being read, and the mistakes found so far.
pub(super) struct Source<'a> {
    pub text: &'a str,
    pub folder: &'a Path,
    pub environment: Environment<'a>,
    /// Every file that has been named so far, in the state before it was read.
    pub files: RefCell<Files>,
    pub mistakes: RefCell<Vec<Mistake>>,
    /// The texts that variables and files hold.
    texts: Arena<u8>,
    /// The variables and files that gave no value, each of which is reported once.
    missing: RefCell<BTreeSet<String>>,
    /// Whether a value is missing, so that what follows from its absence is no mistake of its own.
    incomplete: Cell<bool>,
}

impl<'a> Source<'a> {
    pub fn new(text: &'a str, folder: &'a Path, environment: Environment<'a>) -> Self {
        Self {
            text,
            folder,
            environment,
            files: RefCell::default(),
            mistakes: RefCell::default(),
            texts: Arena::new(),
            missing: RefCell::default(),
            incomplete: Cell::new(false),
        }
    }

    pub fn wrong(&self, span: Range<usize>, message: impl Into<String>, mend: impl Into<String>) {
        let mistake = Mistake::at(self.text, span, message.into(), mend.into());
        self.mistakes.borrow_mut().push(mistake);
    }

    /// The path of the file called `name`, which is watched for changes from now on.
    fn watched(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        self.files.borrow_mut().entry(path.clone()).or_insert_with(|| FileState::of(&path));
        path
    }
}

/// A table, and which of its keys have been asked for.
pub(super) struct Table<'a> {
    source: &'a Source<'a>,
    /// How messages call it, such as `[[route]]`.
    name: String,
    span: Range<usize>,
    entries: &'a DeTable<'a>,
    known: RefCell<Vec<&'static str>>,
}

impl<'a> Table<'a> {
    pub fn new(source: &'a Source<'a>, name: &str, span: Range<usize>, entries: &'a DeTable<'a>) -> Self {
        Self { source, name: name.to_owned(), span, entries, known: RefCell::default() }
    }

    /// The value of `key`, if it is there.
    pub fn get(&self, key: &'static str) -> Option<Item<'a>> {
        self.known.borrow_mut().push(key);
        let value = self.entries.get(key)?;
        Some(Item { source: self.source, key: key.to_owned(), value })
    }

    /// The value of `key`, which must be there.
    pub fn must(&self, key: &'static str, mend: &str) -> Option<Item<'a>> {
        let item = self.get(key);
        if item.is_none() {
            self.source.wrong(self.span.clone(), format!("`{key}` is missing in {}", self.name), mend);
        }
        item
    }

    /// Every key with its value, where the keys are the user's own words.
    pub fn all(&self) -> Vec<Item<'a>> {
        let item = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| Item {
            source: self.source,
            key: AsRef::<std::borrow::Cow<'a, str>>::as_ref(key).to_string(),
            value,
        };
        self.entries.iter().map(item).collect()
    }

    /// The mistake `message`, told of the table's head. Such a mistake concerns keys together: it may only follow from a
    /// value that is missing, and is not reported then.
    pub fn wrong(&self, message: impl Into<String>, mend: impl Into<String>) {
        if !self.source.incomplete.get() {
            self.source.wrong(self.span.clone(), message, mend);
        }
    }

    /// Tells of every key that nobody asked for.
    pub fn finish(&self) {
        let known = self.known.borrow();
        for key in self.entries.keys() {
            let name: &str = key.as_ref();
            if known.contains(&name) {
                continue;
            }
            let mend = match nearest(name, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let mut names: Vec<_> = known.iter().map(|k| format!("`{k}`")).collect();
                    names.sort();
                    names.dedup();
                    format!("remove it; {} knows {}", self.name, names.join(", "))
                }
            };
            self.source.wrong(key.span(), format!("unknown key `{name}` in {}", self.name), mend);
        }
    }
}

/// A value with its key and its place in the file.
pub(super) struct Item<'a> {
    source: &'a Source<'a>,
    pub key: String,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Item<'a> {
    /// The mistake `message`, told of this value.
    pub fn wrong(&self, message: impl Into<String>, mend: impl Into<String>) {
        self.source.wrong(self.value.span(), message, mend);
    }

    /// The same for a mistake that may only follow from a value that is missing, and is not reported then.
    pub fn wrong_together(&self, message: impl Into<String>, mend: impl Into<String>) {
        if !self.source.incomplete.get() {
            self.wrong(message, mend);
        }
    }

    /// The value if `read` likes it; its complaint is noted otherwise.
    fn read<T>(&self, wanted: &str, read: impl FnOnce(&'a DeValue<'a>) -> Option<T>) -> Option<T> {
        let value = read(self.value.get_ref());
        if value.is_none() {
            let found = kind(self.value.get_ref());
            self.wrong(format!("`{}` is {found}", self.key), format!("write {wanted}"));
        }
        value
    }

    /// Whether it is a text: a string, or the name of a variable or file that holds one.
    pub fn is_string(&self) -> bool {
        self.value.get_ref().is_str() || External::of(self.value.get_ref()).is_some()
    }

    /// Whether the text stands in the file itself.
    pub fn is_literal(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// A text: the string itself, `{ env = "NAME" }` or `{ file = "path" }`.
    pub fn string(&self) -> Option<&'a str> {
        let text = self.template()?;
        match self.value.get_ref().as_str().and_then(placeholder) {
            Some(name) => {
                self.wrong(
                    format!("`{}` holds `${{{name}}}`, which is not replaced", self.key),
                    format!("write {} = {{ env = \"{name}\" }} for the whole value", self.key),
                );
                None
            }
            None => Some(text),
        }
    }

    /// The same, in which `${…}` has a meaning.
    pub fn template(&self) -> Option<&'a str> {
        if let Some(external) = External::of(self.value.get_ref()) {
            let text = self.fetch(external, "value")?;
            return Some(self.source.texts.alloc_str(&text));
        }
        self.read("a string in quotes, { env = \"NAME\" } or { file = \"path\" }", DeValue::as_str)
    }

    pub fn boolean(&self) -> Option<bool> {
        self.plain("true or false, without quotes", DeValue::as_bool)
    }

    /// A whole number of things, at least one.
    pub fn count(&self) -> Option<usize> {
        let read = |value: &'a DeValue<'a>| value.as_integer()?.to_string().parse().ok();
        self.plain("a whole number, at least 1", read).map(NonZeroUsize::get)
    }

    /// A whole number, which may be none.
    pub fn whole(&self) -> Option<u32> {
        self.plain("a whole number, at least 0", |value| value.as_integer()?.to_string().parse().ok())
    }

    /// A value without quotes, or what a variable or file holds in its place.
    fn plain<T: std::str::FromStr>(
        &self,
        wanted: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let Some(external) = External::of(self.value.get_ref()) else { return self.read(wanted, read) };
        let text = self.fetch(external, "value")?;
        let value = text.trim().parse().ok();
        if value.is_none() {
            self.wrong(format!("`{}` cannot be \"{}\"", self.key, text.trim()), format!("give {wanted}"));
        }
        value
    }

    /// What a variable or file holds, which is `what`. A missing one is reported once, however many keys name it.
    fn fetch(&self, external: External<'a>, what: &str) -> Option<Zeroizing<String>> {
        let (span, found) = match external {
            External::Env(name) => {
                let name_of = name.get_ref().as_str()?;
                let text = (self.source.environment)(name_of).map(Zeroizing::new).ok_or_else(|| {
                    (
                        format!("the environment has no variable `{name_of}`"),
                        format!("start Narthex with {name_of} set, or give the {what} by {{ file = \"…\" }}"),
                    )
                });
                (name.span(), text.map(|text| (text, name_of.to_owned())))
            }
            External::File(name) => {
                let path = self.source.watched(name.get_ref().as_str()?);
                let place = path.display().to_string();
                let text = read_text(&path, MAX_SMALL_FILE).map(Zeroizing::new).map_err(|error| {
                    (
                        format!("cannot read `{place}`: {error}"),
                        "name a file that Narthex may read".to_owned(),
                    )
                });
                // Editors end a file with a line feed, and some tools add more.
                let text = text.map(|text| Zeroizing::new(text.trim_end().to_owned()));
                (name.span(), text.map(|text| (text, place)))
            }
        };
        match found {
            Ok((text, _)) if !text.is_empty() => Some(text),
            Ok((_, place)) => {
                let message = format!("`{}` is empty: {place} holds nothing", self.key);
                self.is_missing(place, self.value.span(), message, format!("put the {what} there"))
            }
            Err((message, help)) => self.is_missing(message.clone(), span, message, help),
        }
    }

    fn is_missing<T>(&self, what: String, span: Range<usize>, message: String, help: String) -> Option<T> {
        self.source.incomplete.set(true);
        if self.source.missing.borrow_mut().insert(what) {
            self.source.wrong(span, message, help);
        }
        None
    }

    /// The name of one of `known`, of which each is `what`.
    pub fn name_of(&self, what: &str, known: &[String]) -> Option<String> {
        let name = self.string()?;
        if !known.iter().any(|other| other == name) {
            let words: Vec<&str> = known.iter().map(String::as_str).collect();
            let mend = match (nearest(name, &words), words.as_slice()) {
                (Some(near), _) => format!("did you mean \"{near}\"?"),
                (None, []) => format!("the file has none: add a [[{what}]]"),
                (None, words) => format!("the file has {}", words.join(", ")),
            };
            self.wrong_together(format!("no [[{what}]] is named \"{name}\""), mend);
            return None;
        }
        Some(name.to_owned())
    }

    /// A string that `parse` understands.
    pub fn parse<T>(&self, parse: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<T> {
        self.parsed(self.string()?, parse)
    }

    /// The same of a text in which `${…}` has a meaning.
    pub fn parse_template<T>(&self, parse: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<T> {
        self.parsed(self.template()?, parse)
    }

    fn parsed<T>(&self, text: &str, parse: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<T> {
        match parse(text) {
            Ok(value) => Some(value),
            Err((message, mend)) => {
                self.wrong(message, mend);
                None
            }
        }
    }

    /// One of the words of `choices`.
    pub fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        self.parse(|text| {
            choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
                let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                (format!("`{}` cannot be \"{text}\"", self.key), format!("write {}", words.join(" or ")))
            })
        })
    }

    /// A length of time such as `"90s"`, `"15m"`, `"8h"` or `"7d"`.
    pub fn duration(&self) -> Option<Duration> {
        self.parse(parse_duration)
    }

    /// The path of a file to be read, taken from the file's own folder where it is relative. Whatever is named so is
    /// watched for changes.
    pub fn path(&self) -> Option<PathBuf> {
        // What such a file holds may be a key, which must not show up as a path in a message.
        if let Some(External::File(_)) = External::of(self.value.get_ref()) {
            self.wrong(
                format!("`{}` is the name of a file already", self.key),
                format!("write {} = \"path\", or {{ env = \"NAME\" }} for a path", self.key),
            );
            return None;
        }
        Some(self.source.watched(self.string()?))
    }

    /// A string, or an array of strings; each as an item of its own.
    pub fn one_or_more(&self) -> Vec<Item<'a>> {
        match self.value.get_ref() {
            DeValue::Array(items) => {
                if items.is_empty() {
                    self.wrong(format!("`{}` is empty", self.key), "name at least one, or remove the key");
                }
                let item = |value| Item { source: self.source, key: self.key.clone(), value };
                items.iter().map(item).collect()
            }
            _ => vec![Item { source: self.source, key: self.key.clone(), value: self.value }],
        }
    }

    /// A list of strings (one string stands for itself).
    pub fn strings(&self) -> Vec<String> {
        self.one_or_more().iter().filter_map(|item| item.string().map(str::to_owned)).collect()
    }

    pub fn table(&self, name: &str) -> Option<Table<'a>> {
        let entries = self.read("a table", DeValue::as_table)?;
        Some(Table::new(self.source, name, self.value.span(), entries))
    }

    /// The tables of an array of tables, `[[name]]`.
    pub fn tables(&self, name: &str) -> Vec<Table<'a>> {
        let wanted = format!("it as {name}");
        let items = self.read(&wanted, DeValue::as_array).map_or(&[][..], |items| &items[..]);
        let table = |value: &'a Spanned<DeValue<'a>>| match value.get_ref().as_table() {
            Some(entries) => Some(Table::new(self.source, name, value.span(), entries)),
            None => {
                let message = format!("`{}` holds {}", self.key, kind(value.get_ref()));
                self.source.wrong(value.span(), message, format!("write {wanted}"));
                None
            }
        };
        items.iter().filter_map(table).collect()
    }

    /// A secret: the string itself, `{ env = "NAME" }` or `{ file = "path" }`.
    pub fn secret(&self) -> Option<Secret> {
        if let Some(external) = External::of(self.value.get_ref()) {
            return self.fetch(external, "secret").map(|text| Secret::new(&*text));
        }
        if self.value.get_ref().is_str() {
            let text = self.string()?;
            if text.is_empty() {
                self.wrong(
                    format!("`{}` is empty: the string holds nothing", self.key),
                    "put the secret there",
                );
                return None;
            }
            return Some(Secret::new(text));
        }
        let wanted = "the string itself, { env = \"NAME\" } or { file = \"path\" }";
        let entries = self.read(wanted, DeValue::as_table)?;
        let table = Table::new(self.source, &format!("`{}`", self.key), self.value.span(), entries);
        let sources = [table.get("env"), table.get("file")];
        table.finish();
        if sources.iter().flatten().count() != 1 {
            self.wrong(format!("`{}` names no source", self.key), format!("write {wanted}"));
        }
        None
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// The known word that `name` was probably meant to be.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let limit = 1 + name.chars().count() / 4;
    known
        .iter()
        .map(|word| (strsim::damerau_levenshtein(name, word), *word))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, word)| word)
}

/// Reads a length of time such as `"90s"`, `"15m"`, `"8h"` or `"7d"`.
///
/// # Errors
/// The mistake and its remedy.
pub fn parse_duration(text: &str) -> Result<Duration, Wrong> {
    let wrong = || {
        (
            format!("\"{text}\" is not a length of time"),
            "write a number and a unit: \"90s\", \"15m\", \"8h\" or \"7d\"".to_owned(),
        )
    };
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(at);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let total = number.checked_mul(seconds).filter(|total| (1..=315_360_000).contains(total));
    total.map(Duration::from_secs).ok_or_else(|| {
        (format!("\"{text}\" is out of bounds"), "choose between \"1s\" and \"3650d\"".to_owned())
    })
}
