//! The decision (IAM User Guide, "Policy evaluation logic"): "an explicit deny in any of these policies overrides
//! the allow"; without an allow, the answer is no.

use super::context::Asked;
use super::document::Document;
use super::statement::{Effect, Statement};
use std::sync::Arc;

/// The statements of some policies, those that deny before those that allow.
#[derive(Clone, Debug, Default)]
pub struct Statements {
    /// The action that all of them are about, where they were chosen by it.
    action: Option<Box<str>>,
    denies: Vec<Arc<Statement>>,
    allows: Vec<Arc<Statement>>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'p> {
    /// It is allowed, by this statement at least.
    Allowed(&'p Statement),
    /// It is denied by this statement.
    Denied(&'p Statement),
    /// Nothing allows it.
    NotAllowed,
}

impl Statements {
    /// Those of `documents`.
    pub fn of<'d>(documents: impl IntoIterator<Item = &'d Document>) -> Self {
        let all = documents.into_iter().flat_map(|document| document.statements.iter().cloned());
        let (denies, allows) = all.partition(|statement| statement.effect == Effect::Deny);
        Self { action: None, denies, allows }
    }

    /// Those of them that a request for `action` to a resource that begins with `prefix` may meet.
    #[must_use]
    pub fn narrowed(&self, action: &str, prefix: &str) -> Self {
        let may = |statement: &&Arc<Statement>| statement.may_be_met(action, prefix);
        let kept = |list: &[Arc<Statement>]| list.iter().filter(may).cloned().collect();
        Self { action: Some(action.into()), denies: kept(&self.denies), allows: kept(&self.allows) }
    }

    /// Every statement.
    pub fn iter(&self) -> impl Iterator<Item = &Statement> {
        self.denies.iter().chain(&self.allows).map(|statement| &**statement)
    }

    /// Judges `asked`.
    pub fn judge(&self, asked: &Asked<'_>) -> Verdict<'_> {
        let acts = self.action.as_deref() == Some(asked.action);
        let met = |statement: &&Arc<Statement>| match acts {
            true => statement.met_by_action(asked).is_ok(),
            false => statement.met(asked).is_ok(),
        };
        if let Some(statement) = self.denies.iter().find(met) {
            return Verdict::Denied(statement);
        }
        self.allows.iter().find(met).map_or(Verdict::NotAllowed, |statement| Verdict::Allowed(statement))
    }
}

/// What a principal may do: what its role's policies allow, within the bounds that are set to it.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// The role's policies.
    pub policies: Statements,
    /// What else must allow a request: the permissions boundary of the role, the session's policies. Each of
    /// them only takes away: "the resulting permissions are the intersection".
    pub bounds: Vec<Statements>,
}

impl Grants {
    /// Those of its statements that a request for `action` to a resource that begins with `prefix` may meet.
    #[must_use]
    pub fn narrowed(&self, action: &str, prefix: &str) -> Self {
        let bounds = self.bounds.iter().map(|bound| bound.narrowed(action, prefix)).collect();
        Self { policies: self.policies.narrowed(action, prefix), bounds }
    }

    /// Judges `asked`.
    pub fn judge(&self, asked: &Asked<'_>) -> Verdict<'_> {
        let mut verdict = self.policies.judge(asked);
        for bound in &self.bounds {
            verdict = match (verdict, bound.judge(asked)) {
                // A denial counts wherever it stands; what nothing allows may still be denied by name.
                (Verdict::Denied(by), _) | (_, Verdict::Denied(by)) => return Verdict::Denied(by),
                (Verdict::Allowed(by), Verdict::Allowed(_)) => Verdict::Allowed(by),
                (_, Verdict::NotAllowed) | (Verdict::NotAllowed, _) => Verdict::NotAllowed,
            };
        }
        verdict
    }
}
