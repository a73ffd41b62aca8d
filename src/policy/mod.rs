//! Judges requests. Pure: no I/O and no clock of its own; what it needs to know stands in the
//! [`Request`], or in the [`Context`] that a policy's conditions look into. Only this room makes a
//! [`Permit`], and nothing is forwarded without one.

mod condition;
mod context;
mod decision;
mod document;
mod explain;
mod pattern;
mod statement;
mod value;

pub use condition::{Condition, Unmet};
pub use context::{Asked, Context, KNOWN_KEYS, Key, Known, Value, Values};
pub use decision::{Grants, Statements, Verdict};
pub use document::{Document, Mistake, Purpose};
pub use explain::{Nearness, Told, explain};
pub use pattern::{Pattern, Variable};
pub use statement::{Effect, Miss, Statement};

/// What a route asks of whoever comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Anyone may pass.
    Public,
    /// Whoever is signed in may pass.
    SignedIn,
}

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// For whom the request speaks: the user's `sub`, or nobody.
    pub subject: Option<&'a str>,
}

/// Proof that this room allowed a request.
#[derive(Debug)]
#[must_use = "a permit is what forwarding needs"]
pub struct Permit(());

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It speaks for nobody, and the rule wants somebody: signing in may help.
    NotSignedIn,
}

/// Judges `request` by `rule`.
///
/// # Errors
/// The reason of the refusal.
pub fn evaluate(rule: Rule, request: &Request<'_>) -> Result<Permit, Denial> {
    match (rule, request.subject) {
        (Rule::Public, _) | (Rule::SignedIn, Some(_)) => Ok(Permit(())),
        (Rule::SignedIn, None) => Err(Denial::NotSignedIn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_in_wants_somebody_and_public_wants_nobody() {
        let (nobody, somebody) = (Request { subject: None }, Request { subject: Some("sub") });
        assert!(evaluate(Rule::Public, &nobody).is_ok());
        assert!(evaluate(Rule::Public, &somebody).is_ok());
        assert!(evaluate(Rule::SignedIn, &somebody).is_ok());
        assert_eq!(evaluate(Rule::SignedIn, &nobody).unwrap_err(), Denial::NotSignedIn);
    }
}
