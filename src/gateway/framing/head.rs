//! HTTP/1.1 message heads, and the framing of message bodies (RFC 9112, sections 2, 3, 5, 6 and
//! 11.2). A message that two parsers could read differently is refused.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use pingora_http::ResponseHeader;

/// The maximum size of a request's head in bytes. Upstreams commonly accept 8 KB to 64 KB.
pub const MAX_HEAD_BYTES: usize = 48 * 1024;

/// The reason for which a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingError {
    /// A line ends with a bare LF.
    BareLineFeed,
    /// The request line is not a method, a target and a version, separated by one space each.
    RequestLine,
    /// A header continues on the next line (obs-fold).
    ObsFold,
    /// There is more than one Content-Length, or it is not a plain number.
    DuplicateContentLength,
    /// Both Content-Length and Transfer-Encoding are present.
    LengthAndEncoding,
    /// There is more than one Host, or none.
    InvalidHostCount,
    /// There is more than one Transfer-Encoding, or it is not `chunked`.
    UnsupportedTransferEncoding,
    /// Transfer-Encoding in an HTTP/1.0 message.
    TransferEncodingInHttp10,
    /// A chunk's size, extension or end, or the trailer section, is malformed.
    Chunk,
    /// The head has more than [`MAX_HEAD_BYTES`].
    HeadTooLarge,
    /// The HTTP parser refused the head.
    Malformed,
}

/// The framing of a message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The body has this many bytes.
    Length(u64),
    /// The body ends after the last chunk.
    Chunked,
}

/// A complete head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The size of the head in bytes, including the empty line at its end.
    pub bytes: usize,
    /// The framing of the body.
    pub body: Body,
}

/// An incremental reader of a request's head, which reads no byte twice.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// The offset of the first incomplete line.
    line: usize,
    /// The offset up to which the bytes were searched for a line feed.
    searched: usize,
    in_fields: bool,
    http10: bool,
    length: Option<u64>,
    chunked: bool,
    hosts: u8,
}

impl HeadReader {
    /// Reads the new bytes of `bytes`, which contain the message from its beginning. Returns `None`
    /// while the head is incomplete.
    ///
    /// # Errors
    /// The first ambiguity.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<Head>, FramingError> {
        while let Some(at) = memchr::memchr(b'\n', &bytes[self.searched..]) {
            let end = self.searched + at + 1;
            // RFC 9112, section 2.2: a recipient MAY accept a bare LF as the end of a line. An
            // upstream may not.
            let line = bytes[self.line..end - 1].strip_suffix(b"\r").ok_or(FramingError::BareLineFeed)?;
            (self.line, self.searched) = (end, end);
            match (self.in_fields, line.is_empty()) {
                (true, true) => {
                    let body = self.body()?;
                    return if end > MAX_HEAD_BYTES {
                        Err(FramingError::HeadTooLarge)
                    } else {
                        Ok(Some(Head { bytes: end, body }))
                    };
                }
                (true, false) => self.field(line)?,
                // RFC 9112, section 2.2: a server "SHOULD ignore at least one empty line (CRLF)
                // received prior to the request-line".
                (false, true) => {}
                (false, false) => self.request_line(line)?,
            }
        }
        self.searched = bytes.len();
        if bytes.len() > MAX_HEAD_BYTES { Err(FramingError::HeadTooLarge) } else { Ok(None) }
    }

    /// Reads the request line. RFC 9112, section 3: "No whitespace is allowed in the
    /// request-target", and section 3.2: a recipient "SHOULD NOT attempt to autocorrect" an invalid
    /// request line.
    fn request_line(&mut self, line: &[u8]) -> Result<(), FramingError> {
        let mut parts = line.split(|byte| *byte == b' ');
        let parts = (parts.next(), parts.next(), parts.next(), parts.next());
        let (Some(method), Some(target), Some(version), None) = parts else {
            return Err(FramingError::RequestLine);
        };
        // A target has no fragment (RFC 9112, section 3.2); the parser would drop it.
        let plain = |byte: &u8| *byte > b' ' && *byte != 0x7f && *byte != b'#';
        if method.is_empty() || target.is_empty() || !target.iter().all(plain) {
            return Err(FramingError::RequestLine);
        }
        self.http10 = version == b"HTTP/1.0";
        self.in_fields = true;
        if self.http10 || version == b"HTTP/1.1" { Ok(()) } else { Err(FramingError::RequestLine) }
    }

    fn field(&mut self, line: &[u8]) -> Result<(), FramingError> {
        match line[0] {
            // RFC 9112, section 5.2: "A server that receives an obs-fold in a request message …
            // MUST either reject the message … or replace each received obs-fold".
            b' ' | b'\t' => return Err(FramingError::ObsFold),
            b'h' | b'H' if value(line, b"host").is_some() => self.hosts = self.hosts.saturating_add(1),
            b'c' | b'C' => {
                if let Some(text) = value(line, b"content-length") {
                    let length = number(text).filter(|_| self.length.is_none());
                    self.length = Some(length.ok_or(FramingError::DuplicateContentLength)?);
                }
            }
            b't' | b'T' => {
                if let Some(text) = value(line, b"transfer-encoding") {
                    if self.chunked || !text.eq_ignore_ascii_case(b"chunked") {
                        return Err(FramingError::UnsupportedTransferEncoding);
                    }
                    self.chunked = true;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn body(&self) -> Result<Body, FramingError> {
        // RFC 9112, section 6.3: such a message "ought to be handled as an error".
        if self.chunked && self.length.is_some() {
            return Err(FramingError::LengthAndEncoding);
        }
        // RFC 9112, section 6.1: a server "MUST treat the message as if the framing is faulty" if
        // an HTTP/1.0 message has a Transfer-Encoding.
        if self.chunked && self.http10 {
            return Err(FramingError::TransferEncodingInHttp10);
        }
        // RFC 9112, section 3.2: 400 for "any HTTP/1.1 request message that lacks a Host header
        // field and … any request message that contains more than one Host header field line".
        if self.hosts != 1 && !(self.http10 && self.hosts == 0) {
            return Err(FramingError::InvalidHostCount);
        }
        Ok(if self.chunked { Body::Chunked } else { Body::Length(self.length.unwrap_or(0)) })
    }
}

/// Returns the value of the field line if its name is `name`. White space before the colon is
/// skipped, although the HTTP parser later refuses such a line. A duplicate with such white space
/// is thus detected here.
fn value<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    let rest = line.get(name.len()..).filter(|_| line[..name.len()].eq_ignore_ascii_case(name))?;
    let value = rest.trim_ascii_start().strip_prefix(b":")?;
    Some(value.trim_ascii())
}

/// Parses a Content-Length. RFC 9110, section 8.6: `Content-Length = 1*DIGIT`. A list, which a
/// recipient may reduce to one value, is refused.
fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// Returns the Content-Length of a parsed message. HTTP/2 messages do not pass through
/// [`HeadReader`].
///
/// # Errors
/// [`FramingError::DuplicateContentLength`], if there is more than one, or it is not a plain
/// number.
pub fn length(headers: &HeaderMap) -> Result<Option<u64>, FramingError> {
    let mut all = headers.get_all(CONTENT_LENGTH).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(length), None) => {
            number(length.as_bytes()).map(Some).ok_or(FramingError::DuplicateContentLength)
        }
        (Some(_), Some(_)) => Err(FramingError::DuplicateContentLength),
    }
}

/// Returns whether a value begins or ends with white space. RFC 9113, section 8.2.1: "A field value
/// MUST NOT start or end with an ASCII whitespace character (ASCII SP or HTAB)". HTTP/2 passes such
/// a value on, and an HTTP/1.1 server trims it.
pub fn has_outer_white_space(headers: &HeaderMap) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    headers.values().map(HeaderValue::as_bytes).any(|value| is_space(value.first()) || is_space(value.last()))
}

/// Checks the head of an upstream's HTTP/1.x response. Returns whether its connection may carry
/// another request.
///
/// # Errors
/// The first ambiguity.
pub fn check_response(head: &ResponseHeader) -> Result<bool, FramingError> {
    let length = length(&head.headers)?;
    let mut encodings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = match (encodings.next(), encodings.next()) {
        (None, _) => false,
        (Some(encoding), None) if encoding.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
        _ => return Err(FramingError::UnsupportedTransferEncoding),
    };
    if chunked && head.version == Version::HTTP_10 {
        return Err(FramingError::TransferEncodingInHttp10);
    }
    // RFC 9112, section 6.1: "A server MUST NOT send a Transfer-Encoding header field in any
    // response with a status code of 1xx (Informational) or 204 (No Content)". RFC 9110, section
    // 8.6 has the same rule for Content-Length. A body may follow such a head.
    let bodiless = head.status.is_informational() || head.status == StatusCode::NO_CONTENT;
    Ok(!(bodiless && (chunked || length.unwrap_or(0) > 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<Option<Head>, FramingError> {
        let whole = HeadReader::default().read(head.as_bytes());
        // The result is the same byte by byte.
        let mut reader = HeadReader::default();
        let step = |end| reader.read(&head.as_bytes()[..end]).transpose();
        assert_eq!((1..=head.len()).find_map(step).transpose(), whole, "{head:?}");
        whole
    }

    #[test]
    fn a_plain_head_says_how_its_body_ends() {
        for (head, body) in [
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", Body::Length(3)),
            ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\tChunked \r\n\r\n", Body::Chunked),
            ("GET / HTTP/1.0\r\n\r\n", Body::Length(0)),
            ("\r\nGET /\u{e4} HTTP/1.1\r\nHost: a\r\n\r\n", Body::Length(0)),
        ] {
            assert_eq!(read(head), Ok(Some(Head { bytes: head.len(), body })), "{head:?}");
        }
        assert_eq!(read("GET / HTTP/1.1\r\nHost: a\r\n"), Ok(None));
        assert_eq!(
            read(&format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(MAX_HEAD_BYTES))),
            Err(FramingError::HeadTooLarge)
        );
    }

    #[test]
    fn whatever_two_parsers_may_read_differently_is_refused() {
        let host = "GET / HTTP/1.1\r\nHost: a\r\n";
        for (fields, why) in [
            ("X: b\nY: c\r\n\r\n", FramingError::BareLineFeed),
            ("\n", FramingError::BareLineFeed),
            ("X: b\r\n c\r\n\r\n", FramingError::ObsFold),
            ("\tTransfer-Encoding: chunked\r\n\r\n", FramingError::ObsFold),
            ("Content-Length: 1\r\ncontent-length: 1\r\n\r\n", FramingError::DuplicateContentLength),
            ("Content-Length: 1\r\nContent-Length : 2\r\n\r\n", FramingError::DuplicateContentLength),
            ("Content-Length: 1, 1\r\n\r\n", FramingError::DuplicateContentLength),
            ("Content-Length: +1\r\n\r\n", FramingError::DuplicateContentLength),
            ("Content-Length: 0x1\r\n\r\n", FramingError::DuplicateContentLength),
            ("Content-Length: \r\n\r\n", FramingError::DuplicateContentLength),
            ("Content-Length: 99999999999999999999\r\n\r\n", FramingError::DuplicateContentLength),
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", FramingError::LengthAndEncoding),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
                FramingError::UnsupportedTransferEncoding,
            ),
            ("Transfer-Encoding: gzip, chunked\r\n\r\n", FramingError::UnsupportedTransferEncoding),
            ("Transfer-Encoding: chunked, identity\r\n\r\n", FramingError::UnsupportedTransferEncoding),
            ("Transfer-Encoding: \"chunked\"\r\n\r\n", FramingError::UnsupportedTransferEncoding),
            ("Host: b\r\n\r\n", FramingError::InvalidHostCount),
        ] {
            assert_eq!(read(&format!("{host}{fields}")), Err(why), "{fields:?}");
        }
        let old = "GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(read(old), Err(FramingError::TransferEncodingInHttp10));
        assert_eq!(read("GET / HTTP/1.1\r\nX: y\r\n\r\n"), Err(FramingError::InvalidHostCount));
    }

    #[test]
    fn a_request_line_is_not_repaired() {
        for line in [
            "GET /a b HTTP/1.1",
            "GET  / HTTP/1.1",
            "GET /\r HTTP/1.1",
            "GET /\u{1} HTTP/1.1",
            "GET /\u{7f} HTTP/1.1",
            "GET /#a HTTP/1.1",
            "GET\t/ HTTP/1.1",
            " GET / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET / HTTP/1.2",
            "GET / HTTP/01.1",
            "GET / http/1.1",
            "PRI * HTTP/2.0",
            "GET /",
            "GET",
        ] {
            assert_eq!(
                read(&format!("{line}\r\nHost: a\r\n\r\n")),
                Err(FramingError::RequestLine),
                "{line:?}"
            );
        }
    }

    #[test]
    fn a_response_has_one_framing_or_its_connection_is_not_used_again() {
        let check = |status: u16, version: Version, fields: &[(&'static str, &str)]| {
            let mut head = ResponseHeader::build(status, None).unwrap();
            head.set_version(version);
            for (name, value) in fields {
                head.append_header(*name, *value).unwrap();
            }
            check_response(&head)
        };
        let (old, new) = (Version::HTTP_10, Version::HTTP_11);
        assert_eq!(check(200, new, &[("Content-Length", "3")]), Ok(true));
        assert_eq!(check(200, new, &[("Transfer-Encoding", "Chunked")]), Ok(true));
        assert_eq!(check(204, new, &[("Content-Length", "0")]), Ok(true));
        assert_eq!(check(204, new, &[("Content-Length", "3")]), Ok(false));
        assert_eq!(check(204, new, &[("Transfer-Encoding", "chunked")]), Ok(false));
        assert_eq!(check(103, new, &[("Content-Length", "3")]), Ok(false));
        assert_eq!(check(304, new, &[("Content-Length", "3")]), Ok(true));
        for fields in [
            &[("Content-Length", "3, 3")][..],
            &[("Content-Length", "3"), ("Content-Length", "3")],
            &[("Content-Length", "+3")],
            &[("Content-Length", "")],
        ] {
            assert_eq!(check(200, new, fields), Err(FramingError::DuplicateContentLength), "{fields:?}");
        }
        for encoding in ["identity", "gzip, chunked", "chunked, chunked", "chunked;q=1", ""] {
            assert_eq!(
                check(200, new, &[("Transfer-Encoding", encoding)]),
                Err(FramingError::UnsupportedTransferEncoding)
            );
        }
        assert_eq!(
            check(200, old, &[("Transfer-Encoding", "chunked")]),
            Err(FramingError::TransferEncodingInHttp10)
        );
    }
}
