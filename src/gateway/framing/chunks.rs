//! The chunked transfer coding of a request (RFC 9112, section 7.1), checked as its bytes arrive.
//! The HTTP parser after this check reads an empty size as the last chunk, and accepts any byte in
//! an extension.

use crate::gateway::framing::FramingError;

/// The maximum number of digits of a chunk's size.
const MAX_SIZE_DIGITS: u8 = 15;
/// The limit on the bytes of one chunk's extensions, and of the trailer section.
const MAX_EXTENSION_BYTES: u16 = 4 * 1024;

/// The part of the body to which the next byte belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// The size.
    #[default]
    Size,
    /// The extensions after the size.
    Extension,
    /// The LF that ends the size's line.
    SizeEnd,
    /// The data, with the number of remaining bytes.
    Data(u64),
    /// The CR after the data.
    DataEnd,
    /// The LF after that CR.
    DataLineFeed,
    /// The beginning of a line of the trailer section.
    TrailerStart,
    /// The rest of such a line.
    Trailer,
    /// The LF that ends such a line.
    TrailerEnd,
    /// The LF that ends the body.
    LastLineFeed,
}

/// An incremental checker of a chunked body.
#[derive(Debug, Default)]
pub struct ChunkReader {
    part: Part,
    size: u64,
    digits: u8,
    /// The number of bytes in this chunk's extensions, or in the trailer section.
    extension: u16,
}

impl ChunkReader {
    /// Checks the next bytes. If they contain the end of the body, returns how many of them belong
    /// to it.
    ///
    /// # Errors
    /// [`FramingError::Chunk`], if the coding is malformed.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<usize>, FramingError> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if let Part::Data(left) = self.part {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                at += here;
                let left = left - here as u64;
                self.part = if left == 0 { Part::DataEnd } else { Part::Data(left) };
                continue;
            }
            at += 1;
            if self.part == Part::LastLineFeed && byte == b'\n' {
                return Ok(Some(at));
            }
            self.part = self.next(byte).ok_or(FramingError::Chunk)?;
        }
        Ok(None)
    }

    /// Returns the part after `byte`; `None` if `byte` is not allowed here.
    fn next(&mut self, byte: u8) -> Option<Part> {
        match (self.part, byte) {
            (Part::Size, _) if byte.is_ascii_hexdigit() && self.digits < MAX_SIZE_DIGITS => {
                self.digits += 1;
                self.size = self.size << 4 | u64::from(char::from(byte).to_digit(16)?);
                Some(Part::Size)
            }
            (Part::Size, b'\r') if self.digits > 0 => Some(Part::SizeEnd),
            (Part::Size, b';') if self.digits > 0 => Some(Part::Extension),
            (Part::Extension, b'\r') => Some(Part::SizeEnd),
            (Part::Extension, _) => self.is_text(byte).then_some(Part::Extension),
            (Part::SizeEnd, b'\n') => {
                let size = self.size;
                (self.size, self.digits, self.extension) = (0, 0, 0);
                Some(if size == 0 { Part::TrailerStart } else { Part::Data(size) })
            }
            (Part::DataEnd, b'\r') => Some(Part::DataLineFeed),
            (Part::DataLineFeed, b'\n') => Some(Part::Size),
            (Part::TrailerStart, b'\r') => Some(Part::LastLineFeed),
            // RFC 9112, section 5.2: no line folding.
            (Part::TrailerStart, b' ' | b'\t') => None,
            (Part::Trailer, b'\r') => Some(Part::TrailerEnd),
            (Part::TrailerStart | Part::Trailer, _) => self.is_text(byte).then_some(Part::Trailer),
            (Part::TrailerEnd, b'\n') => Some(Part::TrailerStart),
            _ => None,
        }
    }

    fn is_text(&mut self, byte: u8) -> bool {
        self.extension += 1;
        self.extension <= MAX_EXTENSION_BYTES && (byte == b'\t' || !byte.is_ascii_control())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `body` at once, and in each possible pair of pieces.
    fn read(body: &[u8]) -> Result<Option<usize>, FramingError> {
        let whole = ChunkReader::default().read(body);
        for at in 0..=body.len() {
            let mut reader = ChunkReader::default();
            let first = reader.read(&body[..at]);
            let second = match first {
                Ok(None) => reader.read(&body[at..]).map(|end| end.map(|end| at + end)),
                ended => ended,
            };
            assert_eq!(second, whole, "{:?}", body.escape_ascii());
        }
        whole
    }

    #[test]
    fn a_body_ends_behind_its_last_chunk_and_its_trailers() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "00005;a=b;c=\"d e\"\r\nhello\r\nA\r\n0123456789\r\n000\r\n\r\n",
            "0;x\r\nX: y\r\nZ: a b\r\n\r\n",
        ] {
            assert_eq!(read(body.as_bytes()), Ok(Some(body.len())), "{body:?}");
            assert_eq!(read(format!("{body}GET /").as_bytes()), Ok(Some(body.len())), "{body:?}");
            assert_eq!(read(&body.as_bytes()[..body.len() - 1]), Ok(None), "{body:?}");
        }
    }

    #[test]
    fn what_parsers_read_differently_is_refused() {
        for body in [
            "\r\n\r\n",
            "\r\nhello",
            ";a\r\n",
            "5\nhello\r\n",
            "5;a\nb\r\nhello\r\n",
            "5;a\rb\r\nhello\r\n",
            "5;a\0\r\nhello\r\n",
            "5 \r\nhello\r\n",
            " 5\r\nhello\r\n",
            "+5\r\nhello\r\n",
            "-5\r\nhello\r\n",
            "0x5\r\nhello\r\n",
            "5,5\r\nhello\r\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhello\r0\r\n\r\n",
            "1000000000000000\r\n",
            "0\r\n\n",
            "0\r\nX: y\n\r\n",
            "0\r\nX: y\r\r\n",
            "0\r\n X: y\r\n\r\n",
            "0\n\r\n",
        ] {
            assert_eq!(read(body.as_bytes()), Err(FramingError::Chunk), "{body:?}");
        }
        assert_eq!(read(format!("5;{}", "a".repeat(5000)).as_bytes()), Err(FramingError::Chunk));
    }
}
