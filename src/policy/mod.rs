//! Policy evaluation: pure functions without I/O or clock. All inputs are in the [`Question`] and
//! in the [`Context`] of its conditions. Only this module creates a [`Permit`], and the gateway
//! forwards nothing without one.

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

/// The authorization question of a request, according to its route's rule.
#[derive(Clone, Copy)]
pub enum Question<'g, 'a> {
    /// Everyone has access.
    Public,
    /// Every signed-in principal has access. Contains its `sub`; `None` for a request without a
    /// principal.
    SignedIn(Option<&'a str>),
    /// The listed users have access. Contains whether the user is listed; `None` for a request
    /// without a user.
    Listed(Option<bool>),
    /// The policies of the role decide.
    Policy(&'g Grants, &'a EvalRequest<'a>),
}

/// Proof that policy evaluation allowed a request.
#[derive(Debug)]
#[must_use = "a permit is what forwarding needs"]
pub struct Permit(());

/// The reason for a denial.
#[derive(Clone, Copy, Debug)]
pub enum Denial<'a> {
    /// There is no principal, but the rule requires one: a sign-in may help.
    NotSignedIn,
    /// No statement allows the request.
    NotAllowed,
    /// This statement denies the request.
    Denied(&'a Statement),
}

/// Evaluates a request.
///
/// # Errors
/// Returns the reason for a denial.
pub fn evaluate<'g>(question: Question<'g, '_>) -> Result<Permit, Denial<'g>> {
    match question {
        Question::Public | Question::SignedIn(Some(_)) | Question::Listed(Some(true)) => Ok(Permit(())),
        Question::SignedIn(None) | Question::Listed(None) => Err(Denial::NotSignedIn),
        Question::Listed(Some(false)) => Err(Denial::NotAllowed),
        Question::Policy(grants, request) => match grants.judge(request) {
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
