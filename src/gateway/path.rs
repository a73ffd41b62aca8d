//! The path that routes and policies judge: split at literal slashes, each segment decoded. The
//! bytes that go to the upstream stay as they came, so whatever an upstream could read differently
//! is refused here.

use http::Uri;
use std::borrow::Cow;

/// A path, decoded.
#[derive(Debug, PartialEq, Eq)]
pub struct Path<'r> {
    /// The decoded segments; the last is empty where the path ends with a slash.
    pub segments: Vec<Cow<'r, str>>,
    /// Whether only a route with opaque paths may serve it: it has an empty segment or an encoded
    /// slash.
    pub opaque: bool,
    /// Whether a server could read it more loosely than we do: it has parameters, capital letters, or
    /// is opaque.
    pub foldable: bool,
}

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPath {
    /// It does not begin with a slash.
    Form,
    /// A `%` that two hexadecimal digits do not follow, or bytes that are no UTF-8.
    Escape,
    /// `.` or `..`, in whatever spelling.
    DotSegment,
    /// A backslash, which some servers take for a slash.
    Backslash,
    /// A NUL, which ends a path for some.
    Nul,
}

impl<'r> Path<'r> {
    /// Reads a raw path.
    ///
    /// # Errors
    /// Where servers could disagree on what it names.
    pub fn parse(raw: &'r str) -> Result<Self, BadPath> {
        let rest = raw.strip_prefix('/').ok_or(BadPath::Form)?;
        if let Some(segments) = plain_segments(rest) {
            return Ok(Self { segments, opaque: false, foldable: false });
        }
        let (mut segments, mut opaque) = (Vec::new(), false);
        for segment in rest.split('/') {
            let decoded = decode(segment)?;
            if decoded.contains('\\') {
                return Err(BadPath::Backslash);
            }
            if decoded.contains('\0') {
                return Err(BadPath::Nul);
            }
            // Some servers drop what follows a semicolon before they look for dot segments, and some
            // decode an encoded slash first.
            if decoded.split('/').any(|part| matches!(part.split(';').next(), Some("." | ".."))) {
                return Err(BadPath::DotSegment);
            }
            opaque |= decoded.contains('/');
            segments.push(decoded);
        }
        opaque |= segments.iter().rev().skip(1).any(|segment| segment.is_empty());
        let odd = |segment: &Cow<'_, str>| segment.contains(';') || segment.chars().any(char::is_uppercase);
        let foldable = opaque || segments.iter().any(odd);
        Ok(Self { segments, opaque, foldable })
    }

    /// The segments as the loosest server would take them: without parameters, in small letters, split
    /// at encoded slashes too, the empty ones left out.
    pub fn folded(&self) -> Vec<String> {
        let parts = self.segments.iter().flat_map(|segment| segment.split('/'));
        let plain = parts.map(|part| part.split(';').next().unwrap_or_default().to_lowercase());
        plain.filter(|part| !part.is_empty()).collect()
    }

    /// The segments as such a server would take them; none where every server reads them as we do.
    pub fn loose(&self) -> Option<Vec<String>> {
        if !self.foldable {
            return None;
        }
        let mut segments = self.folded();
        if self.segments.last().is_some_and(|last| last.is_empty()) {
            segments.push(String::new());
        }
        Some(segments)
    }

    /// Whether the path begins with `prefix`, segment by segment.
    pub fn starts_with(&self, prefix: &[String]) -> bool {
        self.segments.len() >= prefix.len() && self.segments.iter().zip(prefix).all(|(a, b)| a == b)
    }
}

/// `uri` without the first `count` segments of its path.
pub fn uri_without_prefix(uri: &Uri, count: usize) -> Option<Uri> {
    let rest = without_prefix(uri.path_and_query()?.as_str(), count);
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(rest.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// `raw` without its first `count` segments: what is left begins with a slash.
fn without_prefix(raw: &str, count: usize) -> &str {
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

/// The segments of a path that every server reads alike: nothing is encoded, no segment but the last is empty, none
/// begins with a dot, and there are neither parameters nor capital letters. `rest` stands behind the first slash.
fn plain_segments(rest: &str) -> Option<Vec<Cow<'_, str>>> {
    let (mut segments, mut begin, mut previous) = (Vec::with_capacity(8), 0, b'/');
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            b'%' | b'\\' | b';' | 0 | b'A'..=b'Z' | 0x80.. => return None,
            b'/' | b'.' if previous == b'/' => return None,
            b'/' => {
                segments.push(Cow::Borrowed(&rest[begin..at]));
                begin = at + 1;
            }
            _ => {}
        }
        previous = byte;
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
        assert_eq!(parse("/%252e%252e/a"), Ok(("%2e%2e|a".into(), false)));
        assert_eq!(parse("/admin%23/public"), Ok(("admin#|public".into(), false)));
        assert_eq!(parse("/..."), Ok(("...".into(), false)));
        assert_eq!(parse("/gr%C3%BC%C3%9Fe"), Ok(("grüße".into(), false)));
    }

    #[test]
    fn the_loosest_reading_drops_parameters_and_case_and_joins_slashes() {
        let folded = |raw: &str| {
            let path = Path::parse(raw).unwrap();
            path.foldable.then(|| path.folded().join("|"))
        };
        assert_eq!(folded("/admin/x"), None);
        assert_eq!(folded("/admin;v=1/x").as_deref(), Some("admin|x"));
        assert_eq!(folded("/Admin/%41").as_deref(), Some("admin|a"));
        assert_eq!(folded("//admin%2Fx/").as_deref(), Some("admin|x"));
        assert_eq!(folded("/;x/admin").as_deref(), Some("admin"));
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
            ("/a%00", BadPath::Nul),
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
