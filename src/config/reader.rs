//! Walking the parsed file. A reader never stops at a mistake: it notes it and goes on, so that
//! one run tells all of them.

use super::files::{FileState, Files};
use super::mistake::Mistake;
use crate::base::{Duration, MAX_SMALL_FILE, Secret, read_text};
use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

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
}

impl Source<'_> {
    pub fn wrong(&self, span: Range<usize>, message: impl Into<String>, mend: impl Into<String>) {
        let mistake = Mistake::at(self.text, span, message.into(), mend.into());
        self.mistakes.borrow_mut().push(mistake);
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

    /// The mistake `message`, told of the table's head.
    pub fn wrong(&self, message: impl Into<String>, mend: impl Into<String>) {
        self.source.wrong(self.span.clone(), message, mend);
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

    /// The value if `read` likes it; its complaint is noted otherwise.
    fn read<T>(&self, wanted: &str, read: impl FnOnce(&'a DeValue<'a>) -> Option<T>) -> Option<T> {
        let value = read(self.value.get_ref());
        if value.is_none() {
            let found = kind(self.value.get_ref());
            self.wrong(format!("`{}` is {found}", self.key), format!("write {wanted}"));
        }
        value
    }

    pub fn is_string(&self) -> bool {
        self.value.get_ref().is_str()
    }

    pub fn string(&self) -> Option<&'a str> {
        self.read("a string in quotes", DeValue::as_str)
    }

    pub fn boolean(&self) -> Option<bool> {
        self.read("true or false, without quotes", DeValue::as_bool)
    }

    /// A whole number of things, at least one.
    pub fn count(&self) -> Option<usize> {
        self.read("a whole number, at least 1", |value| {
            let text = value.as_integer()?.to_string();
            text.parse().ok().filter(|count| *count > 0)
        })
    }

    /// A whole number, which may be none.
    pub fn whole(&self) -> Option<u32> {
        self.read("a whole number, at least 0", |value| value.as_integer()?.to_string().parse().ok())
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
            self.wrong(format!("no [[{what}]] is named \"{name}\""), mend);
            return None;
        }
        Some(name.to_owned())
    }

    /// A string that `parse` understands.
    pub fn parse<T>(&self, parse: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<T> {
        match parse(self.string()?) {
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
        self.parse(|text| {
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
        })
    }

    /// The path of a file to be read, taken from the file's own folder where it is relative. Whatever is named so is
    /// watched for changes.
    pub fn path(&self) -> Option<PathBuf> {
        let path = self.source.folder.join(self.string()?);
        self.source.files.borrow_mut().entry(path.clone()).or_insert_with(|| FileState::of(&path));
        Some(path)
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
        if self.is_string() {
            return self.string().and_then(|text| self.not_empty(text, "the string"));
        }
        let wanted = "the string itself, { env = \"NAME\" } or { file = \"path\" }";
        let entries = self.read(wanted, DeValue::as_table)?;
        let table = Table::new(self.source, &format!("`{}`", self.key), self.value.span(), entries);
        let (env, file) = (table.get("env"), table.get("file"));
        table.finish();
        match (env, file) {
            (Some(env), None) => {
                let name = env.string()?;
                let Some(value) = (self.source.environment)(name) else {
                    env.wrong(
                        format!("the environment has no variable `{name}`"),
                        format!("start Narthex with {name} set, or give the secret by {{ file = \"…\" }}"),
                    );
                    return None;
                };
                self.not_empty(&value, name)
            }
            (None, Some(file)) => {
                let path = file.path()?;
                match read_text(&path, MAX_SMALL_FILE) {
                    Ok(text) => {
                        self.not_empty(text.trim_end_matches(['\r', '\n']), &path.display().to_string())
                    }
                    Err(error) => {
                        file.wrong(
                            format!("cannot read `{}`: {error}", path.display()),
                            "name a file that Narthex may read",
                        );
                        None
                    }
                }
            }
            _ => {
                self.wrong(format!("`{}` names no source", self.key), format!("write {wanted}"));
                None
            }
        }
    }

    fn not_empty(&self, text: &str, place: &str) -> Option<Secret> {
        if text.is_empty() {
            self.wrong(format!("`{}` is empty: {place} holds nothing", self.key), "put the secret there");
            return None;
        }
        Some(Secret::new(text))
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
