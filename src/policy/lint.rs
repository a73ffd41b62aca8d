//! Detection of probable mistakes in valid statements.

use super::context::{Context, EvalRequest, Key, Nothing, Value, Values};
use super::pattern::{Case, Matched};
use super::statement::{Effect, Statement};

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The statement may not have the intended effect.
    Warning,
    /// A Deny statement, or a part of it, never applies: access that it should deny is allowed.
    Error,
}

/// A probable mistake in a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The severity.
    pub severity: Severity,
    /// The mistake and its remedy.
    pub message: String,
}

/// The properties of possible requests.
#[derive(Clone, Copy)]
pub struct Requests<'a> {
    /// The possible actions.
    pub actions: &'a [&'a str],
    /// The principal, for trust policies.
    pub principal: Option<(&'a str, &'a str)>,
    /// The prefixes of resources; empty for trust policies.
    pub resources: &'a [String],
    /// The function that returns whether a request may have a condition key.
    pub fills: &'a dyn Fn(&Key) -> bool,
}

/// Returns the probable mistakes in `statement`, considering the possible requests.
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

/// The findings so far.
struct Found {
    denies: bool,
    findings: Vec<Finding>,
}

impl Found {
    fn warn(&mut self, message: String) {
        self.findings.push(Finding { severity: Severity::Warning, message });
    }

    /// Records that something never applies. This is an error in a Deny statement, and a warning
    /// otherwise.
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
            // This is harmless if another action in the list matches.
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
                    "`{resource}` allows more than its path: * matches any text, including slashes; write the methods instead"
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
                let request =
                    EvalRequest { action: "", resource: "", loose: None, principal: None, context: &context };
                let always = condition.met(&request, self.denies).is_ok();
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

    /// Records a variable that never has a value. `negated` states whether the statement then
    /// applies.
    fn variable(&mut self, variable: &super::Variable, negated: bool, requests: &Requests<'_>) {
        if variable.default.is_some() || (requests.fills)(&variable.key) {
            return;
        }
        let message = format!("nothing fills `${{{}}}` for those who have the role", variable.key);
        if negated { self.warn(message) } else { self.never(message) }
    }
}

/// A context in which each key has this value, or no value.
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
