//! A value of the file, and the functions that read values of each kind.

use super::external::{External, placeholder};
use super::key::{Key, Section};
use super::reader::{Invalid, Source, Table, nearest};
use super::types::TEXT;
use crate::base::{Duration, MAX_SMALL_FILE, Secret, read_text};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::DeValue;
use zeroize::Zeroizing;

/// The keys of a table that names the source of a secret.
const EXTERNAL: Section = Section { header: "a value outside of the file", about: "", keys: &[&ENV, &FILE] };
const ENV: Key<String> = Key::new("env", TEXT, "Environment variable with the value.");
const FILE: Key<String> = Key::new("file", TEXT, "File with the value.");

/// A value with its key and its position in the file.
pub(super) struct Item<'a> {
    source: &'a Source<'a>,
    pub key: String,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Item<'a> {
    pub fn new(source: &'a Source<'a>, key: String, value: &'a Spanned<DeValue<'a>>) -> Self {
        Self { source, key, value }
    }

    /// Reports an error in this value.
    pub fn report(&self, message: impl Into<String>, help: impl Into<String>) {
        self.source.report(self.value.span(), message, help);
    }

    /// Reports an error that may only follow from a missing value. Nothing is reported if a value
    /// is missing.
    pub fn report_conflict(&self, message: impl Into<String>, help: impl Into<String>) {
        if !self.source.incomplete.get() {
            self.report(message, help);
        }
    }

    /// Returns the result of `read`. Reports a wrong type if it returns `None`.
    fn read<T>(&self, wanted: &str, read: impl FnOnce(&'a DeValue<'a>) -> Option<T>) -> Option<T> {
        let value = read(self.value.get_ref());
        if value.is_none() {
            let found = type_name(self.value.get_ref());
            self.report(format!("`{}` is {found}", self.key), format!("write {wanted}"));
        }
        value
    }

    /// Returns whether the value is a string, or names a variable or file that contains one.
    pub fn is_string(&self) -> bool {
        self.value.get_ref().is_str() || External::of(self.value.get_ref()).is_some()
    }

    /// Returns whether the string is in the file itself.
    pub fn is_literal(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// Reads a string: the string itself, `{ env = "NAME" }` or `{ file = "path" }`.
    pub fn string(&self) -> Option<&'a str> {
        let text = self.template()?;
        match self.value.get_ref().as_str().and_then(placeholder) {
            Some(name) => {
                self.report(
                    format!("`{}` holds `${{{name}}}`, which is not replaced", self.key),
                    format!("write {} = {{ env = \"{name}\" }} for the whole value", self.key),
                );
                None
            }
            None => Some(text),
        }
    }

    /// Reads a string that may contain `${…}`.
    pub fn template(&self) -> Option<&'a str> {
        if let Some(external) = External::of(self.value.get_ref()) {
            let text = self.fetch(external, "value")?;
            return Some(self.source.texts.alloc_str(&text));
        }
        self.read("a string in quotes, { env = \"NAME\" } or { file = \"path\" }", DeValue::as_str)
    }

    /// Reads `true` or `false`.
    pub fn boolean(&self) -> Option<bool> {
        self.unquoted("true or false, without quotes", DeValue::as_bool)
    }

    /// Reads an integer, at least 1.
    pub fn count(&self) -> Option<usize> {
        let read = |value: &'a DeValue<'a>| value.as_integer()?.to_string().parse().ok();
        self.unquoted("a whole number, at least 1", read).map(NonZeroUsize::get)
    }

    /// Reads an integer, at least 0.
    pub fn integer(&self) -> Option<u32> {
        self.unquoted("a whole number, at least 0", |value| value.as_integer()?.to_string().parse().ok())
    }

    /// Reads a value without quotes, or from a variable or file.
    fn unquoted<T: std::str::FromStr>(
        &self,
        wanted: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Option<T>,
    ) -> Option<T> {
        let Some(external) = External::of(self.value.get_ref()) else { return self.read(wanted, read) };
        let text = self.fetch(external, "value")?;
        let value = text.trim().parse().ok();
        if value.is_none() {
            self.report(format!("`{}` cannot be {external}", self.key), format!("give {wanted}"));
        }
        value
    }

    /// Reads a variable or file whose content is `what`. A missing one is reported once, even if
    /// several keys name it.
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
                let path = self.source.watch(name.get_ref().as_str()?);
                let file = path.display().to_string();
                let text = read_text(&path, MAX_SMALL_FILE).map(Zeroizing::new).map_err(|error| {
                    (format!("cannot read `{file}`: {error}"), "name a file that Narthex may read".to_owned())
                });
                // Editors end a file with a line feed, and some tools add several.
                let text = text.map(|text| Zeroizing::new(text.trim_end().to_owned()));
                (name.span(), text.map(|text| (text, file)))
            }
        };
        match found {
            Ok((text, _)) if !text.is_empty() => {
                self.source.external.add(&text, external.to_string());
                Some(text)
            }
            Ok((_, origin)) => {
                let message = format!("`{}` is empty: {origin} has no content", self.key);
                self.report_missing(origin, self.value.span(), message, format!("put the {what} there"))
            }
            Err((message, help)) => self.report_missing(message.clone(), span, message, help),
        }
    }

    fn report_missing<T>(
        &self,
        what: String,
        span: Range<usize>,
        message: String,
        help: String,
    ) -> Option<T> {
        self.source.incomplete.set(true);
        if self.source.missing.borrow_mut().insert(what) {
            self.source.report(span, message, help);
        }
        None
    }

    /// Reads a name that must be in `known`: the names of the tables `[[what]]`.
    pub fn name_of(&self, what: &str, known: &[String]) -> Option<String> {
        let name = self.string()?;
        if !known.iter().any(|other| other == name) {
            let words: Vec<&str> = known.iter().map(String::as_str).collect();
            let help = match (nearest(name, &words), words.as_slice()) {
                (Some(near), _) => format!("did you mean \"{near}\"?"),
                (None, []) => format!("the file has none: add a [[{what}]]"),
                (None, words) => format!("the file has {}", words.join(", ")),
            };
            self.report_conflict(format!("no [[{what}]] is named \"{name}\""), help);
            return None;
        }
        Some(name.to_owned())
    }

    /// Reads a string and parses it with `parse`.
    pub fn parse<T>(&self, parse: impl FnOnce(&str) -> Result<T, Invalid>) -> Option<T> {
        self.parsed(self.string()?, parse)
    }

    /// Reads a string in which `${…}` has a meaning, and parses it with `parse`. A value outside of
    /// the file is never such a template; other functions read it.
    pub fn parse_template<T>(&self, parse: impl FnOnce(&str) -> Result<T, Invalid>) -> Option<T> {
        debug_assert!(self.is_literal(), "`{}` is not in the file", self.key);
        self.parsed(self.template()?, parse)
    }

    fn parsed<T>(&self, text: &str, parse: impl FnOnce(&str) -> Result<T, Invalid>) -> Option<T> {
        match parse(text) {
            Ok(value) => Some(value),
            Err((message, help)) => {
                let message = match External::of(self.value.get_ref()) {
                    Some(external) => self.external_message(external, text, &message),
                    None => message,
                };
                self.report(message, help);
                None
            }
        }
    }

    /// Returns `message` with the value of `external` replaced by its source. Returns a general
    /// message if `message` may contain a part of the value.
    fn external_message(&self, external: External<'_>, text: &str, message: &str) -> String {
        match message.strip_prefix(&format!("\"{text}\" ")) {
            Some(rest) => format!("{external} {rest}"),
            None => format!("`{}` cannot be {external}", self.key),
        }
    }

    /// Reads one of the words in `choices`.
    pub fn choice<T: Clone>(&self, choices: &[(&str, T)]) -> Option<T> {
        self.parse(|text| {
            choices.iter().find(|(word, _)| *word == text).map(|(_, value)| value.clone()).ok_or_else(|| {
                let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                (format!("`{}` cannot be \"{text}\"", self.key), format!("write {}", words.join(" or ")))
            })
        })
    }

    /// Reads a duration such as `"90s"`, `"15m"`, `"8h"` or `"7d"`.
    pub fn duration(&self) -> Option<Duration> {
        self.parse(parse_duration)
    }

    /// Reads the path of an input file, relative to the configuration's folder. Adds the file to
    /// those that are watched for changes.
    pub fn path(&self) -> Option<PathBuf> {
        // The content of the named file may be a private key, which must not appear as a path in a
        // message.
        if let Some(External::File(_)) = External::of(self.value.get_ref()) {
            self.report(
                format!("`{}` is the name of a file already", self.key),
                format!("write {} = \"path\", or {{ env = \"NAME\" }} for a path", self.key),
            );
            return None;
        }
        Some(self.source.watch(self.string()?))
    }

    /// Reads the path of an output file or folder, relative to the configuration's folder.
    pub fn output_path(&self) -> Option<PathBuf> {
        Some(self.source.folder.join(self.string()?))
    }

    /// Returns the values of an array, or the single value.
    pub fn one_or_more(&self) -> Vec<Item<'a>> {
        match self.value.get_ref() {
            DeValue::Array(items) => {
                if items.is_empty() {
                    self.report(format!("`{}` is empty", self.key), "name at least one, or remove the key");
                }
                let item = |value| Item { source: self.source, key: self.key.clone(), value };
                items.iter().map(item).collect()
            }
            _ => vec![Item { source: self.source, key: self.key.clone(), value: self.value }],
        }
    }

    /// Reads each value of an array, or the single value.
    pub fn list<T>(&self, read: impl FnMut(&Item<'a>) -> Option<T>) -> Vec<T> {
        self.one_or_more().iter().filter_map(read).collect()
    }

    /// Reads a string or an array of strings.
    pub fn strings(&self) -> Vec<String> {
        self.list(|item| item.string().map(str::to_owned))
    }

    /// Returns the values of a table with arbitrary keys.
    pub fn entries(&self) -> Vec<Item<'a>> {
        let table = self.read("a table", DeValue::as_table);
        let item = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let key = AsRef::<std::borrow::Cow<'a, str>>::as_ref(key).to_string();
            Item { source: self.source, key, value }
        };
        table.into_iter().flatten().map(item).collect()
    }

    /// Returns the table, which has the keys of `section`.
    pub fn table(&self, section: &'static Section) -> Option<Table<'a>> {
        let entries = self.read("a table", DeValue::as_table)?;
        Some(Table::new(self.source, section, self.value.span(), entries))
    }

    /// Returns the tables of an array of tables, which have the keys of `section`.
    pub fn tables(&self, section: &'static Section) -> Vec<Table<'a>> {
        let wanted = format!("it as {}", section.header);
        let items = self.read(&wanted, DeValue::as_array).map_or(&[][..], |items| &items[..]);
        let table = |value: &'a Spanned<DeValue<'a>>| match value.get_ref().as_table() {
            Some(entries) => Some(Table::new(self.source, section, value.span(), entries)),
            None => {
                let message = format!("`{}` contains {}", self.key, type_name(value.get_ref()));
                self.source.report(value.span(), message, format!("write {wanted}"));
                None
            }
        };
        items.iter().filter_map(table).collect()
    }

    /// Reads a secret: the string itself, `{ env = "NAME" }` or `{ file = "path" }`.
    pub fn secret(&self) -> Option<Secret> {
        if let Some(external) = External::of(self.value.get_ref()) {
            return self.fetch(external, "secret").map(|text| Secret::new(&*text));
        }
        if self.value.get_ref().is_str() {
            let text = self.string()?;
            if text.is_empty() {
                self.report(
                    format!("`{}` is empty: the string has no content", self.key),
                    "put the secret there",
                );
                return None;
            }
            return Some(Secret::new(text));
        }
        let wanted = "the string itself, { env = \"NAME\" } or { file = \"path\" }";
        let entries = self.read(wanted, DeValue::as_table)?;
        let table = Table::new(self.source, &EXTERNAL, self.value.span(), entries);
        let table = table.named(format!("`{}`", self.key));
        let sources = [table.get(&ENV), table.get(&FILE)];
        table.finish();
        if sources.iter().flatten().count() != 1 {
            self.report(format!("`{}` names no source", self.key), format!("write {wanted}"));
        }
        None
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// Reads a duration such as `"90s"`, `"15m"`, `"8h"` or `"7d"`.
///
/// # Errors
/// Returns a message about the error, and the remedy.
pub fn parse_duration(text: &str) -> Result<Duration, Invalid> {
    let invalid = || {
        (
            format!("\"{text}\" is not a duration"),
            "write a number and a unit: \"90s\", \"15m\", \"8h\" or \"7d\"".to_owned(),
        )
    };
    let at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
    let (number, unit) = text.split_at(at);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(invalid()),
    };
    let number: u64 = number.parse().map_err(|_| invalid())?;
    let total = number.checked_mul(seconds).filter(|total| (1..=315_360_000).contains(total));
    total.map(Duration::from_secs).ok_or_else(|| {
        (format!("\"{text}\" is out of bounds"), "choose between \"1s\" and \"3650d\"".to_owned())
    })
}
