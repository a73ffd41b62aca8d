//! Errors in the configuration file, each with its position and the remedy.

use std::fmt;
use std::ops::Range;

/// An error in the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The line of the file, with secrets redacted.
    pub text: String,
    /// The number of characters to mark, at least 1.
    pub width: usize,
    /// The error.
    pub message: String,
    /// The remedy.
    pub help: String,
}

impl Diagnostic {
    pub(super) fn at(source: &str, span: Range<usize>, message: String, help: String) -> Self {
        let start = char_boundary(source, span.start);
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
        let end = char_boundary(source, span.end).clamp(start, line_end);
        Self {
            line: source[..start].matches('\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
            text: redact(&source[..line_start], source[line_start..line_end].trim_end_matches('\r')),
            width: source[start..end].chars().count().max(1),
            message,
            help,
        }
    }
}

/// The keys whose values are secrets.
const SECRET_KEYS: [&str; 5] = ["client_secret", "master_key", "password", "private_key", "secret"];

/// Masks secrets, and passwords in URLs, in a line, because diagnostics are printed and logged.
/// `before` is the text before the line.
fn redact(before: &str, line: &str) -> String {
    // A line inside a multi-line string has no key that classifies it, so the whole line is masked.
    if [r#"""""#, "'''"].iter().any(|quotes| before.matches(quotes).count() % 2 == 1) {
        return line.chars().map(mask).collect();
    }
    let url = line.contains("://") && line.contains('@');
    match line.find(['"', '\'']).filter(|at| url || (has_secret_key(line) && !is_external(&line[..*at]))) {
        // Each character is replaced by one character, so that the marker below stays in place.
        Some(at) => line.char_indices().map(|(i, c)| if i > at { mask(c) } else { c }).collect(),
        None => line.to_owned(),
    }
}

fn mask(c: char) -> char {
    if matches!(c, '"' | '\'' | '\t') { c } else { '•' }
}

/// Returns whether a word of the line is the key of a secret, or a misspelling of such a key.
fn has_secret_key(line: &str) -> bool {
    let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
    let secret = |word: &str| {
        let near = |key: &&str| strsim::damerau_levenshtein(word, key) <= 1 + key.len() / 6;
        SECRET_KEYS.iter().any(near) || SECRET_KEYS.iter().any(|key| word.contains(key))
    };
    words.filter(|word| word.len() < 64).any(|word| secret(&word.to_ascii_lowercase()))
}

/// Returns whether the text before the first quote begins a table with `env` or `file`, which only
/// names the source of a secret.
fn is_external(before: &str) -> bool {
    let table = before.split_once('{').map_or("", |(_, inside)| inside.trim_start());
    table.starts_with("env") || table.starts_with("file")
}

fn char_boundary(source: &str, mut at: usize) -> usize {
    at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The errors of one file, ordered by position.
#[derive(Debug)]
pub struct Diagnostics {
    /// The file's name, as given.
    pub file: String,
    /// The errors, at least one.
    pub diagnostics: Vec<Diagnostic>,
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.diagnostics.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            let Diagnostic { line, column, text, width, message, help } = diagnostic;
            let number = line.to_string();
            let gutter = " ".repeat(number.len());
            // Tabs are kept, so that the marker is in the right column.
            let indent: String =
                text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            writeln!(f, "{}:{line}:{column}: {message}", self.file)?;
            writeln!(f, "  {number} | {text}")?;
            writeln!(f, "  {gutter} | {indent}{}", "^".repeat(*width))?;
            write!(f, "  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_redacted_in_every_notation() {
        for line in [
            r#"client_secret = "hunter2 2""#,
            "client_secret = 'hunter2 2'",
            r#"clientsecret = "hunter2 2""#,
            r#"client_secert = "hunter2 2""#,
            r#"secret = "hunter2 2""#,
            r#"master_key="hunter2 2" # "env""#,
            r#"master-key = "hunter2 2""#,
            r#"private_key = "hunter2 2"#,
            r#""client_secret" = "hunter2 2""#,
            r#"provider = [{ type = "oidc", client_secret = "hunter2 2" }]"#,
            "url = 'postgres://narthex:hunter2 2@db/narthex'",
        ] {
            let shown = redact("", line);
            assert!(!shown.contains("hunter2") && shown.chars().count() == line.chars().count(), "{shown}");
        }
        let key = "private_key = \"\"\"\n-----BEGIN\nhunter2";
        let at = key.find("hunter2").unwrap();
        let diagnostic = Diagnostic::at(key, at..at + 1, String::new(), String::new());
        assert_eq!((diagnostic.line, diagnostic.column, diagnostic.text.as_str()), (3, 1, "•••••••"));
    }

    #[test]
    fn other_values_are_shown() {
        for line in [
            r#"client_secret = { env = "IDP_CLIENT_SECRET" }"#,
            r#"master_key = { file = "/run/secrets/key" }"#,
            r#"host = "app.example.com""#,
            r#"client_id = "narthex""#,
            r#"key_id = "ABC""#,
            "[[provider]]",
        ] {
            assert_eq!(redact("", line), line);
        }
    }
}
