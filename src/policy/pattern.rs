//! Patterns with wildcards and policy variables, compiled once and matched without allocation.
//!
//! IAM User Guide, "Policy elements: Variables and tags": `${key}` is replaced by the value of a
//! condition key, `${key, 'default'}` by the default if there is no value, and `${*}`, `${?}`,
//! `${$}` by the character itself. A variable's value is literal: wildcards in it have no effect.

use super::context::{Context, Key};
use crate::base::fold;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

/// A text with wildcards and variables.
///
/// The fields that matching uses are stored inline for patterns of usual length, to avoid dependent
/// cache misses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pieces: SmallVec<[Piece; 4]>,
    /// The concatenated text of all text pieces, in UTF-8.
    text: SmallVec<[u8; 80]>,
    /// Whether the pattern contains a variable.
    varies: bool,
    /// The pattern as written.
    written: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// A range of the pattern's text.
    Text(u32, u32),
    /// `?`: one character.
    Any,
    /// `*`: any number of characters.
    Many,
    Variable(Box<Variable>),
}

/// A policy variable in a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The condition key.
    pub key: Key,
    /// The default value.
    pub default: Option<Box<str>>,
}

/// The special syntax of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syntax {
    /// `*` and `?`.
    pub wildcards: bool,
    /// `${…}`; not in documents of the version 2008-10-17.
    pub variables: bool,
}

/// The case sensitivity of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Case-sensitive.
    Sensitive,
    /// Case-insensitive (ASCII letters).
    Ignored,
    /// Case-insensitive, for folded texts: the pattern, the text and the values of variables are
    /// folded ([`fold`]).
    Folded,
}

/// The result of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched<'p> {
    /// The pattern matches.
    Yes,
    /// The pattern does not match.
    No,
    /// A variable has no value, so that the result is undefined.
    Unfilled(&'p Key),
}

impl Pattern {
    /// Parses `text`.
    ///
    /// # Errors
    /// Returns an error if a variable is invalid.
    pub fn parse(text: &str, syntax: Syntax) -> Result<Self, String> {
        let (mut pieces, mut plain) = (SmallVec::new(), String::new());
        let mut rest = text;
        let place = |text: &str| u32::try_from(text.len()).map_err(|_| "it is too long".to_owned());
        let mut flushed = 0;
        let mut flush = |plain: &str, pieces: &mut SmallVec<[Piece; 4]>| {
            let end = place(plain)?;
            if flushed < end {
                pieces.push(Piece::Text(flushed, end));
            }
            flushed = end;
            Ok::<_, String>(())
        };
        while let Some(first) = rest.chars().next() {
            match first {
                '$' if syntax.variables && rest.starts_with("${") => {
                    let (filled, after) = variable(rest)?;
                    match filled {
                        Filled::Always(letter) => plain.push_str(letter),
                        Filled::By(variable) => {
                            flush(&plain, &mut pieces)?;
                            pieces.push(Piece::Variable(Box::new(variable)));
                        }
                    }
                    rest = after;
                    continue;
                }
                '*' if syntax.wildcards => {
                    flush(&plain, &mut pieces)?;
                    // Consecutive wildcards are merged.
                    if pieces.last() != Some(&Piece::Many) {
                        pieces.push(Piece::Many);
                    }
                }
                '?' if syntax.wildcards => {
                    flush(&plain, &mut pieces)?;
                    pieces.push(Piece::Any);
                }
                other => plain.push(other),
            }
            rest = &rest[first.len_utf8()..];
        }
        flush(&plain, &mut pieces)?;
        let varies = pieces.iter().any(|piece| matches!(piece, Piece::Variable(_)));
        Ok(Self { pieces, text: SmallVec::from_slice(plain.as_bytes()), varies, written: text.into() })
    }

    /// Returns the pattern with its text folded; wildcards and variables are unchanged.
    #[must_use]
    pub fn folded(&self) -> Self {
        let mut text = SmallVec::<[u8; 80]>::new();
        // A text is shorter than `u32::MAX` bytes, and folding lengthens it by a factor of less
        // than 18.
        let position = |text: &[u8]| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let fold_piece = |piece: &Piece| match piece {
            Piece::Text(start, end) => {
                let begin = position(&text);
                let plain = std::str::from_utf8(self.part(*start, *end)).unwrap_or_default();
                text.extend_from_slice(fold(plain).as_bytes());
                Piece::Text(begin, position(&text))
            }
            other => other.clone(),
        };
        let pieces = self.pieces.iter().map(fold_piece).collect();
        Self { pieces, text, varies: self.varies, written: self.written.clone() }
    }

    /// Matches `text`, with variables from `context`.
    pub fn matches<'p>(&'p self, text: &str, case: Case, context: &dyn Context) -> Matched<'p> {
        if self.varies
            && let Some(unfilled) = self.variables().find(|variable| variable.fill(context, |_| ()).is_none())
        {
            return Matched::Unfilled(&unfilled.key);
        }
        let matcher = Matcher { pattern: self, text, case, context };
        match matcher.whole() {
            true => Matched::Yes,
            false => Matched::No,
        }
    }

    /// Iterates over the variables.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable(variable) => Some(&**variable),
            Piece::Text(..) | Piece::Any | Piece::Many => None,
        })
    }

    /// Returns the text of a piece.
    fn part(&self, start: u32, end: u32) -> &[u8] {
        &self.text[start as usize..end as usize]
    }

    /// Returns whether `text` begins with the literal prefix of all matches, case-sensitively. Does
    /// not evaluate variables.
    pub fn may_match(&self, text: &str) -> bool {
        text.as_bytes().starts_with(self.first())
    }

    /// Returns the literal prefix of all matches, case-sensitively.
    pub fn lead(&self) -> &str {
        // The bytes are valid UTF-8, because they are an unsplit part of a string.
        std::str::from_utf8(self.first()).unwrap_or_default()
    }

    fn first(&self) -> &[u8] {
        match *self.pieces {
            [Piece::Text(start, end), ..] => self.part(start, end),
            _ => &[],
        }
    }

    /// Returns whether some text that begins with `prefix` matches, for any values of variables.
    /// Only lint uses this, because it scans the prefix once for each piece.
    pub(super) fn may_match_longer(&self, prefix: &str, case: Case) -> bool {
        enum Unit {
            One(Option<char>),
            Many,
        }
        let fold = |c: char| if case == Case::Ignored { c.to_ascii_lowercase() } else { c };
        let units: Vec<Unit> = self
            .pieces
            .iter()
            .flat_map(|piece| match *piece {
                Piece::Text(start, end) => {
                    let text = String::from_utf8_lossy(self.part(start, end)).into_owned();
                    text.chars().map(|c| Unit::One(Some(fold(c)))).collect::<Vec<_>>()
                }
                Piece::Any => vec![Unit::One(None)],
                Piece::Many | Piece::Variable(_) => vec![Unit::Many],
            })
            .collect();
        // The numbers of consumed units for each possible match of the text read so far.
        let skip = |at: usize| {
            let many = units[at..].iter().take_while(|unit| matches!(unit, Unit::Many)).count();
            at..=at + many
        };
        let mut states: BTreeSet<usize> = skip(0).collect();
        for c in prefix.chars().map(fold) {
            let next = states.iter().filter_map(|at| match units.get(*at)? {
                Unit::Many => Some(*at),
                Unit::One(one) => one.is_none_or(|one| one == c).then_some(at + 1),
            });
            states = next.flat_map(skip).collect();
        }
        !states.is_empty()
    }

    /// Returns whether some text that begins with `prefix` may match, case-sensitively.
    pub fn may_begin_with(&self, prefix: &str) -> bool {
        let (text, prefix) = (self.first(), prefix.as_bytes());
        match *self.pieces {
            [Piece::Text(..)] => text.starts_with(prefix),
            // Only the literal text before the first wildcard or variable is fixed.
            _ => {
                let known = text.len().min(prefix.len());
                text[..known] == prefix[..known]
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// The replacement of a `${…}` in a pattern.
enum Filled<'t> {
    /// An escaped special character.
    Always(&'t str),
    By(Variable),
}

/// Parses the variable at the start of `text`. Returns it and the remaining text.
fn variable(text: &str) -> Result<(Filled<'_>, &str), String> {
    let Some(end) = text.find('}') else {
        return Err(format!("`{text}` begins a variable that does not end"));
    };
    let (inner, rest) = (text[2..end].trim(), &text[end + 1..]);
    match inner {
        "*" | "?" | "$" => return Ok((Filled::Always(inner), rest)),
        "" => return Err("`${}` names no key".to_owned()),
        _ => {}
    }
    let (name, default) = match inner.split_once(',') {
        None => (inner, None),
        Some((name, default)) => {
            let quoted = default.trim().strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
            let Some(default) = quoted else {
                return Err(format!("the default in `${{{inner}}}` must be in single quotes"));
            };
            (name.trim_end(), Some(default.into()))
        }
    };
    if name.contains(char::is_whitespace) || name.contains(['$', '{', '\'']) {
        return Err(format!("`{name}` is no condition key"));
    }
    Ok((Filled::By(Variable { key: Key::named(name), default }), rest))
}

impl Variable {
    /// Applies `with` to the variable's value or its default. Returns `None` if it has neither.
    fn fill<T>(&self, context: &dyn Context, with: impl FnOnce(&str) -> T) -> Option<T> {
        match (context.values(&self.key).one(), &self.default) {
            (Some(value), _) => Some(with(&value.text())),
            (None, Some(default)) => Some(with(default)),
            (None, None) => None,
        }
    }
}

struct Matcher<'a> {
    pattern: &'a Pattern,
    text: &'a str,
    case: Case,
    context: &'a dyn Context,
}

impl Matcher<'_> {
    /// Returns whether the pattern matches the whole text. The part before the first `*` is
    /// anchored at the start, and the part after the last `*` at the end. Each other part takes its
    /// first match: a later match would leave less text for the rest. Therefore no backtracking is
    /// needed.
    fn whole(&self) -> bool {
        let mut parts = self.pattern.pieces.split(|piece| *piece == Piece::Many);
        let Some(mut at) = self.forward(parts.next().unwrap_or_default(), 0) else { return false };
        let Some(last) = parts.next_back() else { return at == self.text.len() };
        let Some(end) = self.backward(last, self.text.len()) else { return false };
        for part in parts {
            match self.find(part, at) {
                Some(after) => at = after,
                None => return false,
            }
        }
        at <= end
    }

    /// Returns the end of `part` if it matches at `at`.
    fn forward(&self, part: &[Piece], mut at: usize) -> Option<usize> {
        for piece in part {
            let rest = &self.text[at..];
            at += match piece {
                Piece::Any => rest.chars().next()?.len_utf8(),
                Piece::Many => 0,
                Piece::Text(start, end) => self.begins(rest, self.pattern.part(*start, *end))?,
                Piece::Variable(variable) => {
                    variable.fill(self.context, |text| self.begins(rest, self.value(text).as_bytes()))??
                }
            };
        }
        Some(at)
    }

    /// Returns the start of `part` if it matches up to `at`.
    fn backward(&self, part: &[Piece], mut at: usize) -> Option<usize> {
        for piece in part.iter().rev() {
            let rest = &self.text[..at];
            at -= match piece {
                Piece::Any => rest.chars().next_back()?.len_utf8(),
                Piece::Many => 0,
                Piece::Text(start, end) => self.ends(rest, self.pattern.part(*start, *end))?,
                Piece::Variable(variable) => {
                    variable.fill(self.context, |text| self.ends(rest, self.value(text).as_bytes()))??
                }
            };
        }
        Some(at)
    }

    /// Returns the end of the first match of `part` at or after `at`.
    fn find(&self, part: &[Piece], at: usize) -> Option<usize> {
        let rest = &self.text[at..];
        let first = match part.first() {
            Some(Piece::Text(start, end)) => Some(self.pattern.part(*start, *end)),
            _ => None,
        };
        if let (Some(text), Case::Ignored | Case::Folded) = (first, self.case)
            && let Some(first) = text.first()
        {
            let (small, large) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
            let places = memchr::memchr2_iter(small, large, rest.as_bytes());
            return places.map(|place| at + place).find_map(|place| self.forward(part, place));
        }
        if let (Some(text), Case::Sensitive) = (first, self.case) {
            // Sequential searches are used instead of an iterator, whose construction costs more
            // than a scan of most paths.
            let (bytes, mut from) = (rest.as_bytes(), 0);
            while let Some(place) = memchr::memmem::find(bytes.get(from..)?, text) {
                if let Some(after) = self.forward(part, at + from + place) {
                    return Some(after);
                }
                from += place + 1;
            }
            return None;
        }
        let places = rest.char_indices().map(|(place, _)| at + place).chain([self.text.len()]);
        places.into_iter().find_map(|place| self.forward(part, place))
    }

    fn begins(&self, text: &str, with: &[u8]) -> Option<usize> {
        let head = text.as_bytes().get(..with.len())?;
        self.same(head, with).then_some(with.len())
    }

    fn ends(&self, text: &str, with: &[u8]) -> Option<usize> {
        let tail = text.as_bytes().get(text.len().checked_sub(with.len())?..)?;
        self.same(tail, with).then_some(with.len())
    }

    /// Returns a variable's value in the form in which it is compared.
    fn value<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.case {
            Case::Folded => fold(text),
            Case::Sensitive | Case::Ignored => Cow::Borrowed(text),
        }
    }

    fn same(&self, bytes: &[u8], text: &[u8]) -> bool {
        match self.case {
            Case::Sensitive => bytes == text,
            Case::Ignored | Case::Folded => bytes.eq_ignore_ascii_case(text),
        }
    }
}
