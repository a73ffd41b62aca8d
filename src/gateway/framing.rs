//! HTTP/1.1 messages that two parsers could read as different ones are refused before anything else
//! is asked of them (RFC 9112, sections 5, 6 and 11.2).

/// Why a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguity {
    /// A line ends with a bare LF.
    BareLineFeed,
    /// A header goes on in the next line (obs-fold).
    Fold,
    /// There is more than one Content-Length.
    Lengths,
    /// Content-Length and Transfer-Encoding stand together.
    LengthAndEncoding,
    /// There is more than one Host, or none.
    Hosts,
    /// There is more than one Transfer-Encoding.
    Encodings,
    /// Transfer-Encoding in an HTTP/1.0 message.
    OldEncoding,
}

/// Scans the head of an HTTP/1.x message: the request line and every header line, as they came.
///
/// # Errors
/// The first ambiguity.
pub fn check(head: &[u8]) -> Result<(), Ambiguity> {
    let (mut lengths, mut encodings, mut hosts, mut old) = (0u8, 0u8, 0u8, false);
    let mut rest = head;
    let mut first = true;
    while let Some(at) = memchr::memchr(b'\n', rest) {
        let (line, after) = rest.split_at(at);
        rest = &after[1..];
        // RFC 9112, section 2.2: a recipient MAY take a bare LF for a line's end. An upstream may not.
        let Some(line) = line.strip_suffix(b"\r") else { return Err(Ambiguity::BareLineFeed) };
        if first {
            old = line.ends_with(b" HTTP/1.0");
            first = false;
            continue;
        }
        match line.first() {
            // RFC 9112, section 5.2: "A server that receives an obs-fold in a request message … MUST
            // either reject the message … or replace each received obs-fold".
            Some(b' ' | b'\t') => return Err(Ambiguity::Fold),
            Some(b'c' | b'C') if named(line, b"content-length") => lengths += 1,
            Some(b't' | b'T') if named(line, b"transfer-encoding") => encodings += 1,
            Some(b'h' | b'H') if named(line, b"host") => hosts += 1,
            _ => {}
        }
        if lengths > 1 {
            return Err(Ambiguity::Lengths);
        }
        if encodings > 1 {
            return Err(Ambiguity::Encodings);
        }
    }
    // RFC 9112, section 6.3: such a message "ought to be handled as an error".
    if lengths > 0 && encodings > 0 {
        return Err(Ambiguity::LengthAndEncoding);
    }
    // RFC 9112, section 6.1: a server "MUST treat the message as if the framing is faulty" when
    // Transfer-Encoding comes with HTTP/1.0.
    if encodings > 0 && old {
        return Err(Ambiguity::OldEncoding);
    }
    // RFC 9112, section 3.2: 400 for "any HTTP/1.1 request message that lacks a Host header field
    // and … any request message that contains more than one Host header field line".
    if hosts != 1 && !(old && hosts == 0) {
        return Err(Ambiguity::Hosts);
    }
    Ok(())
}

fn named(line: &[u8], name: &[u8]) -> bool {
    line.len() > name.len()
        && line[..name.len()].eq_ignore_ascii_case(name)
        && matches!(line[name.len()], b':' | b' ' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(head: &str) -> Result<(), Ambiguity> {
        check(head.as_bytes())
    }

    #[test]
    fn plain_messages_pass() {
        assert_eq!(judge("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"), Ok(()));
        assert_eq!(judge("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"), Ok(()));
        assert_eq!(judge("GET / HTTP/1.0\r\n\r\n"), Ok(()));
    }

    #[test]
    fn whatever_two_parsers_may_read_differently_is_refused() {
        for (head, why) in [
            ("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", Ambiguity::BareLineFeed),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", Ambiguity::Fold),
            ("GET / HTTP/1.1\r\nHost: a\r\n\tTransfer-Encoding: chunked\r\n\r\n", Ambiguity::Fold),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\n",
                Ambiguity::Lengths,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length : 2\r\n\r\n",
                Ambiguity::Lengths,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                Ambiguity::LengthAndEncoding,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
                Ambiguity::Encodings,
            ),
            ("GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Ambiguity::OldEncoding),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Ambiguity::Hosts),
            ("GET / HTTP/1.1\r\nX: y\r\n\r\n", Ambiguity::Hosts),
        ] {
            assert_eq!(judge(head), Err(why), "{head:?}");
        }
    }
}
