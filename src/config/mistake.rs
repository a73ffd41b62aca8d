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
            text: discreet(source[line_start..line_end].trim_end_matches('\r')),
            width: source[start..end].chars().count().max(1),
            message,
            mend,
        }
    }
}

/// The line as it may be shown: mistakes go to terminals and logs, where neither a secret nor the
/// password in a URL must go.
fn discreet(line: &str) -> String {
    let named = line.contains("client_secret") || line.contains("master_key");
    let url = line.contains("://") && line.contains('@');
    // A table that names where the secret is holds none itself.
    let table = line.split_once('{').map_or("", |(_, inside)| inside.trim_start());
    let elsewhere = table.starts_with("env") || table.starts_with("file");
    match line.find('"').filter(|_| url || (named && !elsewhere)) {
        // Letter by letter, so that the marker below still stands right.
        Some(at) => line.char_indices().map(|(i, c)| if i > at && c != '"' { '•' } else { c }).collect(),
        None => line.to_owned(),
    }
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
