//! Checks that several operations on pools share, with AWS's words.

use crate::config::{Config, PoolTriggers};
use crate::directory::error::{DirectoryError, Outcome};
use std::fmt::Display;
use std::ops::RangeInclusive;

/// The pattern of names in Cognito's API, in Java's syntax.
const NAME_PATTERN: &str = "[\\w\\s+=,.@-]+";
/// The pattern of identifiers and scopes.
const VISIBLE_PATTERN: &str = "[\\x21\\x23-\\x5B\\x5D-\\x7E]+";

/// Returns the error of a value that does not satisfy a constraint.
pub(super) fn unsatisfied(at: &str, constraint: impl Display) -> DirectoryError {
    DirectoryError::invalid(format!(
        "1 validation error detected: Value at '{at}' failed to satisfy constraint: Member must {constraint}"
    ))
}

/// Checks the number of characters or entries.
pub(super) fn check_length(at: &str, length: usize, bounds: RangeInclusive<usize>) -> Outcome<()> {
    if length < *bounds.start() {
        let least = bounds.start();
        return Err(unsatisfied(at, format_args!("have length greater than or equal to {least}")));
    }
    if length > *bounds.end() {
        let most = bounds.end();
        return Err(unsatisfied(at, format_args!("have length less than or equal to {most}")));
    }
    Ok(())
}

/// Checks a number.
pub(super) fn check_range(at: &str, value: u64, bounds: RangeInclusive<u64>) -> Outcome<()> {
    if value < *bounds.start() {
        return Err(unsatisfied(at, format_args!("have value greater than or equal to {}", bounds.start())));
    }
    if value > *bounds.end() {
        return Err(unsatisfied(at, format_args!("have value less than or equal to {}", bounds.end())));
    }
    Ok(())
}

/// Checks each character of `text` against `pattern`, which AWS's message names.
pub(super) fn check_pattern(
    at: &str,
    text: &str,
    pattern: &str,
    allowed: impl Fn(char) -> bool,
) -> Outcome<()> {
    match text.chars().all(allowed) {
        true => Ok(()),
        false => Err(unsatisfied(at, format_args!("satisfy regular expression pattern: {pattern}"))),
    }
}

/// Checks a name: ASCII letters, digits, white space and `_+=,.@-`.
pub(super) fn check_name(at: &str, name: &str, max: usize) -> Outcome<()> {
    check_length(at, name.chars().count(), 1..=max)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || is_java_space(c) || "_+=,.@-".contains(c);
    check_pattern(at, name, NAME_PATTERN, allowed)
}

/// Checks an identifier: visible ASCII characters but `"` and `\` (RFC 6749, section 3.3).
pub(super) fn check_visible(at: &str, text: &str, max: usize) -> Outcome<()> {
    check_length(at, text.len(), 1..=max)?;
    check_pattern(at, text, VISIBLE_PATTERN, |c| c.is_ascii_graphic() && c != '"' && c != '\\')
}

/// Returns whether Java's `\s` matches a character.
pub(super) fn is_java_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

/// Returns the first value that occurs twice.
pub(super) fn duplicate<T: PartialEq>(values: &[T]) -> Option<&T> {
    values.iter().enumerate().find(|(at, value)| values[..*at].contains(value)).map(|(_, value)| value)
}

/// Checks that the configuration declares the functions of a pool: it alone has their addresses.
///
/// # Errors
/// Returns `InvalidParameterException` for a function that it does not declare.
pub fn check_triggers(config: &Config, triggers: &PoolTriggers) -> Outcome<()> {
    let is_declared = |name: &String| config.triggers.iter().any(|trigger| trigger.name == *name);
    match triggers.names.values().find(|name| !is_declared(name)) {
        Some(name) => Err(DirectoryError::invalid(format!(
            "The Lambda function {name} does not exist: no [[trigger]] of the configuration has this name."
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_cognitos_characters() {
        for (name, fits) in [
            ("web app", true),
            ("a_B+=,.@-1", true),
            ("", false),
            ("caf\u{e9}", false),
            ("a/b", false),
            ("a\u{a0}b", false),
        ] {
            assert_eq!(check_name("name", name, 128).is_ok(), fits, "{name:?}");
        }
        assert!(check_name("name", &"a".repeat(128), 128).is_ok());
        assert!(check_name("name", &"a".repeat(129), 128).is_err());
    }

    #[test]
    fn identifiers_have_visible_characters() {
        for (text, fits) in [("https://a.example/x", true), ("a b", false), ("a\"", false), ("a\\", false)] {
            assert_eq!(check_visible("identifier", text, 256).is_ok(), fits, "{text:?}");
        }
        assert_eq!(duplicate(&["a", "b", "a"]), Some(&"a"));
    }
}
