//! Policy documents as AWS writes them (IAM User Guide, "IAM JSON policy elements reference").

use super::json::{self, Raw, Version};
use super::statement::{Elements, Statement};
use std::fmt;
use std::sync::Arc;

/// "Managed policies: 6,144 characters"; trust policies and people's own files may be longer, but not without end.
const LONGEST: usize = 256 * 1024;

/// What a document is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It says what whoever it is attached to may do: resources, and no principal.
    Identity,
    /// It says who may take on a role: principals, and no resource.
    Trust,
}

/// A policy document.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its statements, in their order.
    pub statements: Vec<Arc<Statement>>,
}

/// Where a document is wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1; 0 where only the line is known.
    pub column: usize,
    /// What is wrong.
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
    /// Reads `text`.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn parse(text: &str, purpose: Purpose) -> Result<Self, Mistake> {
        if text.len() > LONGEST {
            let message = format!("a policy has at most {LONGEST} bytes");
            return Err(Mistake { line: 1, column: 0, message });
        }
        let read = json::read(text).map_err(|error| {
            let told = error.to_string();
            // serde_json tells the place behind the message; ours stands before it.
            let message = told.rsplit_once(" at line ").map_or(told.as_str(), |(message, _)| message);
            Mistake { line: error.line(), column: error.column(), message: message.to_owned() }
        })?;
        let variables = read.version == Version::New;
        if read.statements.is_empty() {
            let message = "a policy without a statement says nothing".to_owned();
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
    /// The same, called `name`.
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
    // "Empty Sid value": AWS takes it for none.
    let sid = raw.sid.filter(|sid| !sid.is_empty());
    if let Some(sid) = &sid
        && !sid.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        return Err(format!("the Sid `{sid}` holds more than letters and digits"));
    }
    let action = one_of("Action", raw.action, "NotAction", raw.not_action)?;
    let action = action.ok_or("a statement has an Action or a NotAction")?;
    // "You cannot use the NotPrincipal element in an IAM identity-based policy nor in an IAM role trust policy."
    if raw.not_principal.is_some() {
        return Err(
            "NotPrincipal is not supported; help: name a Principal, and except others by a Condition".into(),
        );
    }
    let resource = one_of("Resource", raw.resource, "NotResource", raw.not_resource)?;
    match (purpose, &raw.principal, &resource) {
        (Purpose::Identity, Some(_), _) => {
            return Err(
                "a Principal stands in trust policies; whom this one is for is said where it is used".into(),
            );
        }
        (Purpose::Identity, None, None) => return Err("a statement has a Resource or a NotResource".into()),
        (Purpose::Trust, None, _) => return Err("a statement of a trust policy has a Principal".into()),
        (Purpose::Trust, _, Some(_)) => {
            return Err("a trust policy speaks of its own role: remove the Resource".into());
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

/// The one of two elements that is there, and whether it is the second.
fn one_of<T>(name: &str, one: Option<T>, other: &str, not: Option<T>) -> Result<Option<(bool, T)>, String> {
    match (one, not) {
        (Some(_), Some(_)) => Err(format!("a statement has {name} or {other}, not both")),
        (Some(value), None) => Ok(Some((false, value))),
        (None, Some(value)) => Ok(Some((true, value))),
        (None, None) => Ok(None),
    }
}
