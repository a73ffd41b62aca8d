//! Policy documents in AWS's format (IAM User Guide, "IAM JSON policy elements reference").

use super::json::{self, Raw, Version};
use super::statement::{Elements, Statement};
use std::fmt;
use std::sync::Arc;

/// Maximum length in bytes. AWS's limit is "Managed policies: 6,144 characters"; trust policies and
/// local files may be longer.
const LONGEST: usize = 256 * 1024;

/// The kind of a policy document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A permissions policy, which has resources and no principal.
    Identity,
    /// A trust policy, which has principals and no resource.
    Trust,
}

/// A policy document.
#[derive(Clone, Debug)]
pub struct Document {
    /// The statements, in the order of the document.
    pub statements: Vec<Arc<Statement>>,
}

/// An error in a policy document, with its location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1; 0 if only the line is known.
    pub column: usize,
    /// The error.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.column {
            0 => write!(f, "{}: {}", self.line, self.message),
            column => write!(f, "{}:{column}: {}", self.line, self.message),
        }
    }
}

impl std::error::Error for Mistake {}

impl Document {
    /// Parses `text`.
    ///
    /// # Errors
    /// Returns the first error with its location.
    pub fn parse(text: &str, purpose: Purpose) -> Result<Self, Mistake> {
        if text.len() > LONGEST {
            let message = format!("a policy has at most {LONGEST} bytes");
            return Err(Mistake { line: 1, column: 0, message });
        }
        let read = json::read(text).map_err(|error| {
            let text = error.to_string();
            // serde_json appends the location to its message; the location is reported separately.
            let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
            Mistake { line: error.line(), column: error.column(), message: message.to_owned() }
        })?;
        let variables = read.version == Version::New;
        if read.statements.is_empty() {
            let message = "the policy has no statement".to_owned();
            return Err(Mistake { line: read.line, column: 0, message });
        }
        let mut all: Vec<Arc<Statement>> = Vec::new();
        for (number, (line, raw)) in read.statements.into_iter().enumerate() {
            let wrong = |message| Mistake { line, column: 0, message };
            let statement = statement(raw, number + 1, line, purpose, variables).map_err(wrong)?;
            let twice = |other: &Arc<Statement>| other.sid.is_some() && other.sid == statement.sid;
            if let Some(other) = all.iter().find(|other| twice(other)) {
                let sid = other.sid.as_deref().unwrap_or_default();
                return Err(wrong(format!("two statements have the Sid `{sid}`")));
            }
            all.push(Arc::new(statement));
        }
        Ok(Self { statements: all })
    }
}

impl Document {
    /// Sets the document's name in all its statements.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        let name: Arc<str> = name.into();
        self.statements.iter_mut().for_each(|statement| Arc::make_mut(statement).policy = name.clone());
        self
    }
}

fn statement(
    raw: Raw,
    number: usize,
    line: usize,
    purpose: Purpose,
    variables: bool,
) -> Result<Statement, String> {
    // "Empty Sid value": AWS treats it as absent.
    let sid = raw.sid.filter(|sid| !sid.is_empty());
    if let Some(sid) = &sid
        && !sid.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        return Err(format!("the Sid `{sid}` holds more than letters and digits"));
    }
    let action = one_of("Action", raw.action, "NotAction", raw.not_action)?;
    let action = action.ok_or("a statement has an Action or a NotAction")?;
    // "You cannot use the NotPrincipal element in an IAM identity-based policy nor in an IAM role
    // trust policy."
    if raw.not_principal.is_some() {
        return Err(
            "NotPrincipal is not supported; help: name a Principal, and except others by a Condition".into(),
        );
    }
    let resource = one_of("Resource", raw.resource, "NotResource", raw.not_resource)?;
    match (purpose, &raw.principal, &resource) {
        (Purpose::Identity, Some(_), _) => {
            return Err("a Principal is valid in trust policies only; help: remove it".into());
        }
        (Purpose::Identity, None, None) => return Err("a statement has a Resource or a NotResource".into()),
        (Purpose::Trust, None, _) => return Err("a statement of a trust policy has a Principal".into()),
        (Purpose::Trust, _, Some(_)) => {
            return Err("a trust policy applies to its own role; help: remove the Resource".into());
        }
        _ => {}
    }
    let mut conditions = Vec::new();
    for (operator, keys) in raw.condition.map(|conditions| conditions.0).unwrap_or_default() {
        if keys.0.is_empty() {
            return Err(format!(
                "`{operator}` names no condition key; help: name one, or remove the operator"
            ));
        }
        conditions.extend(keys.0.into_iter().map(|(key, values)| (operator.clone(), key, values.0)));
    }
    Statement::new(Elements {
        sid,
        number,
        line,
        effect: raw.effect,
        principal: raw.principal.map(|principals| principals.0),
        action: (action.0, action.1.0),
        resource: resource.map(|(not, resources)| (not, resources.0)),
        conditions,
        variables,
    })
}

/// Returns whichever of two exclusive elements is present, and whether it is the second one.
fn one_of<T>(name: &str, one: Option<T>, other: &str, not: Option<T>) -> Result<Option<(bool, T)>, String> {
    match (one, not) {
        (Some(_), Some(_)) => Err(format!("a statement has {name} or {other}, not both")),
        (Some(value), None) => Ok(Some((false, value))),
        (None, Some(value)) => Ok(Some((true, value))),
        (None, None) => Ok(None),
    }
}
