//! The path that routes and policies evaluate: split at literal slashes, each segment decoded. The
//! upstream receives the original bytes, so a path with dangerously different readings is refused.

pub use crate::gateway::request::bad_path::BadPath;
use crate::gateway::request::lenient_path::{self, LenientPath};
use http::Uri;
use std::borrow::Cow;

/// A decoded path.
#[derive(Debug, PartialEq, Eq)]
pub struct Path<'r> {
    /// The decoded segments; the last is empty if the path ends with a slash.
    pub segments: Vec<Cow<'r, str>>,
    /// Whether only a route with opaque paths may serve it, because it has an empty segment or an
    /// encoded slash.
    pub opaque: bool,
    /// The readings of less strict servers; `None` if every server reads the path like the gateway.
    pub lenient: Option<Box<LenientPath>>,
}

impl<'r> Path<'r> {
    /// Parses a raw path.
    ///
    /// # Errors
    /// The reason, if the path is malformed or could be another resource for some servers.
    pub fn parse(raw: &'r str) -> Result<Self, BadPath> {
        let rest = raw.strip_prefix('/').ok_or(BadPath::Form)?;
        if let Some(segments) = plain_segments(rest) {
            return Ok(Self { segments, opaque: false, lenient: None });
        }
        if rest.contains(' ') {
            return Err(BadPath::Form);
        }
        let (mut segments, mut opaque) = (Vec::new(), false);
        for segment in rest.split('/') {
            let decoded = decode(segment)?;
            if decoded.contains('\\') {
                return Err(BadPath::Backslash);
            }
            opaque |= decoded.contains('/');
            segments.push(decoded);
        }
        lenient_path::check(&segments)?;
        opaque |= segments.iter().rev().skip(1).any(|segment| segment.is_empty());
        let inexact = opaque || segments.iter().any(|segment| lenient_path::is_inexact(segment));
        let lenient = inexact.then(|| LenientPath::parse(&segments).map(Box::new)).transpose()?;
        Ok(Self { segments, opaque, lenient })
    }

    /// Returns whether the least strict server would find the path below the case-folded path
    /// `folded` of a route.
    pub fn may_start_with(&self, folded: &[String]) -> bool {
        fn starts(segments: &[impl AsRef<str>], prefix: &[String]) -> bool {
            segments.len() >= prefix.len() && segments.iter().zip(prefix).all(|(a, b)| a.as_ref() == b)
        }
        match &self.lenient {
            Some(lenient) => starts(&lenient.all, folded),
            None => starts(&self.segments, folded),
        }
    }

    /// Returns whether the path begins with `prefix`, segment by segment.
    pub fn starts_with(&self, prefix: &[String]) -> bool {
        self.segments.len() >= prefix.len() && self.segments.iter().zip(prefix).all(|(a, b)| a == b)
    }
}

/// Returns `uri` without the first `count` segments of its path, and with `base` in front; `None`
/// if the result is not a URI.
pub fn uri_for_upstream(uri: &Uri, count: usize, base: &str) -> Option<Uri> {
    let rest = without_prefix(uri.path_and_query()?.as_str(), count);
    let slash = if rest.starts_with('/') { "" } else { "/" };
    let rest = format!("{base}{slash}{rest}");
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(rest.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Returns `raw` without its first `count` segments. The rest is empty, or begins with a slash or a
/// question mark.
pub fn without_prefix(raw: &str, count: usize) -> &str {
    let mut rest = raw;
    for _ in 0..count {
        let after = rest.get(1..).unwrap_or_default();
        rest = match after.find(['/', '?']) {
            Some(at) => &after[at..],
            None => "",
        };
    }
    rest
}

/// The bytes that every server reads alike in a path: visible ASCII, except capital letters and the
/// marks `%`, `\`, `;`, `?` and `#`.
const PLAIN: [bool; 256] = {
    let (mut plain, mut byte) = ([false; 256], 0x21);
    while byte < 0x7f {
        let odd = matches!(byte, b'A'..=b'Z' | b'%' | b'\\' | b';' | b'?' | b'#');
        plain[byte as usize] = !odd;
        byte += 1;
    }
    plain
};

/// Returns the segments of a path that every server reads alike; `None` for other paths. Such a
/// path has only plain bytes, and no empty segment except the last one. No segment begins or ends
/// with a dot, or names an NTFS stream. `rest` is the path after its first slash.
fn plain_segments(rest: &str) -> Option<Vec<Cow<'_, str>>> {
    let (mut segments, mut begin, mut previous) = (Vec::with_capacity(8), 0, b'/');
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'/' | b'.' if previous == b'/' => return None,
            b'/' if previous == b'.' => return None,
            b'$' if previous == b':' => return None,
            b'/' => {
                segments.push(Cow::Borrowed(&rest[begin..at]));
                begin = at + 1;
            }
            byte if !PLAIN[byte as usize] => return None,
            _ => {}
        }
        previous = byte;
    }
    if previous == b'.' {
        return None;
    }
    segments.push(Cow::Borrowed(&rest[begin..]));
    Some(segments)
}

fn decode(segment: &str) -> Result<Cow<'_, str>, BadPath> {
    if !segment.contains('%') {
        return Ok(Cow::Borrowed(segment));
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).ok_or(BadPath::Escape);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                decoded.push((high * 16 + low) as u8);
            }
            byte => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| BadPath::Escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_split_before_they_are_decoded() {
        let parse = |raw| Path::parse(raw).map(|path| (path.segments.join("|"), path.opaque));
        assert_eq!(parse("/"), Ok((String::new(), false)));
        assert_eq!(parse("/a/b%20c"), Ok(("a|b c".into(), false)));
        assert_eq!(parse("/a/"), Ok(("a|".into(), false)));
        assert_eq!(parse("/a//b"), Ok(("a||b".into(), true)));
        assert_eq!(parse("//"), Ok(("|".into(), true)));
        assert_eq!(parse("/a%2Fb"), Ok(("a/b".into(), true)));
        assert_eq!(parse("/feature%252Fa"), Ok(("feature%2Fa".into(), false)));
        assert_eq!(parse("/admin%23/public"), Ok(("admin#|public".into(), false)));
        assert_eq!(parse("/wait.../U.S."), Ok(("wait...|U.S.".into(), false)));
        assert_eq!(parse("/.well-known/a.b"), Ok((".well-known|a.b".into(), false)));
        assert_eq!(parse("/gr%C3%BC%C3%9Fe"), Ok(("grüße".into(), false)));
    }

    #[test]
    fn the_loosest_reading_drops_parameters_and_case_and_joins_slashes() {
        let folded = |raw: &str| Path::parse(raw).unwrap().lenient.map(|lenient| lenient.all.join("|"));
        assert_eq!(folded("/admin/x"), None);
        assert_eq!(folded("/admin;v=1/x").as_deref(), Some("admin|x"));
        assert_eq!(folded("/Admin/%41").as_deref(), Some("admin|a"));
        assert_eq!(folded("//admin%2Fx/").as_deref(), Some("admin|x"));
        assert_eq!(folded("/;x/admin").as_deref(), Some("admin"));
        assert_eq!(folded("/;x").as_deref(), Some(""));
        assert_eq!(folded("/admin.%20/x%3Fy/z").as_deref(), Some("admin|x"));
        assert_eq!(folded("/%EF%BC%A1dmin%EF%BC%8Fx").as_deref(), Some("admin|x"));
        assert_eq!(folded("/%2541dmin%252Fx").as_deref(), Some("admin|x"));
        assert_eq!(folded("/admin::$DATA").as_deref(), Some("admin"));
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for (raw, why) in [
            ("/public/../admin", BadPath::DotSegment),
            ("/public/%2e%2e/admin", BadPath::DotSegment),
            ("/public/.%2E/admin", BadPath::DotSegment),
            ("/public/..;/admin", BadPath::DotSegment),
            ("/public/%2e%2e%3bx/admin", BadPath::DotSegment),
            ("/public/..%2fadmin", BadPath::DotSegment),
            ("/.", BadPath::DotSegment),
            ("/a\\b", BadPath::Backslash),
            ("/a%5cb", BadPath::Backslash),
            ("/a%00", BadPath::Control),
            ("/admin%0A", BadPath::Control),
            ("/admin%0d/x", BadPath::Control),
            ("/admin%7f", BadPath::Control),
            ("/admin\u{7f}", BadPath::Control),
            ("/admin\t", BadPath::Control),
            ("/admin%c2%85", BadPath::Control),
            ("/admin\u{85}", BadPath::Control),
            ("/admin%E2%80%A8", BadPath::Control),
            ("/admin%E2%80%A9", BadPath::Control),
            ("/admin%250A", BadPath::Control),
            ("/a b", BadPath::Form),
            ("/a/...", BadPath::DotSegment),
            ("/a/%20/b", BadPath::DotSegment),
            ("/a/..%20/b", BadPath::DotSegment),
            ("/a/.%3B", BadPath::DotSegment),
            ("/%252e%252e/a", BadPath::DotSegment),
            ("/a/..%255cb", BadPath::DotSegment),
            ("/a/..%EF%BC%BCb", BadPath::DotSegment),
            ("/%EF%BC%8E%EF%BC%8E/a", BadPath::DotSegment),
            ("/%E2%80%A5/a", BadPath::DotSegment),
            ("/%252541dmin", BadPath::NestedEscape),
            ("/%25c0%25af", BadPath::Escape),
            ("/%25u0041dmin", BadPath::Escape),
            ("/%zz", BadPath::Escape),
            ("/%2", BadPath::Escape),
            ("/%", BadPath::Escape),
            ("/%+1", BadPath::Escape),
            ("/%ff", BadPath::Escape),
            ("admin", BadPath::Form),
            ("", BadPath::Form),
            ("*", BadPath::Form),
        ] {
            assert_eq!(Path::parse(raw), Err(why), "{raw}");
        }
    }

    #[test]
    fn a_prefix_is_whole_segments() {
        let starts = |raw: &str, prefix: &[&str]| {
            let prefix: Vec<String> = prefix.iter().map(ToString::to_string).collect();
            Path::parse(raw).unwrap().starts_with(&prefix)
        };
        assert!(starts("/admin", &["admin"]));
        assert!(starts("/admin/x", &["admin"]));
        assert!(starts("/%61dmin/x", &["admin"]));
        assert!(!starts("/administrator", &["admin"]));
        assert!(!starts("/Admin", &["admin"]));
        assert!(starts("/", &[]));
    }

    #[test]
    fn a_prefix_is_cut_from_the_raw_bytes() {
        assert_eq!(without_prefix("/files/a%20b?x=/y", 1), "/a%20b?x=/y");
        assert_eq!(without_prefix("/files", 1), "");
        assert_eq!(without_prefix("/files?x", 1), "?x");
        assert_eq!(without_prefix("/a/b/c", 2), "/c");
        assert_eq!(without_prefix("/a", 0), "/a");
    }
}
