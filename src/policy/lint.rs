//! Finds what is probably a mistake in a statement that is well-formed.

use super::context::{Context, EvalRequest, Key, Nothing, Value, Values};
use super::pattern::{Case, Matched};
use super::statement::{Effect, Statement};

/// What a finding means for the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The statement does something else than its author may think.
    Warning,
    /// The statement, or a part of it, is to deny something and can never apply: what it is to shut is open.
    Error,
}

/// What is odd about a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it means.
    pub severity: Severity,
    /// What is odd, and the remedy.
    pub message: String,
}

/// The requests that a statement may meet.
#[derive(Clone, Copy)]
pub struct Requests<'a> {
    /// The actions that are asked for.
    pub actions: &'a [&'a str],
    /// The principal, where a trust policy is judged.
    pub principal: Option<(&'a str, &'a str)>,
    /// What the resources begin with; none where a trust policy is judged.
    pub resources: &'a [String],
    /// Whether a request may have a condition key.
    pub fills: &'a dyn Fn(&Key) -> bool,
}

/// Returns what is odd about `statement`, given which requests there are.
pub fn lint(statement: &Statement, requests: &Requests<'_>) -> Vec<Finding> {
    let mut found = Found { denies: statement.effect == Effect::Deny, findings: Vec::new() };
    found.actions(statement, requests);
    if requests.principal.is_some() && !statement.names_principal(requests.principal) {
        let kind = requests.principal.map_or("", |(kind, _)| kind);
        let name = requests.principal.map_or("", |(_, name)| name);
        found.never(format!("it names no principal that is given roles: write {{\"{kind}\": \"{name}\"}}"));
    }
    found.resources(statement, requests);
    found.conditions(statement, requests);
    found.findings.dedup();
    found.findings
}

/// What was found so far.
struct Found {
    denies: bool,
    findings: Vec<Finding>,
}

impl Found {
    fn warn(&mut self, message: String) {
        self.findings.push(Finding { severity: Severity::Warning, message });
    }

    /// Something never applies: an error where it is to deny.
    fn never(&mut self, message: String) {
        let severity = if self.denies { Severity::Error } else { Severity::Warning };
        self.findings.push(Finding { severity, message });
    }

    fn actions(&mut self, statement: &Statement, requests: &Requests<'_>) {
        let wanted = requests.actions.join(" or ");
        let (not, patterns) = statement.actions();
        let matched = |pattern: &super::Pattern| {
            let matches = |action: &&str| pattern.matches(action, Case::Ignored, &Nothing) == Matched::Yes;
            requests.actions.iter().any(matches)
        };
        let (matching, others): (Vec<_>, Vec<_>) = patterns.partition(|pattern| matched(pattern));
        if not {
            if !matching.is_empty() {
                self.never(format!(
                    "its NotAction leaves out {wanted}, and there is no other action: write Action"
                ));
            }
            return;
        }
        for pattern in others {
            let message = format!("nothing asks for the action `{pattern}`: write {wanted}");
            // Beside one that is asked for, it leaves nothing open.
            if matching.is_empty() { self.never(message) } else { self.warn(message) }
        }
    }

    fn resources(&mut self, statement: &Statement, requests: &Requests<'_>) {
        let (not, resources) = statement.resources();
        for resource in resources.map(ToString::to_string).filter(|_| !not) {
            if self.denies {
                if has_percent_escape(&resource) {
                    self.warn(format!(
                        "`{resource}` has a percent-escape, and paths are decoded: write the character"
                    ));
                }
                continue;
            }
            if resource.contains("/$default/*/") {
                self.warn(format!(
                    "`{resource}` allows more than its path: * stands for any text, slashes too; write the methods instead"
                ));
            }
        }
        if self.denies && !requests.resources.is_empty() {
            for resource in statement.resources_beyond(requests.resources) {
                self.never(format!(
                    "`{resource}` is about no route under policy: write the name of one, as in `{}*`",
                    requests.resources.first().map_or("", String::as_str)
                ));
            }
            if statement.spares_all(requests.resources) {
                self.never("its NotResource leaves out every route under policy: write Resource".to_owned());
            }
        }
        let (_, resources) = statement.resources();
        for variable in resources.flat_map(super::Pattern::variables) {
            self.variable(variable, not, requests);
        }
    }

    fn conditions(&mut self, statement: &Statement, requests: &Requests<'_>) {
        for condition in statement.conditions() {
            let (key, operator) = (&condition.key, &condition.operator);
            let example = match key {
                Key::Known(known) => Some(known.example()),
                _ => None,
            };
            let unread = example.filter(|example| !condition.operands(*example));
            if !(requests.fills)(key) || unread.is_some() {
                let context = Only(unread);
                let asked =
                    EvalRequest { action: "", resource: "", loose: None, principal: None, context: &context };
                let always = condition.met(&asked, self.denies).is_ok();
                let often = if always { "always" } else { "never" };
                let message = match unread {
                    Some(_) => {
                        format!("{operator} does not read values of the type of `{key}`: it is {often} met")
                    }
                    None => format!(
                        "nothing fills `{key}` for those who have the role: {operator} of it is {often} met"
                    ),
                };
                if always { self.warn(message) } else { self.never(message) }
            }
            for variable in condition.variables() {
                self.variable(variable, condition.is_negated(), requests);
            }
        }
    }

    /// A variable that nothing fills never matches; `negated` where the statement applies then.
    fn variable(&mut self, variable: &super::Variable, negated: bool, requests: &Requests<'_>) {
        if variable.default.is_some() || (requests.fills)(&variable.key) {
            return;
        }
        let message = format!("nothing fills `${{{}}}` for those who have the role", variable.key);
        if negated { self.warn(message) } else { self.never(message) }
    }
}

/// A context in which each key has this value, or none.
struct Only(Option<Value<'static>>);

impl Context for Only {
    fn values(&self, _: &Key) -> Values<'_> {
        self.0.map_or(Values::Absent, Values::One)
    }
}

fn has_percent_escape(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.windows(3).any(|part| part[0] == b'%' && part[1..].iter().all(u8::is_ascii_hexdigit))
}
