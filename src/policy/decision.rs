//! The decision (IAM User Guide, "Policy evaluation logic"): "an explicit deny in any of these
//! policies overrides the allow". By default, a request is denied.

use super::context::EvalRequest;
use super::document::Document;
use super::statement::{Effect, Statement};
use std::sync::Arc;

/// Statements of several policies, divided into Deny and Allow.
#[derive(Clone, Debug, Default)]
pub struct Statements {
    narrowed: Option<Prefilter>,
    denies: Vec<Arc<Statement>>,
    allows: Vec<Arc<Statement>>,
}

/// The properties of requests for which statements were preselected.
#[derive(Clone, Debug)]
struct Prefilter {
    /// The action of all requests.
    action: Box<str>,
    /// The prefix of all resources.
    prefix: Box<str>,
    /// One prefix mask for each Allow statement. The mask excludes most statements that do not
    /// match, without access to the statement.
    leads: Box<[PrefixMask]>,
}

/// The first 16 bytes of a text, with a mask for shorter texts.
#[derive(Clone, Copy, Debug)]
struct PrefixMask {
    mask: u128,
    letters: u128,
}

impl PrefixMask {
    fn of(text: &str) -> Self {
        Self {
            mask: first_letters(&[0xff; 16][..text.len().min(16)]),
            letters: first_letters(text.as_bytes()),
        }
    }
}

/// Returns the first 16 bytes as an integer, padded with zeros.
fn first_letters(text: &[u8]) -> u128 {
    let mut letters = [0; 16];
    let known = text.len().min(16);
    letters[..known].copy_from_slice(&text[..known]);
    u128::from_le_bytes(letters)
}

impl Prefilter {
    /// Returns the Allow statements that may match `request`. Returns `None` if they were not
    /// preselected for such requests.
    fn likely<'s>(
        &self,
        request: &EvalRequest<'_>,
        allows: &'s [Arc<Statement>],
    ) -> Option<impl Iterator<Item = &'s Statement>> {
        let rest =
            request.resource.strip_prefix(&*self.prefix).filter(|_| *self.action == *request.action)?;
        let letters = first_letters(rest.as_bytes());
        let leads = self.leads.iter().map(move |lead| letters & lead.mask == lead.letters);
        Some(leads.zip(allows).filter_map(|(likely, statement)| likely.then_some(&**statement)))
    }
}

/// The decision on a request.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'p> {
    /// Allowed by this statement, and possibly others.
    Allowed(&'p Statement),
    /// Denied by this statement.
    Denied(&'p Statement),
    /// No statement allows it.
    NotAllowed,
}

impl Statements {
    /// Collects the statements of `documents`.
    pub fn of<'d>(documents: impl IntoIterator<Item = &'d Document>) -> Self {
        let all = documents.into_iter().flat_map(|document| document.statements.iter().cloned());
        let (denies, allows) = all.partition(|statement| statement.effect == Effect::Deny);
        Self { narrowed: None, denies, allows }
    }

    /// Returns only the statements that may match requests for `action` on resources that begin
    /// with `prefix`.
    #[must_use]
    pub fn narrowed(&self, action: &str, prefix: &str) -> Self {
        let may = |statement: &&Arc<Statement>| statement.may_be_met(action, prefix);
        let select = |list: &[Arc<Statement>]| -> Vec<_> { list.iter().filter(may).cloned().collect() };
        let (denies, allows) = (select(&self.denies), select(&self.allows));
        let leads = allows.iter().map(|statement| PrefixMask::of(statement.lead(prefix))).collect();
        let narrowed = Some(Prefilter { action: action.into(), prefix: prefix.into(), leads });
        Self { narrowed, denies, allows }
    }

    /// Iterates over the statements.
    pub fn iter(&self) -> impl Iterator<Item = &Statement> {
        self.denies.iter().chain(&self.allows).map(|statement| &**statement)
    }

    /// Returns whether a condition or a variable depends on the individual request.
    pub fn depend_on_request(&self) -> bool {
        self.iter().any(|statement| {
            statement.conditions().iter().any(|condition| condition.key.is_of_request())
                || statement.variables().any(|variable| variable.key.is_of_request())
        })
    }

    /// Evaluates `request`.
    pub fn judge(&self, request: &EvalRequest<'_>) -> Verdict<'_> {
        let likely = self.narrowed.as_ref().and_then(|narrowed| narrowed.likely(request, &self.allows));
        let (denied, allowed) = match likely {
            Some(mut likely) => {
                let met = |statement: &&Statement| statement.met_by_action(request).is_ok();
                (self.denies.iter().map(|statement| &**statement).find(met), likely.find(met))
            }
            None => {
                let met = |statement: &&Arc<Statement>| statement.met(request).is_ok();
                (self.denies.iter().find(met).map(|of| &**of), self.allows.iter().find(met).map(|of| &**of))
            }
        };
        match (denied, allowed) {
            (Some(statement), _) => Verdict::Denied(statement),
            (None, Some(statement)) => Verdict::Allowed(statement),
            (None, None) => Verdict::NotAllowed,
        }
    }
}

/// A principal's permissions: the role's policies, limited by boundaries.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// The role's policies.
    pub policies: Statements,
    /// Policies that must also allow a request, such as the role's permissions boundary and session
    /// policies. Each of them only restricts: "the resulting permissions are the intersection".
    pub bounds: Vec<Statements>,
}

impl Grants {
    /// Returns only the statements that may match requests for `action` on resources that begin
    /// with `prefix`.
    #[must_use]
    pub fn narrowed(&self, action: &str, prefix: &str) -> Self {
        let bounds = self.bounds.iter().map(|bound| bound.narrowed(action, prefix)).collect();
        Self { policies: self.policies.narrowed(action, prefix), bounds }
    }

    /// Evaluates `request`.
    pub fn judge(&self, request: &EvalRequest<'_>) -> Verdict<'_> {
        let mut verdict = self.policies.judge(request);
        for bound in &self.bounds {
            verdict = match (verdict, bound.judge(request)) {
                // A Deny in any policy takes precedence, even without an Allow.
                (Verdict::Denied(by), _) | (_, Verdict::Denied(by)) => return Verdict::Denied(by),
                (Verdict::Allowed(by), Verdict::Allowed(_)) => Verdict::Allowed(by),
                (_, Verdict::NotAllowed) | (Verdict::NotAllowed, _) => Verdict::NotAllowed,
            };
        }
        verdict
    }
}
