//! Lines of a file, each with a bound: a line that is too long is skipped and never held in memory.

use memchr::memchr;
use std::io::{self, BufRead, BufReader, Read};

/// Bytes of the buffer before the lines.
const BUFFER: usize = 1 << 16;

/// A line of the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number, from 1.
    pub number: u64,
    /// Its text without the line break.
    pub text: Result<&'a str, LineError>,
}

/// Why a line is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// It has more bytes than allowed.
    TooLong,
    /// It is not UTF-8.
    NotUtf8,
    /// It has a NUL character, which PostgreSQL cannot store.
    Nul,
}

impl LineError {
    /// Returns the reason for a report.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "The line is too long.",
            Self::NotUtf8 => "The line is not UTF-8.",
            Self::Nul => "The line has a NUL character.",
        }
    }
}

/// Reads lines.
pub struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    number: u64,
    bytes: u64,
}

impl<R: Read> Lines<R> {
    /// Reads the lines of `input`.
    pub fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(BUFFER, input), line: Vec::new(), number: 0, bytes: 0 }
    }

    /// Returns the bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the next line, of at most `max` bytes; `None` at the end.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub fn next(&mut self, max: usize) -> io::Result<Option<Line<'_>>> {
        let Some(is_whole) = self.read_line(max)? else { return Ok(None) };
        self.number += 1;
        let text = match (is_whole, std::str::from_utf8(without_return(&self.line))) {
            (false, _) => Err(LineError::TooLong),
            (true, Err(_)) => Err(LineError::NotUtf8),
            (true, Ok(text)) if text.contains('\0') => Err(LineError::Nul),
            (true, Ok(text)) => Ok(text),
        };
        Ok(Some(Line { number: self.number, text }))
    }

    /// Reads a line into the buffer. Returns whether all of it is there, or `None` at the end.
    fn read_line(&mut self, max: usize) -> io::Result<Option<bool>> {
        self.line.clear();
        let (mut is_whole, mut is_begun) = (true, false);
        loop {
            let available = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                available => available?,
            };
            if available.is_empty() {
                return Ok(is_begun.then_some(is_whole));
            }
            is_begun = true;
            let end = memchr(b'\n', available);
            let part = &available[..end.unwrap_or(available.len())];
            is_whole &= self.line.len() + part.len() <= max;
            match is_whole {
                true => self.line.extend_from_slice(part),
                false => self.line.clear(),
            }
            let used = end.map_or(available.len(), |end| end + 1);
            self.input.consume(used);
            self.bytes += used as u64;
            if end.is_some() {
                return Ok(Some(is_whole));
            }
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn all(text: &[u8], max: usize) -> Vec<(u64, Result<String, LineError>)> {
        let read = |mut lines: Lines<Box<dyn Read + '_>>| {
            let mut all = Vec::new();
            while let Some(line) = lines.next(max).unwrap() {
                all.push((line.number, line.text.map(str::to_owned)));
            }
            assert_eq!(lines.bytes(), text.len() as u64);
            all
        };
        let (whole, slow) = (read(Lines::new(Box::new(text))), read(Lines::new(Box::new(Slow(text)))));
        assert_eq!(whole, slow);
        whole
    }

    #[test]
    fn lines_end_by_either_break_or_with_the_file() {
        let text = |text: &str| Ok(text.to_owned());
        assert_eq!(all(b"a\nb\r\n\nc", 9), [(1, text("a")), (2, text("b")), (3, text("")), (4, text("c"))]);
        assert_eq!(all(b"", 9), []);
        assert_eq!(all(b"\n", 9), [(1, text(""))]);
    }

    #[test]
    fn a_bad_line_is_skipped_alone() {
        let lines = all(b"12345\n123456\n\xff\nx\0y\nlast", 5);
        let errors: Vec<_> = lines.iter().map(|(_, line)| line.clone().err()).collect();
        assert_eq!(
            errors,
            [None, Some(LineError::TooLong), Some(LineError::NotUtf8), Some(LineError::Nul), None]
        );
        assert_eq!(lines[4], (5, Ok("last".to_owned())));
    }

    #[test]
    fn an_endless_line_takes_no_memory() {
        let mut lines = Lines::new(io::repeat(b'x').take(1 << 26));
        assert_eq!(lines.next(100).unwrap().unwrap().text, Err(LineError::TooLong));
        assert!(lines.line.capacity() <= 2 * BUFFER, "{}", lines.line.capacity());
        assert!(lines.next(100).unwrap().is_none());
    }
}
