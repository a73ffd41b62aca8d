//! The sequence of requests on an HTTP/1.1 connection, and which bytes are a head or a body.

use crate::gateway::framing::chunks::ChunkReader;
use crate::gateway::framing::{Body, FramingError, HeadReader};

/// The position in the framing of the requests on one connection.
#[derive(Debug)]
pub enum MessageReader {
    /// Within a head.
    Head(HeadReader),
    /// Within a body, with the number of remaining bytes.
    Length(u64),
    /// Within a chunked body.
    Chunked(ChunkReader),
    /// After a request, within bytes that were read together with its end. The HTTP parser closes
    /// such a connection.
    Surplus,
}

impl Default for MessageReader {
    fn default() -> Self {
        Self::Head(HeadReader::default())
    }
}

impl MessageReader {
    /// Reads `bytes`: within a head, all bytes of the message so far; within a body, only the new
    /// bytes. Returns whether the bytes may be passed on, which requires a complete head.
    ///
    /// # Errors
    /// The first ambiguity.
    pub fn read(&mut self, bytes: &[u8]) -> Result<bool, FramingError> {
        let mut rest = bytes;
        if let Self::Head(reader) = self {
            let Some(head) = reader.read(bytes)? else { return Ok(false) };
            rest = &bytes[head.bytes..];
            *self = match head.body {
                Body::Length(length) => Self::Length(length),
                Body::Chunked => Self::Chunked(ChunkReader::default()),
            };
        }
        let end = match self {
            Self::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *left -= here as u64;
                (*left == 0).then_some(here)
            }
            Self::Chunked(reader) => reader.read(rest)?,
            Self::Head(_) | Self::Surplus => None,
        };
        if let Some(end) = end {
            *self = if end == rest.len() { Self::default() } else { Self::Surplus };
        }
        Ok(true)
    }

    /// Returns whether the reader is within a head.
    pub fn in_head(&self) -> bool {
        matches!(self, Self::Head(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_follow_one_another() {
        let mut reader = MessageReader::default();
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(reader.read(&head[..20]), Ok(false));
        assert_eq!(reader.read(head), Ok(true));
        assert!(!reader.in_head());
        assert_eq!(reader.read(b"hel"), Ok(true));
        assert_eq!(reader.read(b"lo"), Ok(true));
        assert!(reader.in_head());
        let chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel";
        assert_eq!(reader.read(chunked), Ok(true));
        assert_eq!(reader.read(b"lo\r\n0\r\n\r\n"), Ok(true));
        assert!(reader.in_head());
        assert_eq!(reader.read(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"), Ok(true));
        assert!(matches!(reader, MessageReader::Surplus));
    }

    #[test]
    fn a_head_and_a_malformed_body_behind_it_are_refused_together() {
        let text = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n";
        assert_eq!(MessageReader::default().read(text), Err(FramingError::Chunk));
    }
}
