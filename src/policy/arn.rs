//! ARN patterns, matched component by component.

use super::context::{Context, Nothing};
use super::pattern::{Case, Matched, Pattern, Syntax};

/// An ARN pattern: "each of the six colon-delimited components of the ARN is checked separately".
#[derive(Clone, Debug)]
pub struct Arn([Pattern; 6]);

impl Arn {
    /// Parses `text`.
    ///
    /// # Errors
    /// Returns an error if `text` does not have six components, or a variable is invalid.
    pub fn parse(text: &str, variables: bool) -> Result<Self, String> {
        let mut parts = parts(text, variables);
        if parts.len() == 1 && text == "*" {
            parts = vec!["*"; 6];
        }
        let [a, b, c, d, e, f] = parts[..] else {
            return Err(format!("`{text}` is no ARN: it has six parts, with : between"));
        };
        let syntax = Syntax { wildcards: true, variables };
        let read = |part| Pattern::parse(part, syntax);
        if read(a)?.matches("arn", Case::Sensitive, &Nothing) == Matched::No {
            return Err(format!("`{text}` is no ARN: it does not begin with `arn:`"));
        }
        Ok(Self([read(a)?, read(b)?, read(c)?, read(d)?, read(e)?, read(f)?]))
    }

    /// Parses a resource. Components after a final `*` may be missing.
    ///
    /// # Errors
    /// Returns an error if it is invalid.
    pub fn of_resource(text: &str, variables: bool) -> Result<Self, String> {
        let missing = 6_usize.saturating_sub(parts(text, variables).len());
        match text.ends_with(":*") {
            true => Self::parse(&format!("{text}{}", ":*".repeat(missing)), variables),
            false => Self::parse(text, variables),
        }
    }

    /// Returns whether some ARN that begins with `prefix` may match. `prefix` must have all six
    /// components.
    pub fn may_begin_with(&self, prefix: &str, case: Case) -> bool {
        let mut parts = prefix.splitn(6, ':');
        let [before @ .., last] = &self.0;
        let mut whole = |pattern: &Pattern| {
            let part = parts.next().unwrap_or_default();
            pattern.matches(part, case, &Nothing) != Matched::No
        };
        before.iter().all(&mut whole) && last.may_match_longer(parts.next().unwrap_or_default(), case)
    }

    /// Matches `text` component by component.
    pub fn matches(&self, text: &str, context: &dyn Context) -> Matched<'_> {
        let mut parts = text.splitn(6, ':');
        for pattern in &self.0 {
            match pattern.matches(parts.next().unwrap_or_default(), Case::Sensitive, context) {
                Matched::Yes => {}
                other => return other,
            }
        }
        Matched::Yes
    }

    /// Returns whether a component before the last contains a wildcard.
    pub fn is_wide(&self) -> bool {
        self.0[..5].iter().any(|part| part.to_string().contains(['*', '?']))
    }

    /// Iterates over the patterns of the components.
    pub fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter()
    }
}

/// Splits an ARN into at most six components.
fn parts(text: &str, variables: bool) -> Vec<&str> {
    // A variable may contain colons: `${cognito-identity.amazonaws.com:sub}`.
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' if text[..at].ends_with('$') && variables => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ':' if depth == 0 && parts.len() < 5 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Returns an error for a resource that AWS rejects. Valid are `*` and ARNs,
/// `arn:partition:service:region:account:resource`. Components after a final `*` may be missing.
pub fn check_resource(text: &str) -> Result<(), String> {
    const HELP: &str =
        "help: write `*`, or an ARN like `arn:aws:execute-api:us-east-1:123456789012:app/$default/GET/*`";
    if text == "*" {
        return Ok(());
    }
    let wrong = |what: &str| Err(format!("`{text}` is no resource: {what}; {HELP}"));
    let parts = parts(text, true);
    if parts.len() < 2 || parts[0] != "arn" {
        return wrong("it does not begin with `arn:`");
    }
    if parts.len() < 6 && parts.last() != Some(&"*") {
        return wrong("it has not six parts, with : between");
    }
    if text.chars().any(char::is_control) {
        return wrong("it has control characters");
    }
    for (part, what, valid) in [
        (1, "its partition is none", is_name as fn(&str) -> bool),
        // "Resource vendor must be fully qualified and cannot contain regexes."
        (2, "its service is none, and takes no wildcard", |part| is_name(part) && !part.contains(['*', '?'])),
        (3, "its region is none", |part| part.is_empty() || part.contains("${") || is_name(part)),
        (4, "its account is none: it has 12 digits", is_account),
        (5, "the part behind the account is empty", |part| !part.is_empty()),
    ] {
        if parts.get(part).is_some_and(|part| !valid(part)) {
            return wrong(what);
        }
    }
    Ok(())
}

fn is_name(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'*' | b'?');
    !part.is_empty() && part.bytes().all(plain)
}

fn is_account(part: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'*' | b'?'));
    match part {
        "" | "aws" => true,
        part if part.contains("${") => true,
        part if part.contains('*') => digits(part),
        part => part.len() == 12 && digits(part),
    }
}
