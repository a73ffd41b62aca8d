//! Judges requests. Pure: no I/O and no clock of its own; what it needs to know stands in the
//! [`Question`], or in the [`Context`] that a policy's conditions look into. Only this room makes a
//! [`Permit`], and nothing is forwarded without one.

mod arn;
mod condition;
mod context;
mod decision;
mod document;
mod explain;
mod json;
mod lint;
mod pattern;
mod principal;
mod reference;
mod statement;
mod value;

pub use condition::{Condition, Unmet};
pub use context::{Context, EvalRequest, KNOWN_KEYS, Key, Known, Spellings, Value, Values};
pub use decision::{Grants, Statements, Verdict};
pub use document::{Document, Mistake, Purpose};
pub use explain::{MatchLevel, StatementTrace, explain};
pub use lint::{Finding, Requests, Severity, lint};
pub use pattern::{Pattern, Variable};
pub use reference::condition_keys_reference;
pub use statement::{Effect, Miss, Statement};

/// What is to be judged, and by what.
#[derive(Clone, Copy)]
pub enum Question<'g, 'a> {
    /// Anyone may pass.
    Public,
    /// Whoever is signed in may pass: for whom the request speaks, the user's `sub`, or nobody.
    SignedIn(Option<&'a str>),
    /// Only people that a list names may pass: whether it names the person, where there is one.
    Listed(Option<bool>),
    /// Whom their role's policies let may pass.
    Policy(&'g Grants, &'a EvalRequest<'a>),
}

/// Proof that this room allowed a request.
#[derive(Debug)]
#[must_use = "a permit is what forwarding needs"]
pub struct Permit(());

/// Why a request was refused.
#[derive(Clone, Copy, Debug)]
pub enum Denial<'a> {
    /// It speaks for nobody, and the rule wants somebody: signing in may help.
    NotSignedIn,
    /// No statement allows it.
    NotAllowed,
    /// This statement denies it.
    Denied(&'a Statement),
}

/// Judges a request.
///
/// # Errors
/// The reason of the refusal.
pub fn evaluate<'g>(question: Question<'g, '_>) -> Result<Permit, Denial<'g>> {
    match question {
        Question::Public | Question::SignedIn(Some(_)) | Question::Listed(Some(true)) => Ok(Permit(())),
        Question::SignedIn(None) | Question::Listed(None) => Err(Denial::NotSignedIn),
        Question::Listed(Some(false)) => Err(Denial::NotAllowed),
        Question::Policy(grants, asked) => match grants.judge(asked) {
            Verdict::Allowed(_) => Ok(Permit(())),
            Verdict::Denied(statement) => Err(Denial::Denied(statement)),
            Verdict::NotAllowed => Err(Denial::NotAllowed),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_in_wants_somebody_and_public_wants_nobody() {
        assert!(evaluate(Question::Public).is_ok());
        assert!(evaluate(Question::SignedIn(Some("sub"))).is_ok());
        assert!(matches!(evaluate(Question::SignedIn(None)), Err(Denial::NotSignedIn)));
        assert!(evaluate(Question::Listed(Some(true))).is_ok());
        assert!(matches!(evaluate(Question::Listed(Some(false))), Err(Denial::NotAllowed)));
        assert!(matches!(evaluate(Question::Listed(None)), Err(Denial::NotSignedIn)));
    }
}
