//! What a wrong file is answered with: where, what, and the mend.

use std::fmt;
use std::ops::Range;

/// One mistake in the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The offending line as it stands in the file.
    pub text: String,
    /// How many characters of it are meant.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub mend: String,
}

impl Mistake {
    pub(super) fn at(source: &str, span: Range<usize>, message: String, mend: String) -> Self {
        let start = floor(source, span.start);
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
        let end = floor(source, span.end).clamp(start, line_end);
        Self {
            line: source[..start].matches('\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
            text: discreet(&source[..line_start], source[line_start..line_end].trim_end_matches('\r')),
            width: source[start..end].chars().count().max(1),
            message,
            mend,
        }
    }
}

/// The keys whose values are secrets.
const SECRET_KEYS: [&str; 4] = ["client_secret", "master_key", "private_key", "secret"];

/// Returns the line as it may be shown: mistakes go to terminals and logs, where neither a secret nor the password in a
/// URL must go. `before` is the text before the line.
fn discreet(before: &str, line: &str) -> String {
    // A line of a string that began on an earlier line has no key that classifies it.
    if [r#"""""#, "'''"].iter().any(|quotes| before.matches(quotes).count() % 2 == 1) {
        return line.chars().map(hidden).collect();
    }
    let url = line.contains("://") && line.contains('@');
    match line.find(['"', '\'']).filter(|at| url || (has_secret_key(line) && !is_elsewhere(&line[..*at]))) {
        // One character for each, so that the marker below still stands right.
        Some(at) => line.char_indices().map(|(i, c)| if i > at { hidden(c) } else { c }).collect(),
        None => line.to_owned(),
    }
}

fn hidden(c: char) -> char {
    if matches!(c, '"' | '\'' | '\t') { c } else { '•' }
}

/// Whether a word of the line is the key of a secret, or was meant to be one.
fn has_secret_key(line: &str) -> bool {
    let words = line.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
    let secret = |word: &str| {
        let near = |key: &&str| strsim::damerau_levenshtein(word, key) <= 1 + key.len() / 6;
        SECRET_KEYS.iter().any(near) || SECRET_KEYS.iter().any(|key| word.contains(key))
    };
    words.filter(|word| word.len() < 64).any(|word| secret(&word.to_ascii_lowercase()))
}

/// Whether what stands before the first quote begins a table that names where the secret is.
fn is_elsewhere(before: &str) -> bool {
    let table = before.split_once('{').map_or("", |(_, inside)| inside.trim_start());
    table.starts_with("env") || table.starts_with("file")
}

fn floor(source: &str, mut at: usize) -> usize {
    at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Every mistake of one file, in the order of the file.
#[derive(Debug)]
pub struct Mistakes {
    /// The file's name as it was given.
    pub file: String,
    /// At least one.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.mistakes.iter().enumerate() {
            if i > 0 {
                f.write_str("\n\n")?;
            }
            let Mistake { line, column, text, width, message, mend } = mistake;
            let number = line.to_string();
            let gutter = " ".repeat(number.len());
            // A tab is kept as it is, so that the marker stands under the right column.
            let indent: String =
                text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            writeln!(f, "{}:{line}:{column}: {message}", self.file)?;
            writeln!(f, "  {number} | {text}")?;
            writeln!(f, "  {gutter} | {indent}{}", "^".repeat(*width))?;
            write!(f, "  mend: {mend}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_however_its_line_is_written() {
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
            let shown = discreet("", line);
            assert!(!shown.contains("hunter2") && shown.chars().count() == line.chars().count(), "{shown}");
        }
        let key = "private_key = \"\"\"\n-----BEGIN\nhunter2";
        let at = key.find("hunter2").unwrap();
        let mistake = Mistake::at(key, at..at + 1, String::new(), String::new());
        assert_eq!((mistake.line, mistake.column, mistake.text.as_str()), (3, 1, "•••••••"));
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        for line in [
            r#"client_secret = { env = "IDP_CLIENT_SECRET" }"#,
            r#"master_key = { file = "/run/secrets/key" }"#,
            r#"host = "app.example.com""#,
            r#"client_id = "narthex""#,
            r#"key_id = "ABC""#,
            "[[provider]]",
        ] {
            assert_eq!(discreet("", line), line);
        }
    }
}
