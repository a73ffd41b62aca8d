//! Readings of a path by servers that parse less strictly than the gateway.
//!
//! Each leniency is that of some server. A server may have any subset of them, so a Deny is
//! compared with every combination that changes the reading of a path.

use crate::base::{fold, is_control};
use crate::gateway::request::bad_path::BadPath;

/// The segments of a path; the last is empty if the path ends with a slash.
pub type Segments = Vec<String>;

/// A function that applies one leniency; returns `None` if that changes nothing.
type Leniency = fn(&[String]) -> Option<Segments>;

/// The leniencies, in the order in which servers apply them. Case folding is always assumed.
const LENIENCIES: &[Leniency] =
    &[decoded_again, split_at_slashes, without_parameters, trimmed, without_empty, without_closing_slash];

/// A path as less strict servers may read it.
#[derive(Debug, PartialEq, Eq)]
pub struct LenientPath {
    /// The case-folded segments.
    base: Segments,
    /// The segments with all leniencies applied.
    pub all: Segments,
}

impl LenientPath {
    /// Parses the decoded segments of a path.
    ///
    /// # Errors
    /// The reason, if a reading contains something that no legitimate path contains.
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

    /// Returns each distinct reading of the path, by any combination of leniencies.
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

/// Returns whether some server could read `segment` differently than the gateway does.
pub fn is_inexact(segment: &str) -> bool {
    let odd = |byte: u8| byte.is_ascii_uppercase() || !byte.is_ascii() || matches!(byte, b'%' | b'/' | b'\\');
    segment.bytes().any(odd) || end_of_name(segment).is_some() || trim(segment).len() < segment.len()
}

/// Returns the segments as read by a server that drops parameters and stops at an encoded `?`;
/// `None` if they are the same. Such an ending must not make a path match a statement for public
/// paths.
pub fn without_ending(segments: &[impl AsRef<str>]) -> Option<Segments> {
    let segments: Segments = segments.iter().map(|segment| segment.as_ref().to_owned()).collect();
    without_parameters(&decoded_again(&segments).unwrap_or(segments))
}

/// Rejects control characters and line separators, which some servers strip or stop at, and
/// segments that some servers read as `.` or `..`.
///
/// # Errors
/// The reason.
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

/// Returns the end of the name at the beginning of a segment, and whether the path ends there, too.
/// A name ends at parameters (RFC 3986, section 3.3), at an encoded query or fragment, or at an
/// NTFS stream.
fn end_of_name(segment: &str) -> Option<(usize, bool)> {
    let mark = segment.find([';', '?', '#']).map(|at| (at, segment.as_bytes()[at] != b';'));
    let stream = segment.find("::$").or_else(|| segment.find(":$")).map(|at| (at, false));
    [mark, stream].into_iter().flatten().min()
}

fn trim(segment: &str) -> &str {
    segment.trim_start().trim_end_matches(|c: char| c == '.' || c.is_whitespace())
}

/// Returns the escapes (`%41`) in a text: the offset and the byte of each.
fn escapes(text: &str) -> impl Iterator<Item = (usize, u8)> {
    memchr::memchr_iter(b'%', text.as_bytes()).filter_map(|at| {
        let digits = text.get(at + 1..at + 3).filter(|two| two.bytes().all(|b| b.is_ascii_hexdigit()))?;
        Some((at, u8::from_str_radix(digits, 16).ok()?))
    })
}

/// Decodes the escapes in a decoded segment; `None` if there are none, or if the result is not
/// UTF-8.
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

/// Rejects escapes in a decoded segment that do not decode to UTF-8, and those of ASP (`%u0041`).
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

/// Maps each segment; `None` if none changes.
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
