//! ARNs with wildcards, part by part.

use super::context::Context;
use super::pattern::{Case, Matched, Pattern, Syntax};

/// "each of the six colon-delimited components of the ARN is checked separately".
#[derive(Clone, Debug)]
pub struct Arn([Pattern; 6]);

impl Arn {
    /// Reads `text`.
    ///
    /// # Errors
    /// Where it has not six parts, or a variable in it is wrong.
    pub fn parse(text: &str, variables: bool) -> Result<Self, String> {
        // A variable may hold colons of its own: `${cognito-identity.amazonaws.com:sub}`.
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
        if parts.len() == 1 && text == "*" {
            parts = vec!["*"; 6];
        }
        let [a, b, c, d, e, f] = parts[..] else {
            return Err(format!("`{text}` is no ARN: it has six parts, with : between"));
        };
        let syntax = Syntax { wildcards: true, variables };
        let read = |part| Pattern::parse(part, syntax);
        Ok(Self([read(a)?, read(b)?, read(c)?, read(d)?, read(e)?, read(f)?]))
    }

    /// Whether `text` matches in each part.
    pub fn matches(&self, text: &str, context: &dyn Context) -> Matched<'_> {
        let mut parts = text.splitn(6, ':');
        for pattern in &self.0 {
            match pattern.matches(parts.next().unwrap_or_default(), Case::Counts, context) {
                Matched::Yes => {}
                other => return other,
            }
        }
        Matched::Yes
    }

    /// Whether a wildcard stands before its last part.
    pub fn is_wide(&self) -> bool {
        self.0[..5].iter().any(|part| part.to_string().contains(['*', '?']))
    }

    /// Its patterns.
    pub fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter()
    }
}
