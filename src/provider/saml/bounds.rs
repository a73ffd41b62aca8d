//! Limits on XML, checked on its bytes before it is parsed: the parser's time grows with the square
//! of an element's attributes and of the namespaces in scope.
//!
//! Nothing is interpreted here. Each count is at least what any parser would find.

use std::collections::HashSet;

/// Elements, texts, comments. A message with a thousand groups has some thousand.
pub const MAX_NODES: u32 = 30_000;
/// Nested elements.
pub const MAX_DEPTH: usize = 40;
/// Attributes of one element, namespace declarations among them.
const MAX_ATTRIBUTES: usize = 64;
/// Prefixes declared in a document, which bounds the namespaces in scope of each element.
const MAX_PREFIXES: usize = 32;
/// Tags, comments, sections.
const MAX_MARKUP: usize = 2 * MAX_NODES as usize;

/// Checks `text` against the limits.
///
/// # Errors
/// The exceeded limit.
pub fn check(text: &str) -> Result<(), String> {
    let mut prefixes = HashSet::new();
    // A start tag ends before the next `<`: XML 1.0, section 2.3, has none in an attribute's value.
    for (count, markup) in text.split('<').enumerate() {
        if count > MAX_MARKUP {
            return Err(format!("it has more than {MAX_MARKUP} tags"));
        }
        if attributes(markup.as_bytes()) > MAX_ATTRIBUTES {
            return Err(format!("an element has more than {MAX_ATTRIBUTES} attributes"));
        }
        for declaration in markup.split("xmlns:").skip(1) {
            let end = declaration.find(|c: char| c == '=' || c.is_ascii_whitespace());
            prefixes.insert(&declaration[..end.unwrap_or(declaration.len())]);
            if prefixes.len() > MAX_PREFIXES {
                return Err(format!("it declares more than {MAX_PREFIXES} namespace prefixes"));
            }
        }
    }
    Ok(())
}

/// At least as many as the attributes in `markup`: each is an equals sign, white space, and a
/// quotation mark.
fn attributes(markup: &[u8]) -> usize {
    let begins = |at: usize| {
        let value = markup[at + 1..].iter().find(|byte| !byte.is_ascii_whitespace());
        matches!(value, Some(b'"' | b'\''))
    };
    memchr::memchr_iter(b'=', markup).filter(|at| begins(*at)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(count: usize, part: impl Fn(usize) -> String) -> String {
        (0..count).map(part).collect()
    }

    #[test]
    fn each_limit_holds_to_its_last_one() {
        let attributes = |count| format!("<a {}/>", repeated(count, |n| format!(" a{n} \t=\n'x'")));
        let prefixes = |count| {
            format!("<a>{}</a>", repeated(count, |n| format!("<b xmlns:p{n} = 'urn:{n}' xmlns:q='urn:q'/>")))
        };
        let tags = |count| format!("<a>{}</a>", "<b/>".repeat(count));
        for (good, bad) in [
            (attributes(MAX_ATTRIBUTES), attributes(MAX_ATTRIBUTES + 1)),
            (prefixes(MAX_PREFIXES - 1), prefixes(MAX_PREFIXES)),
            (tags(MAX_MARKUP - 2), tags(MAX_MARKUP - 1)),
        ] {
            assert_eq!(check(&good), Ok(()));
            assert!(check(&bad).is_err());
        }
    }
}
