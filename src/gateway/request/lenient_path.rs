//! How a server that is less exact than the gateway may read a path.
//!
//! Each liberty is one that some server takes. A server takes some of them and not others, so a
//! Deny is compared with every combination that reads the path at hand differently.

use crate::base::{fold, is_control};
use crate::gateway::request::bad_path::BadPath;

/// A path's segments; the last is empty where the path ends with a slash.
pub type Segments = Vec<String>;

/// Reads segments with one liberty more; none where that changes nothing.
type Leniency = fn(&[String]) -> Option<Segments>;

/// The liberties, in the order in which a server takes them. That letters are folded is always
/// assumed.
const LENIENCIES: &[Leniency] =
    &[decoded_again, split_at_slashes, without_parameters, trimmed, without_empty, without_closing_slash];

/// A path as less exact servers may read it.
#[derive(Debug, PartialEq, Eq)]
pub struct LenientPath {
    /// The segments, folded.
    base: Segments,
    /// The segments with every liberty taken.
    pub all: Segments,
}

impl LenientPath {
    /// Reads the decoded segments of a path.
    ///
    /// # Errors
    /// Returns the reason where a reading is one that no honest path has.
    pub fn parse(segments: &[impl AsRef<str>]) -> Result<Self, BadPath> {
        let base: Segments = segments.iter().map(|segment| fold(segment.as_ref()).into_owned()).collect();
        check(&base)?;
        for segment in &base {
            check_escapes(segment)?;
        }
        if let Some(decoded) = decoded_again(&base) {
            check(&decoded)?;
            if decoded.iter().any(|segment| escapes(segment).next().is_some()) {
                return Err(BadPath::NestedEscape);
            }
        }
        let mut all = base.clone();
        for liberty in LENIENCIES {
            all = liberty(&all).unwrap_or(all);
        }
        Ok(Self { base, all })
    }

    /// Returns each different reading of the path, whatever liberties are taken.
    pub fn readings(&self) -> Vec<Segments> {
        let mut readings = vec![self.base.clone()];
        for liberty in LENIENCIES {
            for at in 0..readings.len() {
                let more = liberty(&readings[at]).filter(|reading| !readings.contains(reading));
                readings.extend(more);
            }
        }
        readings
    }
}

/// Whether some server could read `segment` differently than the gateway does.
pub fn is_inexact(segment: &str) -> bool {
    let odd = |byte: u8| byte.is_ascii_uppercase() || !byte.is_ascii() || matches!(byte, b'%' | b'/' | b'\\');
    segment.bytes().any(odd) || end_of_name(segment).is_some() || trim(segment).len() < segment.len()
}

/// Returns the segments as a server reads them that drops parameters and stops at an encoded `?`,
/// if that is different: by such an ending, a path must not pass for one that is open.
pub fn without_ending(segments: &[impl AsRef<str>]) -> Option<Segments> {
    let segments: Segments = segments.iter().map(|segment| segment.as_ref().to_owned()).collect();
    without_parameters(&decoded_again(&segments).unwrap_or(segments))
}

/// Refuses control characters and line separators, which some servers strip or stop at, and
/// segments that some servers take for `.` or `..`.
///
/// # Errors
/// Returns the reason.
pub fn check(segments: &[impl AsRef<str>]) -> Result<(), BadPath> {
    for segment in segments {
        let segment = segment.as_ref();
        if segment.chars().any(is_control) {
            return Err(BadPath::Control);
        }
        // Some servers drop parameters before they look for dot segments, and some decode an
        // encoded slash first.
        let dots = |part: &str| {
            let name = &part[..end_of_name(part).map_or(part.len(), |(end, _)| end)];
            !name.is_empty() && name.chars().all(|c| c == '.' || c.is_whitespace())
        };
        if segment.split(['/', '\\']).any(dots) {
            return Err(BadPath::DotSegment);
        }
    }
    Ok(())
}

/// Where the name ends that a segment begins with, and whether the path ends there, too: at
/// parameters (RFC 3986, section 3.3), at an encoded query or fragment, at a stream of a file
/// (NTFS).
fn end_of_name(segment: &str) -> Option<(usize, bool)> {
    let mark = segment.find([';', '?', '#']).map(|at| (at, segment.as_bytes()[at] != b';'));
    let stream = segment.find("::$").or_else(|| segment.find(":$")).map(|at| (at, false));
    [mark, stream].into_iter().flatten().min()
}

fn trim(segment: &str) -> &str {
    segment.trim_start().trim_end_matches(|c: char| c == '.' || c.is_whitespace())
}

/// The escapes (`%41`) in a text: where each begins, and its byte.
fn escapes(text: &str) -> impl Iterator<Item = (usize, u8)> {
    memchr::memchr_iter(b'%', text.as_bytes()).filter_map(|at| {
        let digits = text.get(at + 1..at + 3).filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))?;
        Some((at, u8::from_str_radix(digits, 16).ok()?))
    })
}

/// Decodes what is still encoded in a decoded segment; none where nothing is, or where it is no
/// text.
fn decoded(segment: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), 0);
    for (at, byte) in escapes(segment) {
        bytes.extend_from_slice(&segment.as_bytes()[rest..at]);
        bytes.push(byte);
        rest = at + 3;
    }
    if rest == 0 {
        return None;
    }
    bytes.extend_from_slice(&segment.as_bytes()[rest..]);
    String::from_utf8(bytes).ok()
}

/// Refuses escapes in a decoded segment that decode to no text, and those of ASP (`%u0041`).
fn check_escapes(segment: &str) -> Result<(), BadPath> {
    let of_asp = |at: usize| {
        let rest = segment.as_bytes().get(at + 1..at + 6);
        rest.is_some_and(|rest| rest[0] == b'u' && rest[1..].iter().all(u8::is_ascii_hexdigit))
    };
    let malformed = escapes(segment).next().is_some() && decoded(segment).is_none();
    match malformed || memchr::memchr_iter(b'%', segment.as_bytes()).any(of_asp) {
        true => Err(BadPath::Escape),
        false => Ok(()),
    }
}

/// Maps each segment; none where none changes.
fn each(segments: &[String], change: impl Fn(&str) -> Option<String>) -> Option<Segments> {
    let changed: Vec<Option<String>> = segments.iter().map(|segment| change(segment)).collect();
    changed.iter().any(Option::is_some).then(|| {
        changed.into_iter().zip(segments).map(|(new, old)| new.unwrap_or_else(|| old.clone())).collect()
    })
}

fn decoded_again(segments: &[String]) -> Option<Segments> {
    each(segments, |segment| Some(fold(&decoded(segment)?).into_owned()))
}

fn split_at_slashes(segments: &[String]) -> Option<Segments> {
    let slashes = ['/', '\\'];
    let any = segments.iter().any(|segment| segment.contains(slashes));
    any.then(|| segments.iter().flat_map(|segment| segment.split(slashes)).map(str::to_owned).collect())
}

fn without_parameters(segments: &[String]) -> Option<Segments> {
    let ends: Vec<_> = segments.iter().map(|segment| end_of_name(segment)).collect();
    ends.iter().any(Option::is_some).then(|| {
        let last = ends.iter().position(|end| matches!(end, Some((_, true)))).unwrap_or(segments.len());
        let names = segments.iter().zip(&ends).take(last + 1);
        names.map(|(segment, end)| segment[..end.map_or(segment.len(), |(at, _)| at)].to_owned()).collect()
    })
}

fn trimmed(segments: &[String]) -> Option<Segments> {
    each(segments, |segment| {
        let name = trim(segment);
        (name.len() < segment.len()).then(|| name.to_owned())
    })
}

fn without_empty(segments: &[String]) -> Option<Segments> {
    let (last, others) = segments.split_last()?;
    others
        .iter()
        .any(String::is_empty)
        .then(|| others.iter().filter(|segment| !segment.is_empty()).chain([last]).cloned().collect())
}

fn without_closing_slash(segments: &[String]) -> Option<Segments> {
    let (last, others) = segments.split_last()?;
    (last.is_empty() && !others.is_empty()).then(|| others.to_vec())
}
