//! Standard error, with deceptive characters in log lines escaped.

use crate::base::escape_deceptive;
use std::io::{self, Write};

/// A writer to `W` that escapes deceptive non-ASCII characters of log lines in JSON notation. The
/// formatter has already escaped ASCII ones.
pub struct LogWriter<W>(W);

/// Returns the writer of one log line.
pub fn stderr() -> LogWriter<io::Stderr> {
    LogWriter(io::stderr())
}

impl<W: Write> Write for LogWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.write_all(line).map(|()| line.len())
    }

    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        match std::str::from_utf8(line) {
            Ok(text) if !text.is_ascii() => {
                self.0.write_all(escape_deceptive(text, |c| c.is_ascii()).as_bytes())
            }
            _ => self.0.write_all(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::is_deceptive;

    #[test]
    fn characters_that_disguise_a_line_are_escaped_and_others_are_not() {
        let value = "\u{9b}31m\u{2028}{\"event\":\"login\"}\u{202e}cba\u{200b}\u{feff}";
        let json = serde_json::to_string(value).unwrap();
        let mut written = Vec::new();
        LogWriter(&mut written)
            .write_all(format!("{{\"a\":{json},\"b\":\"é\u{200d}漢\"}}\n").as_bytes())
            .unwrap();
        let written = String::from_utf8(written).unwrap();
        assert!(!written.chars().any(|c| is_deceptive(c) && c != '\n'), "{written}");
        assert!(written.ends_with("\"b\":\"é\u{200d}漢\"}\n"), "{written}");
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read["a"], value);
    }
}
