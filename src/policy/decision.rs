//! The decision (IAM User Guide, "Policy evaluation logic"): "an explicit deny in any of these policies overrides
//! the allow"; without an allow, the answer is no.

use super::context::EvalRequest;
use super::document::Document;
use super::statement::{Effect, Statement};
use std::sync::Arc;

/// The statements of some policies, those that deny before those that allow.
#[derive(Clone, Debug, Default)]
pub struct Statements {
    narrowed: Option<Prefilter>,
    denies: Vec<Arc<Statement>>,
    allows: Vec<Arc<Statement>>,
}

/// By what some of the statements were chosen.
#[derive(Clone, Debug)]
struct Prefilter {
    /// The action that all of them are about.
    action: Box<str>,
    /// What the resources begin with of which they are asked.
    prefix: Box<str>,
    /// How resources go on behind that which meet the statements that allow, one for each. Most are about something
    /// else, and this tells without a look at them.
    leads: Box<[PrefixMask]>,
}

/// Letters that a text begins with: sixteen of them, or those where the mask is set.
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

/// The first sixteen bytes, with zeros behind where there are fewer.
fn first_letters(text: &[u8]) -> u128 {
    let mut letters = [0; 16];
    let known = text.len().min(16);
    letters[..known].copy_from_slice(&text[..known]);
    u128::from_le_bytes(letters)
}

impl Prefilter {
    /// The allowing statements that `asked` may meet; `None` where they were not chosen for such as it.
    fn likely<'s>(
        &self,
        asked: &EvalRequest<'_>,
        allows: &'s [Arc<Statement>],
    ) -> Option<impl Iterator<Item = &'s Statement>> {
        let rest = asked.resource.strip_prefix(&*self.prefix).filter(|_| *self.action == *asked.action)?;
        let letters = first_letters(rest.as_bytes());
        let leads = self.leads.iter().map(move |lead| letters & lead.mask == lead.letters);
        Some(leads.zip(allows).filter_map(|(likely, statement)| likely.then_some(&**statement)))
    }
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
        Self { narrowed: None, denies, allows }
    }

    /// Those of them that a request for `action` to a resource that begins with `prefix` may meet.
    #[must_use]
    pub fn narrowed(&self, action: &str, prefix: &str) -> Self {
        let may = |statement: &&Arc<Statement>| statement.may_be_met(action, prefix);
        let kept = |list: &[Arc<Statement>]| -> Vec<_> { list.iter().filter(may).cloned().collect() };
        let (denies, allows) = (kept(&self.denies), kept(&self.allows));
        let leads = allows.iter().map(|statement| PrefixMask::of(statement.lead(prefix))).collect();
        let narrowed = Some(Prefilter { action: action.into(), prefix: prefix.into(), leads });
        Self { narrowed, denies, allows }
    }

    /// Every statement.
    pub fn iter(&self) -> impl Iterator<Item = &Statement> {
        self.denies.iter().chain(&self.allows).map(|statement| &**statement)
    }

    /// Whether a condition or a variable of a statement depends on the single request.
    pub fn depend_on_request(&self) -> bool {
        self.iter().any(|statement| {
            statement.conditions().iter().any(|condition| condition.key.is_of_request())
                || statement.variables().any(|variable| variable.key.is_of_request())
        })
    }

    /// Judges `asked`.
    pub fn judge(&self, asked: &EvalRequest<'_>) -> Verdict<'_> {
        let likely = self.narrowed.as_ref().and_then(|narrowed| narrowed.likely(asked, &self.allows));
        let (denied, allowed) = match likely {
            Some(mut likely) => {
                let met = |statement: &&Statement| statement.met_by_action(asked).is_ok();
                (self.denies.iter().map(|statement| &**statement).find(met), likely.find(met))
            }
            None => {
                let met = |statement: &&Arc<Statement>| statement.met(asked).is_ok();
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
    pub fn judge(&self, asked: &EvalRequest<'_>) -> Verdict<'_> {
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
